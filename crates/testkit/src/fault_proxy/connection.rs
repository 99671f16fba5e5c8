//! Relays one connection, exchange after exchange.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::{
    Direction, Fault, Seen, State,
    message::{Body, Head, Start, read_start},
    outlet::{Outlet, Stop},
};

/// One side of a connection and what was read from it ahead of time.
struct Side {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        drop(stream.set_nodelay(true));
        Side { stream, buffer: Vec::new() }
    }
}

/// Relays until one side ends or a fault does.
pub(super) async fn relay(state: Arc<State>, number: u64, client: TcpStream) {
    let mut client = Side::new(client);
    let mut server = None;
    while let Some(start) = next(&mut client, server.as_ref()).await {
        let head = match &start {
            Start::Closed => return,
            Start::Head(head) => Some(head),
            Start::Opaque(_) => None,
        };
        let faults = state.record(|request| seen(number, request, head));
        if let Some(reply) = answer(&faults) {
            answer_instead(client, head, reply).await;
            return;
        }
        if server.is_none() {
            let Ok(stream) = TcpStream::connect(state.upstream).await else { return };
            server = Some(Side::new(stream));
        }
        let Some(server) = &mut server else { return };
        match exchange(&state, start, &mut client, server, &faults).await {
            Ok(()) => {}
            Err(Stop::Close | Stop::Broken) => return,
            Err(Stop::Reset) => {
                drop(client.stream.set_zero_linger());
                drop(server.stream.set_zero_linger());
                return;
            }
            Err(Stop::Stall) => return until_closed(&client.stream).await,
        }
    }
}

/// Returns the start of the client's next request, unless one side has ended before it.
async fn next(client: &mut Side, server: Option<&Side>) -> Option<Start> {
    let start = read_start(&mut client.stream, &mut client.buffer);
    let Some(server) = server else { return start.await.ok() };
    tokio::select! {
        biased;
        start = start => start.ok(),
        // The client must learn that its idle connection is worth nothing now.
        () = until_closed(&server.stream) => None,
    }
}

fn seen(connection: u64, request: u64, head: Option<&Head>) -> Seen {
    let text = |text: fn(&Head) -> &str| head.map(text).unwrap_or_default().to_owned();
    Seen {
        connection,
        request,
        method: text(Head::method),
        target: text(Head::target),
        head: head.map(|head| String::from_utf8_lossy(&head.bytes).into()).unwrap_or_default(),
    }
}

fn answer(faults: &[Fault]) -> Option<&[u8]> {
    faults.iter().find_map(|fault| match fault {
        Fault::Reply(reply) => Some(reply.as_slice()),
        _ => None,
    })
}

