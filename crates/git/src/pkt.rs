//! The pkt-line framing of Git's protocols, incrementally.

use bytes::{Bytes, BytesMut};

/// Largest packet, with its four digits of length, as Git defines it.
pub const PACKET_BYTES_MAX: usize = 65_520;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0000`, the end of a message.
    Flush,
    /// `0001`, the end of a section.
    Delimiter,
    /// `0002`, the end of a reply.
    ResponseEnd,
    /// Everything else.
    Data(Bytes),
}

/// Bytes that are not framed as pkt-lines.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the server's reply is not framed as Git frames it: {0}")]
pub struct PacketError(&'static str);

/// Takes bytes as they come and gives packets.
#[derive(Default, Debug)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next packet, or none while it is incomplete.
    #[expect(clippy::should_implement_trait, reason = "an iterator that ends would be misleading")]
    pub fn next(&mut self) -> Result<Option<Packet>, PacketError> {
        let Some(digits) = self.buffer.get(..4) else { return Ok(None) };
        let length = parse_length(digits)?;
        let special = match length {
            0 => Some(Packet::Flush),
            1 => Some(Packet::Delimiter),
            2 => Some(Packet::ResponseEnd),
            3 => return Err(PacketError("a length of 3")),
            _ => None,
        };
        if let Some(packet) = special {
            drop(self.buffer.split_to(4));
            return Ok(Some(packet));
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(length);
        drop(packet.split_to(4));
        Ok(Some(Packet::Data(packet.freeze())))
    }

    /// Returns whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Returns all packets of a whole message.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Packet>, PacketError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let mut packets = Vec::new();
    while let Some(packet) = decoder.next()? {
        packets.push(packet);
    }
    if decoder.is_empty() { Ok(packets) } else { Err(PacketError("it ends within a packet")) }
}

/// Appends a packet with these contents, which must be shorter than a packet may be.
pub fn write(out: &mut Vec<u8>, data: &[u8]) {
    debug_assert!(data.len() + 4 <= PACKET_BYTES_MAX, "packets we write are short");
    out.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    out.extend_from_slice(data);
}

/// Appends a flush packet.
pub fn write_flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Appends a delimiter packet.
pub fn write_delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// Returns a line without its newline.
pub fn line(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").unwrap_or(data)
}

fn parse_length(digits: &[u8]) -> Result<usize, PacketError> {
    let mut length = 0;
    for digit in digits {
        let Some(digit) = char::from(*digit).to_digit(16) else {
            return Err(PacketError("a length that is not hexadecimal"));
        };
        length = length * 16 + digit as usize;
    }
    if length > PACKET_BYTES_MAX {
        return Err(PacketError("a packet that is too long"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn frames_are_told_apart() {
        check("0000", expect!["Flush"]);
        check(
            "0001000200040009done\n",
            expect![[r#"
            Delimiter
            ResponseEnd
            Data(b"")
            Data(b"done\n")"#]],
        );
        check("0003", expect!["error: a length of 3"]);
        check("000g", expect!["error: a length that is not hexadecimal"]);
        check("fff1", expect!["error: a packet that is too long"]);
        check("0009do", expect!["error: it ends within a packet"]);
        check("00", expect!["error: it ends within a packet"]);
    }

    #[test]
    fn pieces_make_the_same_packets() {
        let mut whole = Vec::new();
        write(&mut whole, b"want\n");
        write_delimiter(&mut whole);
        write(&mut whole, b"");
        write_flush(&mut whole);
        let expected = decode_all(&whole).expect("what we write is well-formed");
        let mut decoder = Decoder::default();
        let mut packets = Vec::new();
        for byte in whole {
            decoder.push(&[byte]);
            while let Some(packet) = decoder.next().expect("well-formed") {
                packets.push(packet);
            }
        }
        assert_eq!(packets, expected);
    }

    #[track_caller]
    fn check(bytes: &str, expected: Expect) {
        let actual = match decode_all(bytes.as_bytes()) {
            Ok(packets) => packets.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>().join("\n"),
            Err(error) => format!("error: {}", error.0),
        };
        expected.assert_eq(&actual);
    }
}
