//! What the tests of this crate speak HTTP with: as little as possible.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any honest reply takes, shorter than a hanging test is bearable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a request and returns everything that comes until the connection ends.
#[allow(dead_code, reason = "not every test file asks without ado")]
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(&mut stream, "GET", address, path, headers, "")
}

/// Sends one request and reads to the end of the connection.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    address: SocketAddr,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<String> {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Returns the status and the body of a reply.
pub(crate) fn status_and_body(reply: &str) -> (&str, &str) {
    let (head, body) = reply.split_once("\r\n\r\n").expect("a reply has a head");
    (head.split(' ').nth(1).expect("a status line has a code"), body)
}
