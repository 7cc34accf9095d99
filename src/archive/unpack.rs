//! Unpacks a tar stream into a directory, confined to it, as an overlay layer.
//!
//! Runs in the id worker. Reading and deciding are here, touching the disk is in `tree`; what the
//! stream was is recorded by `tarsplit`. The rules are those of image-spec layer.md, "Applying
//! Changesets", and of the archive reader that images are made with (Go's archive/tar).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use tar_core::HEADER_SIZE;
use tar_core::parse::{Limits, ParseError, ParseEvent, Parser};

use super::entry::{Entry, Kind, SparseInput, SparseMap};
use super::input::Input;
use super::tree::Tree;
use super::whiteout::{self, Marker};
use super::{FailedCall, tarsplit};
use crate::sys::path::Root;

/// What one member may need ahead of its payload: names, PAX records, sparse maps.
const MAX_METADATA: u32 = 1024 * 1024;
/// The same with the headers around it.
const MAX_HEADERS: usize = 2 * MAX_METADATA as usize;
/// path_resolution(7); the kernel refuses longer ones.
const PATH_MAX: u32 = 4096;

/// How the owners in the archive become owners on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owners {
    /// Files are given to the ids in the archive: the process is root of a mapped user namespace.
    Mapped,
    /// Only one id exists: files stay the process's own, true owners are kept in an attribute.
    Recorded,
}

/// How a whiteout is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whiteouts {
    /// As a character device 0:0, which both overlay and fuse-overlayfs understand; where the kernel
    /// refuses that, as a marker.
    Device,
    /// As a file `.wh.NAME`, which only fuse-overlayfs understands.
    Marker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub owners: Owners,
    pub whiteouts: Whiteouts,
    /// The process's umask is 0, so a file's mode can be given when it is created.
    pub umask_is_zero: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Sum of the sizes of regular files and symbolic links in bytes, hard links counted once.
    pub size: u64,
    /// Names in the layer, whiteouts included, the root not.
    pub files: u64,
    /// Some whiteout is a `.wh.` file, so the layer needs fuse-overlayfs.
    pub marker_whiteouts: bool,
    pub notes: Vec<Note>,
}

/// Something of the archive that could not be kept on disk; the tar record still has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub kind: NoteKind,
    /// The first member concerned.
    pub path: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// A device node; only root of the host may make one.
    DeviceSkipped,
    /// An extended attribute of this name was refused by the file system or the kernel.
    AttributeRefused(String),
    /// A file capability was refused: the program will run without it.
    CapabilityRefused,
    /// The owner could not be recorded: the file system has no user attributes.
    OwnerNotRecorded,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = &self.path;
        match &self.kind {
            NoteKind::DeviceSkipped => write!(f, "device node {path:?} was left out")?,
            NoteKind::AttributeRefused(name) => write!(f, "attribute {name} of {path:?} was refused")?,
            NoteKind::CapabilityRefused => write!(f, "the file capabilities of {path:?} were refused")?,
            NoteKind::OwnerNotRecorded => write!(f, "the owner of {path:?} could not be recorded")?,
        }
        match self.count {
            0 | 1 => Ok(()),
            more => write!(f, " (and {} more like it)", more - 1),
        }
    }
}

/// Why an archive was not unpacked. What is on disk then is to be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("cannot read the archive at byte {offset}: {detail}")]
    Input { offset: u64, detail: String },
    #[error("the archive ends early, at byte {offset}")]
    Truncated { offset: u64 },
    #[error("the archive is malformed at byte {offset}: {detail}")]
    Malformed { offset: u64, detail: String },
    #[error("the headers of one member at byte {offset} take more than {MAX_METADATA} bytes")]
    HeaderTooLarge { offset: u64 },
    #[error("malformed archive member {path:?}: {detail}")]
    Member { path: String, detail: String },
    #[error("{path:?} is not a valid whiteout")]
    InvalidWhiteout { path: String },
    #[error("{path:?} belongs to {uid}:{gid}, which is not mapped: more subordinate ids are needed")]
    Unmapped { path: String, uid: u32, gid: u32 },
    #[error("hard link {path:?} points to {target:?}, which is no file of this layer")]
    LinkTarget { path: String, target: String },
    #[error("{path:?} cannot be unpacked: its parent {parent:?} is not a directory of this layer")]
    Parent { path: String, parent: String },
    #[error("cannot unpack {path:?}")]
    System {
        path: String,
        #[source]
        source: FailedCall,
    },
    #[error("cannot write the layer's tar record: {detail}")]
    Record { detail: String },
}

