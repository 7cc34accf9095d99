//! The record that rebuilds a layer's byte-identical tar from its unpacked files.
//!
//! Runs in the id worker. The record is a zstd stream of: a magic line that carries the version,
//! then segments, each a tag byte and its fields. Numbers are LEB128, paths are length-prefixed.
//!
//! | tag | fields | stands for |
//! |---|---|---|
//! | 1 | length, bytes | the bytes themselves: headers, padding, payloads with no file |
//! | 2 | path, size | the whole content of a regular file |
//! | 3 | path, count, count × (offset, length) | the data regions of a sparse file |
//! | 0 | total | the end; `total` bytes have been described |
//!
//! Segments 2 and 3 are numbered from 0. When a later member of the archive overwrites a file, its
//! payload is moved to the directory of replaced payloads under its number; rebuilding looks there
//! first. Paths hold no symbolic link and are relative to the unpacked tree.

#![cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "records are written from the first layer on; what rebuilds archives from them is held to byte identity by tests until push and save call it"
    )
)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::sys;
use crate::sys::path::Root;

const MAGIC: &[u8] = b"coracle tar-split 1\n";
const TAG_END: u8 = 0;
const TAG_RAW: u8 = 1;
const TAG_FILE: u8 = 2;
const TAG_SPARSE: u8 = 3;

/// Raw bytes are gathered up to this many before they become a segment.
const RAW_SEGMENT: usize = 64 * 1024;
/// The longest path a record may hold, as in path_resolution(7).
const PATH_MAX: u64 = 4096;
/// Headers compress tenfold even at the fastest level.
const ZSTD_LEVEL: i32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the layer's tar record is damaged: {0}")]
    Damaged(&'static str),
    #[error("cannot read the layer's tar record")]
    ReadRecord(#[source] io::Error),
    #[error("cannot open {path:?} of the layer")]
    Open {
        path: String,
        #[source]
        source: sys::Error,
    },
    #[error("cannot read {path:?} of the layer")]
    ReadFile {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0:?} of the layer is shorter than its tar member was: the layer was changed on disk")]
    Changed(String),
    #[error("cannot write the rebuilt archive")]
    WriteOutput(#[source] io::Error),
}

/// Writes a record while an archive is unpacked.
pub struct Writer<W: Write> {
    output: zstd::stream::write::Encoder<'static, W>,
    raw: Vec<u8>,
    payloads: u64,
    total: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(output: W) -> io::Result<Writer<W>> {
        let mut output = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
        output.write_all(MAGIC)?;
        Ok(Writer { output, raw: Vec::with_capacity(RAW_SEGMENT), payloads: 0, total: 0 })
    }

    /// Bytes of the archive that have no file: kept as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        if self.raw.len() + bytes.len() > RAW_SEGMENT {
            self.flush_raw()?;
        }
        if bytes.len() >= RAW_SEGMENT {
            return Self::write_raw(&mut self.output, bytes);
        }
        self.raw.extend_from_slice(bytes);
        Ok(())
    }

    /// A payload that is the whole content of the file at `path`. Returns its number.
    pub fn file(&mut self, path: &[u8], size: u64) -> io::Result<u64> {
        self.total += size;
        self.start_payload(TAG_FILE, path)?;
        write_number(&mut self.output, size)?;
        Ok(self.payloads - 1)
    }

    /// A payload that is the (offset, length) regions of the file at `path`. Returns its number.
    pub fn sparse(&mut self, path: &[u8], regions: &[(u64, u64)]) -> io::Result<u64> {
        self.start_payload(TAG_SPARSE, path)?;
        write_number(&mut self.output, regions.len() as u64)?;
        for &(offset, length) in regions {
            self.total += length;
            write_number(&mut self.output, offset)?;
            write_number(&mut self.output, length)?;
        }
        Ok(self.payloads - 1)
    }

    /// Completes the record and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_raw()?;
        self.output.write_all(&[TAG_END])?;
        write_number(&mut self.output, self.total)?;
        self.output.finish()
    }

    fn start_payload(&mut self, tag: u8, path: &[u8]) -> io::Result<()> {
        self.flush_raw()?;
        self.payloads += 1;
        self.output.write_all(&[tag])?;
        write_number(&mut self.output, path.len() as u64)?;
        self.output.write_all(path)
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if !self.raw.is_empty() {
            Self::write_raw(&mut self.output, &self.raw)?;
            self.raw.clear();
        }
        Ok(())
    }

    fn write_raw(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        output.write_all(&[TAG_RAW])?;
        write_number(output, bytes.len() as u64)?;
        output.write_all(bytes)
    }
}

fn write_number(output: &mut impl Write, mut value: u64) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut length = 0;
    loop {
        bytes[length] = (value & 0x7f) as u8 | if value > 0x7f { 0x80 } else { 0 };
        length += 1;
        value >>= 7;
        if value == 0 {
            return output.write_all(&bytes[..length]);
        }
    }
}