/// Takes the whole request, so that closing in order is not a reset, and answers it.
async fn answer_instead(mut client: Side, head: Option<&Head>, reply: &[u8]) {
    let mut body = head.map_or(Body::Fixed(0), Head::request_body);
    loop {
        let n_bytes = body.advance(&client.buffer);
        client.buffer.drain(..n_bytes);
        if body.is_done() {
            break;
        }
        if client.stream.read_buf(&mut client.buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
    drop(client.stream.write_all(reply).await);
    drop(client.stream.shutdown().await);
}

/// Returns when the other side has gone; whatever it still sends is taken in and forgotten.
async fn until_closed(stream: &TcpStream) {
    let mut buffer = [0; 4096];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// Passes one request and its reply; `Err` says how the connection ends.
async fn exchange(
    state: &State,
    start: Start,
    client: &mut Side,
    server: &mut Side,
    faults: &[Fault],
) -> Result<(), Stop> {
    let (client_reader, client_writer) = client.stream.split();
    let (server_reader, server_writer) = server.stream.split();
    let method = match &start {
        Start::Head(head) => Some(head.method().to_owned()),
        _ => None,
    };
    let outlet = Outlet::new(state, Direction::Up, server_writer, faults);
    let up = pass_up(start, client_reader, &mut client.buffer, outlet);
    let outlet = Outlet::new(state, Direction::Down, client_writer, faults);
    let down = pass_down(method, server_reader, &mut server.buffer, outlet, faults);
    tokio::pin!(up, down);
    // A reply may come, and be the end of it, while the request is still under way.
    let sent = tokio::select! {
        biased;
        result = &mut up => result,
        result = &mut down => return Err(result.err().unwrap_or(Stop::Close)),
    };
    match sent {
        Ok(()) => down.await,
        // The server refused the rest; what it says about that is still worth passing.
        Err(Stop::Broken) => Err(down.await.err().unwrap_or(Stop::Close)),
        Err(stop) => Err(stop),
    }
}

async fn pass_up(
    start: Start,
    mut reader: ReadHalf<'_>,
    buffer: &mut Vec<u8>,
    mut outlet: Outlet<'_, WriteHalf<'_>>,
) -> Result<(), Stop> {
    let body = match start {
        Start::Head(head) => {
            outlet.write(&head.bytes).await?;
            head.request_body()
        }
        Start::Opaque(bytes) => {
            outlet.write(&bytes).await?;
            Body::UntilClosed
        }
        Start::Closed => return Err(Stop::Close),
    };
    let ended = pass_body(body, &mut reader, buffer, &mut outlet).await?;
    outlet.finish().await?;
    if ended == Ended::ByClosing {
        outlet.shutdown().await?;
    }
    Ok(())
}

/// Passes the reply to a request with `method`, or everything if there is none.
async fn pass_down(
    method: Option<String>,
    mut reader: ReadHalf<'_>,
    buffer: &mut Vec<u8>,
    mut outlet: Outlet<'_, WriteHalf<'_>>,
    faults: &[Fault],
) -> Result<(), Stop> {
    let Some(method) = method else {
        delay(faults).await;
        pass_body(Body::UntilClosed, &mut reader, buffer, &mut outlet).await?;
        outlet.finish().await?;
        outlet.shutdown().await?;
        return Ok(());
    };
    let (start, body) = loop {
        match read_start(&mut reader, buffer).await? {
            Start::Head(head) if head.is_interim() => outlet.write_unharmed(&head.bytes).await?,
            Start::Head(head) => {
                let body = head.reply_body(&method);
                break (head.bytes, body);
            }
            Start::Opaque(bytes) => break (bytes, Body::UntilClosed),
            Start::Closed => return Err(Stop::Close),
        }
    };
    delay(faults).await;
    outlet.write(&start).await?;
    let ended = pass_body(body, &mut reader, buffer, &mut outlet).await?;
    outlet.finish().await?;
    let loses = faults.iter().any(|fault| matches!(fault, Fault::LoseReply));
    if loses || ended == Ended::ByClosing { Err(Stop::Close) } else { Ok(()) }
}

/// How a body came to its end.
#[derive(PartialEq, Eq)]
enum Ended {
    /// Where its head said.
    Whole,
    /// With its connection.
    ByClosing,
}

async fn pass_body(
    mut body: Body,
    reader: &mut ReadHalf<'_>,
    buffer: &mut Vec<u8>,
    outlet: &mut Outlet<'_, WriteHalf<'_>>,
) -> Result<Ended, Stop> {
    loop {
        let n_bytes = body.advance(buffer);
        if n_bytes > 0 {
            outlet.write(&buffer[..n_bytes]).await?;
            buffer.drain(..n_bytes);
        }
        if body.is_done() {
            return Ok(Ended::Whole);
        }
        if reader.read_buf(buffer).await? == 0 {
            return Ok(Ended::ByClosing);
        }
    }
}

async fn delay(faults: &[Fault]) {
    for fault in faults {
        if let Fault::Delay(duration) = fault {
            tokio::time::sleep(*duration).await;
        }
    }
}
