//! The buffered side of the tar stream: what the parser looks at and what payloads are cut from.
//!
//! Runs in the id worker.

use std::io::{self, Read};

/// Read at a time; also the smallest unit a large payload is written in.
const BUFFER: usize = 256 * 1024;

/// A reader whose coming bytes can be looked at before they are consumed.
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the stream of `buffer[start]`.
    offset: u64,
}

impl<R: Read> Input<R> {
    pub fn new(reader: R) -> Input<R> {
        Input { reader, buffer: vec![0; BUFFER], start: 0, end: 0, offset: 0 }
    }

    pub fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads until `count` bytes are available; false when the stream ends before.
    pub fn want(&mut self, count: usize) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.start + count > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if count > self.buffer.len() {
                self.buffer.resize(count.next_multiple_of(BUFFER), 0);
            }
        }
        while self.end - self.start < count {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The next piece of at most `limit` bytes; empty only at the end of the stream.
    pub fn piece(&mut self, limit: u64) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.want(1)?;
        }
        let length = limit.min((self.end - self.start) as u64) as usize;
        Ok(&self.buffer[self.start..self.start + length])
    }
}