/// Writes the archive that `record` describes, with payloads from `tree` or, for overwritten
/// members, from the directory `replaced`. The bytes are those that were unpacked; a caller that
/// must be sure compares the digest.
pub fn rebuild(
    record: impl Read,
    tree: &Root,
    replaced: Option<BorrowedFd<'_>>,
    output: &mut impl Write,
) -> Result<u64, Error> {
    let record = zstd::stream::read::Decoder::new(record).map_err(Error::ReadRecord)?;
    let mut record = BufReader::with_capacity(RAW_SEGMENT, record);
    let mut magic = [0; MAGIC.len()];
    record.read_exact(&mut magic).map_err(Error::ReadRecord)?;
    if magic != MAGIC {
        return Err(Error::Damaged("it does not start as a record of a known version"));
    }
    let mut rebuild = Rebuild { tree, replaced, output, payloads: 0, total: 0, buffer: vec![0; RAW_SEGMENT] };
    loop {
        let mut tag = [0];
        record.read_exact(&mut tag).map_err(Error::ReadRecord)?;
        match tag[0] {
            TAG_RAW => rebuild.raw(&mut record)?,
            TAG_FILE => rebuild.file(&mut record)?,
            TAG_SPARSE => rebuild.sparse(&mut record)?,
            TAG_END if read_number(&mut record)? == rebuild.total => return Ok(rebuild.total),
            TAG_END => return Err(Error::Damaged("its parts do not add up to its length")),
            _ => return Err(Error::Damaged("it has an unknown segment")),
        }
    }
}

struct Rebuild<'a, W> {
    tree: &'a Root,
    replaced: Option<BorrowedFd<'a>>,
    output: &'a mut W,
    payloads: u64,
    total: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Rebuild<'_, W> {
    fn raw(&mut self, record: &mut impl Read) -> Result<(), Error> {
        let length = read_number(record)?;
        let copied = io::copy(&mut record.take(length), self.output).map_err(Error::WriteOutput)?;
        if copied != length {
            return Err(Error::Damaged("it ends early"));
        }
        self.total += length;
        Ok(())
    }

    fn file(&mut self, record: &mut impl Read) -> Result<(), Error> {
        let path = read_path(record)?;
        let size = read_number(record)?;
        let file = self.open(&path)?;
        self.copy(&file, &path, 0, size)
    }

    fn sparse(&mut self, record: &mut impl Read) -> Result<(), Error> {
        let path = read_path(record)?;
        let file = self.open(&path)?;
        for _ in 0..read_number(record)? {
            let offset = read_number(record)?;
            let length = read_number(record)?;
            self.copy(&file, &path, offset, length)?;
        }
        Ok(())
    }

    fn open(&mut self, path: &[u8]) -> Result<File, Error> {
        let number = self.payloads.to_string();
        self.payloads += 1;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        if let Some(replaced) = self.replaced {
            match nix::fcntl::openat(replaced, number.as_str(), flags, Mode::empty()) {
                Ok(fd) => return Ok(fd.into()),
                Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let source = sys::Error::new("openat", format!("{number:?}"), errno);
                    return Err(Error::Open { path: shown(path), source });
                }
            }
        }
        let fd = self.tree.resolve_plain(Path::new(OsStr::from_bytes(path)), flags, Mode::empty());
        fd.map(File::from).map_err(|source| Error::Open { path: shown(path), source })
    }

    fn copy(&mut self, file: &File, path: &[u8], mut offset: u64, length: u64) -> Result<(), Error> {
        let end = offset.checked_add(length).ok_or(Error::Damaged("a region overflows"))?;
        while offset < end {
            let limit = (end - offset).min(self.buffer.len() as u64) as usize;
            let count = match file.read_at(&mut self.buffer[..limit], offset) {
                Ok(0) => return Err(Error::Changed(shown(path))),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::ReadFile { path: shown(path), source }),
            };
            self.output.write_all(&self.buffer[..count]).map_err(Error::WriteOutput)?;
            offset += count as u64;
        }
        self.total += length;
        Ok(())
    }
}

fn read_number(record: &mut impl Read) -> Result<u64, Error> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        record.read_exact(&mut byte).map_err(Error::ReadRecord)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Damaged("a number is too long"))
}

fn read_path(record: &mut impl Read) -> Result<Vec<u8>, Error> {
    let length = read_number(record)?;
    if length > PATH_MAX {
        return Err(Error::Damaged("a path is too long"));
    }
    let mut path = vec![0; length as usize];
    record.read_exact(&mut path).map_err(Error::ReadRecord)?;
    Ok(path)
}

fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// Opens the directory of replaced payloads, when the layer has one.
pub fn open_replaced(layer: impl AsFd, name: &str) -> sys::Result<Option<std::os::fd::OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match nix::fcntl::openat(layer, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(sys::Error::new("openat", format!("{name:?}"), errno)),
    }
}