/// Unpacks `archive` into the empty directory `tree`, writing its record to `record`.
///
/// Payloads of members that later ones overwrite are kept in the directory `replaced` of `layer`,
/// which is made when the first one turns up.
pub fn unpack<R: Read, W: Write>(
    archive: R,
    tree: Root,
    layer: OwnedFd,
    replaced: &'static str,
    record: W,
    options: Options,
) -> Result<(Summary, W), Error> {
    let mut parser = Parser::new(Limits {
        max_metadata_size: MAX_METADATA,
        max_path_len: Some(PATH_MAX),
        ..Limits::default()
    });
    // Negative times are beyond the parser; `entry` reads them and checks what must not be skipped.
    parser.set_ignore_pax_errors(true);
    let record = tarsplit::Writer::new(record).map_err(record_error)?;
    let tree = Tree::new(tree, layer, replaced, options)?;
    let mut unpacker = Unpacker { input: Input::new(archive), record, tree };
    while let Some(entry) = unpacker.next_entry(&mut parser)? {
        unpacker.member(entry)?;
    }
    unpacker.record_rest()?;
    let summary = unpacker.tree.finish()?;
    Ok((summary, unpacker.record.finish().map_err(record_error)?))
}

struct Unpacker<R, W: Write> {
    input: Input<R>,
    record: tarsplit::Writer<W>,
    tree: Tree,
}

impl<R: Read, W: Write> Unpacker<R, W> {
    /// Reads and records the headers of the next member; `None` at the end of the archive.
    fn next_entry(&mut self, parser: &mut Parser) -> Result<Option<Entry>, Error> {
        loop {
            let offset = self.input.offset();
            let bytes = self.input.available();
            let (consumed, entry) = match parser.parse(bytes).map_err(|error| parse_error(offset, error))? {
                ParseEvent::NeedData { min_bytes } => {
                    let wanted = min_bytes.max(bytes.len() + 1);
                    if wanted > MAX_HEADERS {
                        return Err(Error::HeaderTooLarge { offset });
                    }
                    if self.want(wanted)? {
                        continue;
                    }
                    // Archives may lack one or both of the zero blocks that should end them.
                    if self.input.available().iter().all(|&byte| byte == 0) {
                        return Ok(None);
                    }
                    return Err(Error::Truncated { offset: offset + self.input.available().len() as u64 });
                }
                ParseEvent::Entry { consumed, entry } => (consumed, Some(Entry::new(&entry, None)?)),
                ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                    let header_at = entry.header.as_bytes().as_ptr() as usize - bytes.as_ptr() as usize;
                    let map_bytes = (consumed - header_at - HEADER_SIZE) as u64;
                    let old_format = entry.entry_type.is_gnu_sparse();
                    let sparse = SparseInput {
                        regions: sparse_map,
                        file_size: real_size,
                        // The old format's extra headers are not part of the member's data.
                        map_bytes: if old_format { 0 } else { map_bytes },
                    };
                    (consumed, Some(Entry::new(&entry, Some(sparse))?))
                }
                ParseEvent::GlobalExtensions { consumed, .. } => (consumed, None),
                ParseEvent::End { .. } => return Ok(None),
            };
            self.record.raw(&bytes[..consumed]).map_err(record_error)?;
            self.input.consume(consumed);
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }

    fn member(&mut self, entry: Entry) -> Result<(), Error> {
        match whiteout::classify(&entry.path) {
            Marker::None => return self.ordinary_member(entry),
            Marker::Whiteout(hidden) => {
                let parent = &entry.path[..entry.path.len() - hidden.len() - whiteout::PREFIX.len()];
                let hidden = [parent, hidden].concat();
                self.tree.whiteout(&hidden)?;
            }
            Marker::Opaque => {
                let directory = entry.path.strip_suffix(whiteout::OPAQUE).unwrap_or_default();
                self.tree.opaque(directory.strip_suffix(b"/").unwrap_or(directory))?;
            }
            Marker::Ignored => {}
            Marker::Invalid => return Err(Error::InvalidWhiteout { path: shown(&entry.path) }),
        }
        self.keep_inline(entry.data)
    }

