//! Hands on bytes in one direction, with the faults of that direction.

use std::{io, time::Duration};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{Direction, Fault, State};

/// Why nothing more passes.
pub(super) enum Stop {
    /// The connections are to be closed.
    Close,
    /// The connections are to be reset.
    Reset,
    /// The connections are to stay as they are.
    Stall,
    /// A connection has ended by itself.
    Broken,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Broken
    }
}

pub(super) struct Outlet<'a, W> {
    state: &'a State,
    direction: Direction,
    writer: W,
    /// What happens after so many bytes.
    end: Option<(u64, Stop)>,
    rewrites: Vec<Rewrite>,
    throttle: Option<(usize, Duration)>,
    /// Everything is dropped.
    loses: bool,
    n_passed: u64,
}

impl<'a, W: AsyncWrite + Unpin> Outlet<'a, W> {
    pub(super) fn new(
        state: &'a State,
        direction: Direction,
        writer: W,
        faults: &[Fault],
    ) -> Outlet<'a, W> {
        let mut outlet = Outlet {
            state,
            direction,
            writer,
            end: None,
            rewrites: Vec::new(),
            throttle: None,
            loses: false,
            n_passed: 0,
        };
        for fault in faults {
            match fault {
                Fault::Close(way, after) if *way == direction => {
                    outlet.end = Some((*after, Stop::Close));
                }
                Fault::Reset(way, after) if *way == direction => {
                    outlet.end = Some((*after, Stop::Reset));
                }
                Fault::Stall(way, after) if *way == direction => {
                    outlet.end = Some((*after, Stop::Stall));
                }
                Fault::Rewrite(way, from, to) if *way == direction => {
                    outlet.rewrites.push(Rewrite::new(from, to));
                }
                Fault::Throttle(way, n_bytes, period) if *way == direction => {
                    outlet.throttle = Some(((*n_bytes).max(1), *period));
                }
                Fault::LoseReply => outlet.loses = direction == Direction::Down,
                _ => {}
            }
        }
        outlet
    }

    /// Passes bytes on, or as many as the faults let through.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut bytes = bytes.to_owned();
        for rewrite in &mut self.rewrites {
            bytes = rewrite.apply(bytes);
        }
        self.pass(&bytes).await
    }

    /// Passes on what the rewrites had held back in case a match went on.
    pub(super) async fn finish(&mut self) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        for rewrite in &mut self.rewrites {
            bytes = rewrite.apply(bytes);
            bytes.append(&mut rewrite.held);
        }
        self.pass(&bytes).await
    }

    /// Passes bytes on that no fault concerns.
    pub(super) async fn write_unharmed(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.writer.write_all(bytes).await?;
        self.state.count(self.direction, bytes.len());
        Ok(())
    }

    pub(super) async fn shutdown(&mut self) -> Result<(), Stop> {
        Ok(self.writer.shutdown().await?)
    }

    async fn pass(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.loses {
            return Ok(());
        }
        let Some((end, _)) = self.end else { return self.write_paced(bytes).await };
        let left = usize::try_from(end - self.n_passed).unwrap_or(usize::MAX);
        if bytes.len() < left {
            return self.write_paced(bytes).await;
        }
        self.write_paced(&bytes[..left]).await?;
        Err(self.end.take().map_or(Stop::Close, |(_, stop)| stop))
    }

    async fn write_paced(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let n_at_once = self.throttle.map_or(bytes.len(), |(n_bytes, _)| n_bytes);
        for piece in bytes.chunks(n_at_once.max(1)) {
            self.write_unharmed(piece).await?;
            self.n_passed += piece.len() as u64;
            if let Some((_, period)) = self.throttle {
                tokio::time::sleep(period).await;
            }
        }
        Ok(())
    }
}

/// Replaces a text in a stream, wherever its pieces are split.
struct Rewrite {
    from: Vec<u8>,
    to: Vec<u8>,
    /// The start of a match, perhaps.
    held: Vec<u8>,
}

impl Rewrite {
    fn new(from: &[u8], to: &[u8]) -> Rewrite {
        assert!(!from.is_empty(), "a rewrite needs a text to look for");
        Rewrite { from: from.to_owned(), to: to.to_owned(), held: Vec::new() }
    }

    fn apply(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend(bytes);
        let mut output = Vec::with_capacity(input.len());
        let mut position = 0;
        while position + self.from.len() <= input.len() {
            if input[position..].starts_with(&self.from) {
                output.extend_from_slice(&self.to);
                position += self.from.len();
            } else {
                output.push(input[position]);
                position += 1;
            }
        }
        // Only what could be the start of a match waits for more.
        while position < input.len() && !self.from.starts_with(&input[position..]) {
            output.push(input[position]);
            position += 1;
        }
        self.held = input.split_off(position);
        output
    }
}
