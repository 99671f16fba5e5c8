//! Unpacks a gzip body piece by piece in bounded memory.

use std::io::Write;

use bytes::Bytes;
use flate2::write::GzDecoder;

/// Greatest factor by which a body may grow, once [`FREE`] bytes came out. Tag
/// lists grow 5 to 30 times; deflate cannot do more than 1,032.
pub(crate) const RATIO_MAX: u64 = 200;

/// What may come out before the factor counts: short repetitive bodies are
/// harmless.
const FREE: u64 = 1 << 20;

/// How much is fed at once: at 1,032 to 1 about 4 MiB come out of it.
const STEP: usize = 4 << 10;

/// Unpacks one gzip stream.
pub(crate) struct Gzip {
    decoder: GzDecoder<Vec<u8>>,
    packed: u64,
    unpacked: u64,
}

/// Why a body cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Not a gzip stream, damaged, or followed by other bytes.
    Malformed,
    /// Grows beyond [`RATIO_MAX`].
    Bomb,
}

impl Gzip {
    pub(crate) fn new() -> Gzip {
        Gzip { decoder: GzDecoder::new(Vec::new()), packed: 0, unpacked: 0 }
    }

    /// Feeds at most [`STEP`] bytes of `packed`, which it shortens; returns
    /// what came out.
    pub(crate) fn step(&mut self, packed: &mut Bytes) -> Result<Bytes, Broken> {
        let piece = packed.split_to(packed.len().min(STEP));
        self.decoder.write_all(&piece).map_err(|_| Broken::Malformed)?;
        self.packed += piece.len() as u64;
        self.taken()
    }

    /// Ends the stream; returns what was still held back.
    pub(crate) fn finish(&mut self) -> Result<Bytes, Broken> {
        if self.packed == 0 {
            // An empty body (of a HEAD, a 304) has no gzip stream at all.
            return Ok(Bytes::new());
        }
        self.decoder.try_finish().map_err(|_| Broken::Malformed)?;
        self.taken()
    }

    fn taken(&mut self) -> Result<Bytes, Broken> {
        let out = std::mem::take(self.decoder.get_mut());
        self.unpacked += out.len() as u64;
        if self.unpacked > FREE && self.unpacked > self.packed * RATIO_MAX {
            return Err(Broken::Bomb);
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("writing to memory");
        encoder.finish().expect("writing to memory").into()
    }

    fn unpacked(mut packed: Bytes) -> Result<Vec<u8>, Broken> {
        let mut gzip = Gzip::new();
        let mut out = Vec::new();
        while !packed.is_empty() {
            out.extend(gzip.step(&mut packed)?);
        }
        out.extend(gzip.finish()?);
        Ok(out)
    }

    #[test]
    fn what_was_packed_comes_out() {
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        assert_eq!(unpacked(packed(&text)), Ok(text));
        assert_eq!(unpacked(packed(b"")), Ok(Vec::new()));
        assert_eq!(unpacked(Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn damage_is_noticed() {
        let whole = packed(b"{\"tags\":[\"v1\",\"v2\"]}");
        for end in 1..whole.len() {
            assert_eq!(unpacked(whole.slice(..end)), Err(Broken::Malformed), "cut at {end}");
        }
        let mut longer = whole.to_vec();
        longer.extend(b"more");
        assert_eq!(unpacked(longer.into()), Err(Broken::Malformed));
        assert_eq!(unpacked(Bytes::from_static(b"not gzip at all")), Err(Broken::Malformed));
    }

    #[test]
    fn a_bomb_is_put_out_early() {
        let mut bomb = packed(&vec![0; 64 << 20]);
        let mut gzip = Gzip::new();
        let mut out = 0;
        let end = loop {
            match gzip.step(&mut bomb) {
                Ok(piece) => out += piece.len(),
                Err(broken) => break broken,
            }
        };
        assert_eq!(end, Broken::Bomb);
        assert!(out <= 8 << 20, "{out} bytes came out");
    }
}
