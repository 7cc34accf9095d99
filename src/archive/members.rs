//! The members of a tar stream one after the other, for who does not record the stream's bytes.
//!
//! Runs where archives are extracted: in the files worker and in the client of `cp`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use tar_core::HEADER_SIZE;
use tar_core::parse::{Limits, ParseError, ParseEvent, Parser};

use super::entry::{Entry, SparseInput};
use super::input::Input;
use super::unpack::{Error, MAX_HEADERS, MAX_METADATA, PATH_MAX, file_error};

/// Payloads from this size on go from the pipe to the file without a copy in this process.
const LARGE: u64 = 256 * 1024;

/// A tar stream that is read from a pipe.
pub(super) struct Members<'a> {
    source: &'a File,
    input: Input<&'a File>,
    parser: Parser,
    /// Bytes read so far, for who watches.
    done: &'a AtomicU64,
    /// Bytes that went past `input`.
    spliced: u64,
}

impl<'a> Members<'a> {
    pub fn new(source: &'a File, done: &'a AtomicU64) -> Members<'a> {
        let mut parser = Parser::new(Limits {
            max_metadata_size: MAX_METADATA,
            max_path_len: Some(PATH_MAX),
            ..Limits::default()
        });
        // Negative times are beyond the parser; `entry` reads them and checks what must not be skipped.
        parser.set_ignore_pax_errors(true);
        Members { source, input: Input::new(source), parser, done, spliced: 0 }
    }

    fn offset(&self) -> u64 {
        self.input.offset() + self.spliced
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.done.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The next member; `None` at the end of the archive. Its payload has to be taken before the next call.
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let offset = self.offset();
            let bytes = self.input.available();
            let parsed = self.parser.parse(bytes).map_err(|error| match error {
                ParseError::MetadataTooLarge { .. } => Error::HeaderTooLarge { offset },
                error => Error::Malformed { offset, detail: error.to_string() },
            })?;
            let (consumed, entry) = match parsed {
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
                ParseEvent::End { consumed } => {
                    self.consume(consumed);
                    return Ok(None);
                }
            };
            self.consume(consumed);
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }

    /// Writes the next `length` bytes to `file`, where it stands.
    pub fn payload(&mut self, length: u64, path: &[u8], mut file: &File) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            if left >= LARGE && self.input.available().is_empty() {
                let moved = self.splice(left, path, file)?;
                if moved > 0 {
                    left -= moved;
                    continue;
                }
            }
            let offset = self.offset();
            let piece =
                self.input.piece(left).map_err(|error| Error::Input { offset, detail: error.to_string() })?;
            if piece.is_empty() {
                return Err(Error::Truncated { offset });
            }
            file.write_all(piece).map_err(|error| file_error(path, "write", piece.len() as u64, &error))?;
            let count = piece.len();
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Moves bytes from the pipe to the file in the kernel. 0: this has to be done by hand.
    fn splice(&mut self, limit: u64, path: &[u8], file: &File) -> Result<u64, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30);
        loop {
            match splice(self.source.as_fd(), None, file, None, limit, SpliceFFlags::SPLICE_F_MOVE) {
                Err(Errno::EINTR) => {}
                // Not a pipe, or a file system that cannot.
                Err(Errno::EINVAL) => return Ok(0),
                Err(errno) => return Err(file_error(path, "splice", limit as u64, &errno.into())),
                Ok(moved) => {
                    self.spliced += moved as u64;
                    self.done.fetch_add(moved as u64, Ordering::Relaxed);
                    return Ok(moved as u64);
                }
            }
        }
    }

    /// Skips what fills the last block of a payload of `length` bytes.
    pub fn pad(&mut self, length: u64) -> Result<(), Error> {
        let padding = (length.next_multiple_of(HEADER_SIZE as u64) - length) as usize;
        if !self.want(padding)? {
            return Err(Error::Truncated { offset: self.offset() });
        }
        self.consume(padding);
        Ok(())
    }

    /// Reads to the end of the stream, so that its writer can end.
    pub fn rest(&mut self) -> Result<(), Error> {
        loop {
            let offset = self.offset();
            let piece = self
                .input
                .piece(u64::MAX)
                .map_err(|error| Error::Input { offset, detail: error.to_string() })?;
            if piece.is_empty() {
                return Ok(());
            }
            let count = piece.len();
            self.input.consume(count);
        }
    }

    fn want(&mut self, count: usize) -> Result<bool, Error> {
        let offset = self.offset();
        self.input.want(count).map_err(|error| Error::Input { offset, detail: error.to_string() })
    }
}