    fn ordinary_member(&mut self, entry: Entry) -> Result<(), Error> {
        match &entry.kind {
            Kind::File => return self.file(&entry),
            Kind::Sparse(map) => return self.sparse_file(&entry, map),
            Kind::Directory => self.tree.directory(&entry)?,
            Kind::Symlink(target) => self.tree.symlink(&entry, target)?,
            Kind::HardLink(target) => self.tree.hard_link(&entry, target)?,
            Kind::Fifo => self.tree.fifo(&entry)?,
            Kind::Device => self.tree.device(&entry),
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry) -> Result<(), Error> {
        let (place, mut file) = self.tree.create_file(entry)?;
        self.each_piece(entry.data, |piece, _| {
            file.write_all(piece)
                .map_err(|error| file_error(&entry.path, "write", piece.len() as u64, &error))
        })?;
        let number = match entry.data {
            0 => None,
            size => Some(self.record.file(&place, size).map_err(record_error)?),
        };
        self.pad(entry.data)?;
        self.tree.finish_file(place, &file, entry, (entry.data, number))
    }

    fn sparse_file(&mut self, entry: &Entry, map: &SparseMap) -> Result<(), Error> {
        let (place, file) = self.tree.create_file(entry)?;
        for &(start, length) in &map.regions {
            self.each_piece(length, |piece, done| {
                file.write_all_at(piece, start + done)
                    .map_err(|error| file_error(&entry.path, "write", piece.len() as u64, &error))
            })?;
        }
        file.set_len(map.file_size)
            .map_err(|error| file_error(&entry.path, "ftruncate", map.file_size, &error))?;
        let number = self.record.sparse(&place, &map.regions).map_err(record_error)?;
        self.pad(entry.data)?;
        self.tree.finish_file(place, &file, entry, (map.file_size, Some(number)))
    }

    /// Hands the next `length` bytes to `sink`, piece by piece, with how many came before.
    fn each_piece(
        &mut self,
        length: u64,
        mut sink: impl FnMut(&[u8], u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut done = 0;
        while done < length {
            let offset = self.input.offset();
            let piece = self.input.piece(length - done).map_err(|error| input_error(offset, &error))?;
            if piece.is_empty() {
                return Err(Error::Truncated { offset });
            }
            sink(piece, done)?;
            let count = piece.len();
            self.input.consume(count);
            done += count as u64;
        }
        Ok(())
    }

    /// Records payload bytes that end up in no file, and their padding.
    fn keep_inline(&mut self, data: u64) -> Result<(), Error> {
        let mut left = data.next_multiple_of(HEADER_SIZE as u64);
        while left > 0 {
            let offset = self.input.offset();
            let piece = self.input.piece(left).map_err(|error| input_error(offset, &error))?;
            if piece.is_empty() {
                return Err(Error::Truncated { offset });
            }
            self.record.raw(piece).map_err(record_error)?;
            let count = piece.len();
            self.input.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    fn pad(&mut self, data: u64) -> Result<(), Error> {
        let padding = data.next_multiple_of(HEADER_SIZE as u64) - data;
        if !self.want(padding as usize)? {
            return Err(Error::Truncated { offset: self.input.offset() });
        }
        self.record.raw(&self.input.available()[..padding as usize]).map_err(record_error)?;
        self.input.consume(padding as usize);
        Ok(())
    }

    /// Everything after the last member belongs to the archive's bytes as well.
    fn record_rest(&mut self) -> Result<(), Error> {
        loop {
            let offset = self.input.offset();
            let piece = self.input.piece(u64::MAX).map_err(|error| input_error(offset, &error))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.record.raw(piece).map_err(record_error)?;
            let count = piece.len();
            self.input.consume(count);
        }
    }

    fn want(&mut self, count: usize) -> Result<bool, Error> {
        let offset = self.input.offset();
        self.input.want(count).map_err(|error| input_error(offset, &error))
    }
}

fn parse_error(offset: u64, error: ParseError) -> Error {
    match error {
        ParseError::MetadataTooLarge { .. } => Error::HeaderTooLarge { offset },
        error => Error::Malformed { offset, detail: error.to_string() },
    }
}

fn input_error(offset: u64, error: &io::Error) -> Error {
    Error::Input { offset, detail: error.to_string() }
}

fn record_error(error: io::Error) -> Error {
    Error::Record { detail: error.to_string() }
}

fn file_error(path: &[u8], call: &str, size: u64, error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(nix::libc::EIO);
    let source = FailedCall { call: call.to_owned(), args: format!("{size} bytes"), errno };
    Error::System { path: shown(path), source }
}

/// A member's name for messages: bytes that are no printable ASCII are escaped.
pub(super) fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// Opens a file for the caller's record or payloads inside a directory descriptor.
pub fn create_record(layer: &OwnedFd, name: &str) -> crate::sys::Result<File> {
    use crate::sys::error::Context;
    use nix::fcntl::OFlag;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    let fd = nix::fcntl::openat(layer, name, flags, mode)
        .call("openat", || format!("{name:?}, O_CREAT|O_EXCL"))?;
    Ok(fd.into())
}
