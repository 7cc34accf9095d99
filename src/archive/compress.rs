//! Decompression by content: gzip, zstd or none, whatever the media type or file name claims.
//!
//! Runs in the client.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// How much compressed input is read at a time; one pipe's worth.
const INPUT_BUFFER: usize = 128 * 1024;

/// The largest window a zstd frame may ask the decoder to keep, as a power of two: 128 MiB. What `zstd`
/// itself takes without being told more, and so what other container tools take.
const WINDOW_LOG_MAX: u32 = 27;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the start of the archive")]
    Read(#[source] io::Error),
    #[error("the archive is compressed with {0}, which is not supported: recompress it with gzip or zstd")]
    Unsupported(&'static str),
    #[error("cannot set up the zstd decoder")]
    Zstd(#[source] io::Error),
    #[error(
        "its zstd frames need a window of more than {} MiB, which is the most a decoder gets: compress it anew, without --long",
        (1u64 << WINDOW_LOG_MAX) >> 20
    )]
    WindowTooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Recognises a format by its first bytes; fewer than four bytes are plain.
fn sniff(start: &[u8]) -> Result<Compression, Error> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // RFC 8878 §3.1.2: a skippable frame may come first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [b'B', b'Z', b'h', ..] => Err(Error::Unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X', ..] => Err(Error::Unsupported("xz")),
        _ => Ok(Compression::None),
    }
}

/// The uncompressed stream of `input`: gzip (all members), zstd (all frames) or plain.
pub fn decoder<'a, R: Read + Send + 'a>(input: R) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let mut input = Prefixed { start: Vec::new(), taken: 0, rest: input };
    input.read_start(4).map_err(Error::Read)?;
    let compression = sniff(&input.start)?;
    let input = BufReader::with_capacity(INPUT_BUFFER, input);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(Bounded::new(input).map_err(Error::Zstd)?),
    })
}

/// A zstd decoder whose memory is bounded, whatever the frames ask for.
struct Bounded<'a, R: BufRead>(zstd::stream::read::Decoder<'a, R>);

impl<R: BufRead> Bounded<'_, R> {
    fn new(input: R) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Bounded(decoder))
    }
}

impl<R: BufRead> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as TOO_LARGE;
        self.0.read(buffer).map_err(|error| {
            let reason = error.get_ref().and_then(|reason| reason.downcast_ref::<zstd::Error>());
            let is_window = reason.is_some_and(|reason| reason.is(TOO_LARGE));
            if is_window { io::Error::other(Error::WindowTooLarge) } else { error }
        })
    }
}

/// A reader whose first bytes have been looked at.
struct Prefixed<R> {
    start: Vec<u8>,
    taken: usize,
    rest: R,
}

impl<R: Read> Prefixed<R> {
    fn read_start(&mut self, length: u64) -> io::Result<()> {
        self.rest.by_ref().take(length).read_to_end(&mut self.start).map(|_| ())
    }
}

impl<R: Read> Read for Prefixed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = &self.start[self.taken..];
        if left.is_empty() {
            return self.rest.read(buffer);
        }
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(input: Vec<u8>) -> Vec<u8> {
        let mut output = Vec::new();
        decoder(io::Cursor::new(input)).expect("known format").read_to_end(&mut output).expect("readable");
        output
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn plain_and_short_inputs_pass_through() {
        for input in [&b""[..], b"a", b"abc", b"plain text"] {
            assert_eq!(plain(input.to_vec()), input);
        }
    }

    #[test]
    fn all_gzip_members_are_read() {
        let mut input = gzip(b"one ");
        input.extend(gzip(b"two"));
        assert_eq!(plain(input), b"one two");
    }

    #[test]
    fn zstd_frames_and_skippable_frames_are_read() {
        let mut input = vec![0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        input.extend(zstd::encode_all(&b"one "[..], 1).expect("in memory"));
        input.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        input.extend(zstd::encode_all(&b"two"[..], 1).expect("in memory"));
        assert_eq!(plain(input), b"one two");
    }

    /// RFC 8878 §3.1.1: a frame with a window of 2^`log` bytes that holds "content".
    fn frame(log: u8) -> Vec<u8> {
        let block = (b"content".len() as u32) << 3 | 1;
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3], &block.to_le_bytes()[..3], b"content"].concat()
    }

    #[test]
    fn a_zstd_window_is_bounded() {
        assert_eq!(plain(frame(27)), b"content");
        let mut beyond = frame(27);
        beyond[5] |= 1;
        for input in [beyond, frame(28), frame(31), frame(41), [frame(20), frame(31)].concat()] {
            let error = decoder(io::Cursor::new(input)).expect("known format").read_to_end(&mut Vec::new());
            let error = error.expect_err("refused").downcast::<Error>().expect("our own reason");
            assert!(matches!(error, Error::WindowTooLarge), "{error}");
        }
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        for whole in [gzip(&[7; 5000]), zstd::encode_all(&[7; 5000][..], 1).expect("in memory")] {
            let cut = whole[..whole.len() - 3].to_vec();
            let mut decoder = decoder(io::Cursor::new(cut)).expect("known format");
            assert!(decoder.read_to_end(&mut Vec::new()).is_err());
        }
    }

    #[test]
    fn other_formats_are_named() {
        let error = decoder(&b"\xfd7zXZ\0"[..]).err().expect("refused");
        assert!(error.to_string().contains("xz"), "{error}");
        assert!(matches!(decoder(&b"BZh91AY"[..]), Err(Error::Unsupported("bzip2"))));
    }
}
