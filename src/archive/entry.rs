//! One member of a tar archive, decoded and normalised, before anything touches the disk. Pure.
//!
//! tar-core parses the headers; this file adds what it leaves out: nanoseconds, signed times, strict
//! numbers, and the rule of Go's archive/tar (by which images are made) that only files have data.

use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, PaxExtensions, SparseEntry};

use super::unpack::Error;

/// Owner, mode, times and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Seconds since 1970 (may be negative) and 0..1e9 nanoseconds after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Sparse(SparseMap),
    Directory,
    Symlink(Vec<u8>),
    /// The target as written, a path from the archive's root.
    HardLink(Vec<u8>),
    Fifo,
    Device,
}

/// Which regions of a file hold data; the payload is those regions back to back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    /// (offset, length), ascending and apart.
    pub regions: Vec<(u64, u64)>,
    pub file_size: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Normalised: no leading slash, no `.`, `..` or empty component. Empty for the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    pub attributes: Attributes,
    /// Bytes of payload that follow in the stream (without padding).
    pub data: u64,
}

/// The sparse part of a tar-core event, and how to correct its payload length.
pub(super) struct SparseInput {
    pub regions: Vec<SparseEntry>,
    pub file_size: u64,
    /// Bytes of the member's data that the parser took as the sparse map (format 1.0).
    pub map_bytes: u64,
}

impl Entry {
    pub fn new(parsed: &ParsedEntry<'_>, sparse: Option<SparseInput>) -> Result<Entry, Error> {
        let malformed = |detail: &str| Error::Member {
            path: parsed.path.escape_ascii().to_string(),
            detail: detail.to_owned(),
        };
        if parsed.path.contains(&0) {
            return Err(malformed("its name holds a NUL byte"));
        }
        let id = |value: u64| u32::try_from(value).map_err(|_| malformed("its owner is beyond 32 bits"));
        let pax = Pax::read(parsed).map_err(malformed)?;
        let mut data = parsed.size;
        if let (Some(input), true) = (&sparse, pax.sets_size) {
            // The parser takes a PAX size as the payload alone; it counts a map inside the data too.
            data = data
                .checked_sub(input.map_bytes)
                .ok_or_else(|| malformed("its sparse map exceeds its size"))?;
        }
        let kind = kind(parsed, sparse, data).map_err(malformed)?;
        if !matches!(kind, Kind::File | Kind::Sparse(_)) {
            data = 0;
        }
        let mtime = pax.mtime.unwrap_or(Time { seconds: parsed.mtime as i64, nanoseconds: 0 });
        let xattrs = parsed.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let attributes = Attributes {
            mode: parsed.mode & 0o7777,
            uid: id(parsed.uid)?,
            gid: id(parsed.gid)?,
            mtime,
            xattrs,
        };
        Ok(Entry { path: normalise(&parsed.path), kind, attributes, data })
    }
}

