//! Compression of record batches: the four codecs of Kafka, decompression bounded.

use std::io::{self, Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// What one batch may grow to.
pub const MAX_INFLATED: usize = 64 * 1024 * 1024;
/// Growth beyond this is allowed only up to [`MAX_RATIO`] times the input: small batches of equal
/// records compress far better than a hundredfold and are harmless.
const FREE_INFLATED: usize = 4 * 1024 * 1024;
const MAX_RATIO: usize = 100;
/// zstd may ask for a window of up to 2^27 bytes to decode; what fits the output bound is enough.
const ZSTD_WINDOW_LOG: u32 = 26;

/// A compression codec, by Kafka's name on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec's number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec of an attributes field's low three bits.
    pub fn from_id(id: i16) -> Option<Codec> {
        Some(match id {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Appends `plain`, compressed, to `out`.
    pub fn deflate(self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Codec::None => out.extend_from_slice(plain),
            Codec::Gzip => {
                let mut encoder = GzEncoder::new(out, flate2::Compression::new(6));
                encoder.write_all(plain)?;
                encoder.finish()?;
            }
            Codec::Snappy => xerial::deflate(plain, out)?,
            Codec::Lz4 => {
                // Kafka's readers insist on independent blocks.
                let info = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                let mut encoder = FrameEncoder::with_frame_info(info, out);
                encoder.write_all(plain)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Codec::Zstd => zstd::stream::copy_encode(plain, out, 3)?,
        }
        Ok(())
    }

    /// Replaces `out` by `packed`, decompressed; an error if it grows past the bounds.
    pub fn inflate(self, packed: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self {
            Codec::None => {
                out.extend_from_slice(packed);
                Ok(())
            }
            Codec::Gzip => read_bounded(GzDecoder::new(packed), packed.len(), out),
            Codec::Snappy => xerial::inflate(packed, bound(packed.len()), out),
            Codec::Lz4 => read_bounded(FrameDecoder::new(packed), packed.len(), out),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read_bounded(decoder, packed.len(), out)
            }
        }
    }
}

/// How many bytes `packed` bytes may become.
fn bound(packed: usize) -> usize {
    FREE_INFLATED.saturating_add(packed.saturating_mul(MAX_RATIO)).min(MAX_INFLATED)
}

fn read_bounded(reader: impl Read, packed: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let bound = bound(packed);
    reader.take(bound as u64 + 1).read_to_end(out)?;
    if out.len() > bound { Err(too_large(bound)) } else { Ok(()) }
}

fn too_large(bound: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it inflates to more than {bound} bytes"))
}

/// Snappy as Kafka's Java clients frame it: a header, then length-prefixed blocks.
mod xerial {
    use std::io;

    use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

    const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
    /// Version 1, compatible with version 1.
    const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
    const BLOCK: usize = 32 * 1024;

    pub fn deflate(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSIONS);
        let mut encoder = Encoder::new();
        for block in plain.chunks(BLOCK) {
            let at = out.len();
            out.resize(at + 4 + max_compress_len(block.len()), 0);
            let size = encoder.compress(block, &mut out[at + 4..]).map_err(io::Error::other)?;
            out[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
            out.truncate(at + 4 + size);
        }
        Ok(())
    }

    /// Blocks behind the header, or one bare block, as some clients send it.
    pub fn inflate(packed: &[u8], bound: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(mut rest) = packed.strip_prefix(&MAGIC) else {
            return inflate_block(packed, bound, out);
        };
        rest = rest.get(VERSIONS.len()..).ok_or_else(short)?;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let size = u32::from_be_bytes(*length) as usize;
            let block = after.get(..size).ok_or_else(short)?;
            inflate_block(block, bound, out)?;
            rest = &after[size..];
        }
        if rest.is_empty() { Ok(()) } else { Err(short()) }
    }

    /// The declared length is checked before anything is allocated for it.
    fn inflate_block(block: &[u8], bound: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let size = decompress_len(block).map_err(invalid)?;
        let at = out.len();
        if size > bound - at.min(bound) {
            return Err(super::too_large(bound));
        }
        out.resize(at + size, 0);
        let written = Decoder::new().decompress(block, &mut out[at..]).map_err(invalid)?;
        out.truncate(at + written);
        Ok(())
    }

    fn short() -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, "the snappy stream ends inside a block")
    }

    fn invalid(error: snap::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_returns_what_it_was_given() {
        let plain: Vec<u8> = (0..200_000u32).map(|n| (n / 7 % 251) as u8).collect();
        for codec in PACKING {
            let (mut packed, mut back) = (Vec::new(), Vec::new());
            codec.deflate(&plain, &mut packed).expect("memory takes every write");
            assert!(packed.len() < plain.len(), "{} did not compress", codec.name());
            codec.inflate(&packed, &mut back).expect("our own output is well-formed");
            assert!(back == plain, "{} changed the bytes", codec.name());
        }
    }

    #[test]
    fn a_batch_that_inflates_past_the_bound_is_refused() {
        let zeros = vec![0; MAX_INFLATED + 1];
        for codec in PACKING {
            let (mut packed, mut back) = (Vec::new(), Vec::new());
            codec.deflate(&zeros, &mut packed).expect("memory takes every write");
            assert!(codec.inflate(&packed, &mut back).is_err(), "{} let it through", codec.name());
        }
    }

    #[test]
    fn a_snappy_block_that_only_claims_to_be_huge_allocates_nothing() {
        let mut out = Vec::new();
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(Codec::Snappy.inflate(&claim, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn bare_snappy_without_the_java_frame_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello").expect("it is short");
        let mut out = Vec::new();
        Codec::Snappy.inflate(&packed, &mut out).expect("one bare block is allowed");
        assert_eq!(out, b"hello");
    }
}
