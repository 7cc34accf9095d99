//! The process's output on its way to the caller's standard output and error. Runs in the client.
//!
//! One queue for both streams keeps their order where both end in the same file. The caller's
//! descriptors are shared with its shell, so they are never made non-blocking: a pipe is opened anew,
//! and where that is not allowed, a write is made only after poll, and short enough to be taken whole.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// A pipe that poll calls writable takes this many bytes without blocking (pipe(7), PIPE_BUF).
const PIPE_CHUNK: usize = 4096;
/// A regular file and /dev/null take any length at once; a pipe that does not block takes what it can.
const FILE_CHUNK: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A stream that takes no more, for a reason that the user should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot write to standard {}, the rest of it is dropped: {}", self.name(), self.errno.desc())]
pub(super) struct Broken {
    stream: Stream,
    errno: Errno,
}

impl Broken {
    fn name(&self) -> &'static str {
        match self.stream {
            Stream::Stdout => "output",
            Stream::Stderr => "error",
        }
    }
}

#[derive(Debug)]
struct Sink<'a> {
    fd: BorrowedFd<'a>,
    /// The same pipe, opened so that a write does not block.
    pipe: Option<File>,
    chunk: usize,
    broken: bool,
}

impl Sink<'_> {
    fn new(fd: BorrowedFd<'_>) -> Sink<'_> {
        let (kind, device) = fstat(fd)
            .map(|stat| (SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()), stat.st_rdev))
            .unwrap_or((SFlag::empty(), 0));
        let pipe = (kind == SFlag::S_IFIFO).then(|| open_again(fd)).flatten();
        let any_length = kind == SFlag::S_IFREG
            || kind == SFlag::S_IFCHR && device == nix::sys::stat::makedev(1, 3)
            || pipe.is_some();
        Sink { fd, pipe, chunk: if any_length { FILE_CHUNK } else { PIPE_CHUNK }, broken: false }
    }

    fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        write(self.pipe.as_ref().map_or(self.fd, AsFd::as_fd), bytes)
    }
}

/// Not possible for a pipe that another user made.
fn open_again(pipe: BorrowedFd<'_>) -> Option<File> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).ok()
}

/// What is still to be written, in the order in which it came.
#[derive(Debug)]
pub(super) struct Output<'a> {
    stdout: Sink<'a>,
    stderr: Sink<'a>,
    queue: VecDeque<(Stream, Vec<u8>)>,
    /// How much of the first entry is written.
    written: usize,
    queued: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(stdout: BorrowedFd<'a>, stderr: BorrowedFd<'a>) -> Output<'a> {
        let (stdout, stderr) = (Sink::new(stdout), Sink::new(stderr));
        Output { stdout, stderr, queue: VecDeque::new(), written: 0, queued: 0 }
    }

    fn sink(&mut self, stream: Stream) -> &mut Sink<'a> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Queues bytes; they are dropped when their stream takes no more.
    pub(super) fn push(&mut self, stream: Stream, bytes: Vec<u8>) {
        if !bytes.is_empty() && !self.sink(stream).broken {
            self.queued += bytes.len();
            self.queue.push_back((stream, bytes));
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn len(&self) -> usize {
        self.queued - self.written
    }

    /// The descriptor that takes the next bytes.
    pub(super) fn next_fd(&self) -> Option<BorrowedFd<'a>> {
        self.queue.front().map(|(stream, _)| match stream {
            Stream::Stdout => self.stdout.fd,
            Stream::Stderr => self.stderr.fd,
        })
    }

    /// Writes some of the first entry; call when poll says that `next_fd` is ready.
    ///
    /// A stream that fails is given up with its queued bytes, so that the process never blocks on
    /// it; a reader that went away (EPIPE) is nothing to tell.
    pub(super) fn write_some(&mut self) -> Result<(), Broken> {
        let Some((stream, bytes)) = self.queue.front() else { return Ok(()) };
        let (stream, total) = (*stream, bytes.len());
        let sink = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let end = total.min(self.written + sink.chunk);
        match sink.write(&bytes[self.written..end]) {
            Ok(length) => {
                self.written += length;
                if self.written == total {
                    self.queue.pop_front();
                    self.queued -= total;
                    self.written = 0;
                }
                Ok(())
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(()),
            Err(errno) => {
                self.give_up(stream);
                if errno == Errno::EPIPE { Ok(()) } else { Err(Broken { stream, errno }) }
            }
        }
    }

    /// The failed stream is the first entry's, so the count of written bytes goes with it.
    fn give_up(&mut self, stream: Stream) {
        self.sink(stream).broken = true;
        self.queue.retain(|(of, _)| *of != stream);
        self.queued = self.queue.iter().map(|(_, bytes)| bytes.len()).sum();
        self.written = 0;
    }

    /// Forgets what is not written yet.
    pub(super) fn discard(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.written = 0;
    }
}