fn kind(parsed: &ParsedEntry<'_>, sparse: Option<SparseInput>, data: u64) -> Result<Kind, &'static str> {
    let target = || {
        let target = parsed.link_target.as_deref().unwrap_or_default();
        if target.is_empty() || target.contains(&0) {
            return Err("its link target is empty or holds a NUL byte");
        }
        Ok(target.to_vec())
    };
    let kind = match parsed.entry_type {
        // Before ustar, a directory was a file whose name ends in a slash.
        EntryType::Regular if parsed.header.as_bytes()[156] == 0 && parsed.path.ends_with(b"/") => {
            Kind::Directory
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::HardLink(target()?),
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char | EntryType::Block => Kind::Device,
        _ => return Err("its type is unknown"),
    };
    match (kind, sparse) {
        (Kind::File, Some(input)) => sparse_map(input, data).map(Kind::Sparse),
        (_, Some(_)) => Err("only a regular file can be sparse"),
        (kind, None) => Ok(kind),
    }
}

fn sparse_map(input: SparseInput, data: u64) -> Result<SparseMap, &'static str> {
    let (mut end, mut total) = (0u64, 0u64);
    let mut regions = Vec::with_capacity(input.regions.len());
    for region in input.regions {
        let next = region.offset.checked_add(region.length).ok_or("its sparse map overflows")?;
        if region.offset < end || next > input.file_size {
            return Err("its sparse map is out of order or beyond its size");
        }
        (end, total) = (next, total + region.length);
        if region.length > 0 {
            regions.push((region.offset, region.length));
        }
    }
    if total != data {
        return Err("its sparse map does not add up to its data");
    }
    Ok(SparseMap { regions, file_size: input.file_size })
}

/// What is read from the PAX records beside what the parser applies.
struct Pax {
    mtime: Option<Time>,
    sets_size: bool,
}

impl Pax {
    fn read(parsed: &ParsedEntry<'_>) -> Result<Pax, &'static str> {
        let mut pax = Pax { mtime: None, sets_size: false };
        for record in PaxExtensions::new(parsed.pax.unwrap_or_default()) {
            let record = record.map_err(|_| "it has a malformed PAX record")?;
            match record.key_bytes() {
                b"mtime" => {
                    pax.mtime = Some(parse_time(record.value_bytes()).ok_or("its PAX mtime is not a time")?)
                }
                key @ (b"size" | b"uid" | b"gid") => {
                    // The parser is told to skip what it cannot read, for negative times' sake;
                    // these three must never be skipped.
                    let value = record.value().unwrap_or_default();
                    value.parse::<u64>().map_err(|_| "a PAX size or owner is not a number")?;
                    pax.sets_size |= key == b"size";
                }
                _ => {}
            }
        }
        Ok(pax)
    }
}

/// A PAX time: `[-]seconds[.fraction]`.
fn parse_time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Cleans a member name the way Go's `filepath.Clean("/" + name)` does: `..` stops at the root.
pub(super) fn normalise(name: &[u8]) -> Vec<u8> {
    let mut path: Vec<u8> = Vec::with_capacity(name.len());
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => path.truncate(path.iter().rposition(|&b| b == b'/').unwrap_or(0)),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_below_the_root() {
        let table: [(&[u8], &[u8]); 10] = [
            (b"a", b"a"),
            (b"./a", b"a"),
            (b"/a//b/", b"a/b"),
            (b"a/../b", b"b"),
            (b"a/b/../c", b"a/c"),
            (b"../../etc/passwd", b"etc/passwd"),
            (b"..", b""),
            (b"./", b""),
            (b"a/./b", b"a/b"),
            (b"a\xff/..b", b"a\xff/..b"),
        ];
        for (name, path) in table {
            assert_eq!(normalise(name), path, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn times_have_nanoseconds_and_signs() {
        let time = |seconds, nanoseconds| Some(Time { seconds, nanoseconds });
        assert_eq!(parse_time(b"12"), time(12, 0));
        assert_eq!(parse_time(b"12.5"), time(12, 500_000_000));
        assert_eq!(parse_time(b"12.123456789123"), time(12, 123_456_789));
        assert_eq!(parse_time(b"-1.25"), time(-2, 750_000_000));
        assert_eq!(parse_time(b"-3"), time(-3, 0));
        for text in ["", "-", ".5", "1e3", "0x1", "1.2.3", "99999999999999999999"] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sparse_maps_must_add_up() {
        let map = |regions: &[(u64, u64)], file_size, data| {
            let regions = regions.iter().map(|&(offset, length)| SparseEntry { offset, length }).collect();
            sparse_map(SparseInput { regions, file_size, map_bytes: 0 }, data)
        };
        assert!(map(&[(0, 5), (10, 5), (20, 0)], 20, 10).is_ok());
        assert!(map(&[(10, 5), (0, 5)], 20, 10).is_err());
        assert!(map(&[(0, 5)], 4, 5).is_err());
        assert!(map(&[(0, 5)], 20, 6).is_err());
        assert!(map(&[(u64::MAX, 5)], u64::MAX, 5).is_err());
    }
}
