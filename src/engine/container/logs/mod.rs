//! Reading a container's log: docker's json-file format, one object a line. Runs in the client.
//!
//! The monitor only appends whole lines, so a line without its end is one that is being written: it
//! is read again later. A text without a final newline is a part of a longer line of the container's.

pub mod entry;
mod generations;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use memchr::{memchr, memrchr_iter};

pub use entry::Entry;
use entry::{Parser, padded};
use generations::{Generation, is_rotated, younger};

/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// How soon a container that ended must run again for its log to be followed further.
const RESTART: Duration = Duration::from_millis(200);
/// How much is read at a time, in bytes; when looking for the last lines, and otherwise.
const BLOCK: u64 = 64 << 10;
const CHUNK: usize = 512 << 10;

/// Which lines to show.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Go on until the container stops.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the log {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the log {path} is damaged: no log entry at byte {offset}")]
    Damaged { path: PathBuf, offset: u64, source: serde_json::Error },
    #[error("cannot show the log")]
    Show(#[source] io::Error),
}

/// What receives the entries.
pub trait Sink {
    /// Shows one entry.
    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()>;
    /// All there is was shown: called before waiting for more and at the end.
    fn flush(&mut self) -> io::Result<()>;
}

/// Shows a log. `running` tells whether the container runs; a followed log ends when it does not
/// and everything was shown. A container that never started has no log, which is an empty one.
///
/// # Errors
/// When the log cannot be read or is damaged, or the sink fails.
pub fn read(
    path: &Path,
    request: &Request,
    mut running: impl FnMut() -> bool,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut shown = Shown::new(request, sink);
    let mut more_to_come = request.follow && running();
    let mut lines = Lines::open(path, request).map_err(fail)?;
    loop {
        loop {
            if request.follow {
                lines.discover(path).map_err(fail)?;
            }
            if lines.fill().map_err(fail)? == 0 {
                // Of the last one too: what came before it was moved away was written by now.
                if lines.queue.is_empty() {
                    break;
                }
                lines.next_file();
                continue;
            }
            if !shown.all(&mut lines, path)? {
                return shown.sink.flush().map_err(Error::Show);
            }
        }
        shown.sink.flush().map_err(Error::Show)?;
        let over = request.until.is_some_and(|until| until < Timestamp::now());
        if !more_to_come || over {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_INTERVAL);
        // Asked before reading: what was written before the end is then read after it.
        more_to_come = goes_on(&mut running);
    }
}

/// Whether the container runs, or does again soon: `restart` stops and starts it.
fn goes_on(running: &mut impl FnMut() -> bool) -> bool {
    let until = Instant::now() + RESTART;
    loop {
        if running() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(FOLLOW_INTERVAL / 5);
    }
}

/// Hands on the entries that were asked for.
struct Shown<'a, S: Sink> {
    parser: Parser,
    /// Padded times.
    since: Option<String>,
    until: Option<String>,
    sink: &'a mut S,
}

impl<'a, S: Sink> Shown<'a, S> {
    fn new(request: &Request, sink: &'a mut S) -> Self {
        let (since, until) = (request.since.map(padded), request.until.map(padded));
        Shown { parser: Parser::default(), since, until, sink }
    }

    /// Shows the whole lines that are in memory. False: one was too late, and so are all that follow.
    fn all(&mut self, lines: &mut Lines, path: &Path) -> Result<bool, Error> {
        while let Some((line, offset)) = lines.next() {
            let entry = self.parser.parse(line).map_err(|source| Error::Damaged {
                path: path.to_owned(),
                offset,
                source,
            })?;
            if self.since.is_some() || self.until.is_some() {
                let time = entry.padded_time();
                if self.until.as_deref().is_some_and(|until| *time > *until) {
                    return Ok(false);
                }
                if self.since.as_deref().is_some_and(|since| *time < *since) {
                    continue;
                }
            }
            self.sink.entry(&entry).map_err(Error::Show)?;
        }
        Ok(true)
    }
}

/// Whole lines of files that may grow and be rotated.
#[derive(Debug, Default)]
struct Lines {
    current: Option<Generation>,
    /// Younger files, oldest first.
    queue: VecDeque<Generation>,
    /// What was read and is not taken: `buffer[taken..filled]`.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Where `taken` is in the current file.
    offset: u64,
}

impl Lines {
    /// All files that hold what is asked for, the first at its first line.
    fn open(path: &Path, request: &Request) -> io::Result<Lines> {
        let mut queue = younger(path, None)?;
        if let Some(since) = request.since {
            let early = |generation: &Generation| {
                let changed = generation.changed().map(Timestamp::try_from);
                matches!(changed, Ok(Ok(changed)) if changed < since)
            };
            while queue.len() > 1 && queue.front().is_some_and(early) {
                queue.pop_front();
            }
        }
        let mut offset = 0;
        if let Some(tail) = request.tail {
            let mut wanted = tail;
            let mut first = queue.len();
            while first > 0 {
                first -= 1;
                let (start, found) = last_lines(&queue[first].file, wanted)?;
                offset = start;
                wanted -= found;
                if wanted == 0 {
                    break;
                }
            }
            queue.drain(..first);
        }
        let mut lines = Lines { queue, ..Lines::default() };
        lines.next_file();
        lines.offset = offset;
        if let Some(current) = &mut lines.current {
            current.file.seek(SeekFrom::Start(offset))?;
        }
        Ok(lines)
    }

    /// Goes on with the next file, if there is one. Half a line that a killed monitor left is dropped.
    fn next_file(&mut self) {
        if let Some(next) = self.queue.pop_front() {
            self.current = Some(next);
            (self.taken, self.filled, self.offset) = (0, 0, 0);
        }
    }

    /// Opens the files that came since: open, they outlast being rotated away.
    fn discover(&mut self, path: &Path) -> io::Result<()> {
        let newest = self.queue.back().or(self.current.as_ref()).map(|generation| generation.identity);
        if newest.is_none_or(|newest| is_rotated(path, newest)) {
            self.queue.extend(younger(path, newest)?);
            if self.current.is_none() {
                self.next_file();
            }
        }
        Ok(())
    }

    /// Reads on; how many bytes came.
    fn fill(&mut self) -> io::Result<usize> {
        let Some(current) = &mut self.current else { return Ok(0) };
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        loop {
            match current.file.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.filled += count;
                    return Ok(count);
                }
            }
        }
    }

    /// The next whole line without its end, and where it starts.
    fn next(&mut self) -> Option<(&[u8], u64)> {
        let rest = &self.buffer[self.taken..self.filled];
        let length = memchr(b'\n', rest)?;
        let offset = self.offset;
        self.taken += length + 1;
        self.offset += length as u64 + 1;
        Some((&rest[..length], offset))
    }
}

/// Where the last `lines` lines start and how many there are, found from the end. A line being
/// written is not counted.
fn last_lines(file: &File, lines: u64) -> io::Result<(u64, u64)> {
    let size = file.metadata()?.len();
    let mut block = vec![0; BLOCK as usize];
    let mut newlines = 0;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let part = &mut block[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        for i in memrchr_iter(b'\n', part) {
            if newlines == lines {
                return Ok((start + i as u64 + 1, lines));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}

#[cfg(test)]
mod tests;
