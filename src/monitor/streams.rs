//! The container's ends of its streams, seen from the process that watches it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::log::Stream;

/// What a pipe holds while much comes through it, and otherwise, in bytes.
pub const WIDE_PIPE: i32 = 1 << 20;
pub const PIPE: i32 = 64 * 1024;

/// `None` where a stream is closed.
#[derive(Debug)]
pub enum Streams {
    Pipes { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    Terminal { master: Option<OwnedFd> },
}

impl Streams {
    /// Makes a terminal not block; pipes are made so. A blocking write of input could hold everything.
    pub fn unblock(&self) {
        if let Streams::Terminal { master: Some(master) } = self {
            // Fails for no open terminal.
            let _ = fcntl(master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK));
        }
    }

    /// No more output will come.
    pub fn are_over(&self) -> bool {
        match self {
            Streams::Pipes { stdout, stderr, .. } => stdout.is_none() && stderr.is_none(),
            Streams::Terminal { master } => master.is_none(),
        }
    }

    /// Sets what the output's pipes hold, in bytes. A user may have only so many pages in pipes; then
    /// they stay as they are.
    pub fn resize(&self, size: i32) {
        if let Streams::Pipes { stdout, stderr, .. } = self {
            for pipe in [stdout, stderr].into_iter().flatten() {
                let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(size));
            }
        }
    }

    pub fn outputs(&self) -> Vec<(Stream, BorrowedFd<'_>)> {
        match self {
            Streams::Pipes { stdout, stderr, .. } => [(Stream::Stdout, stdout), (Stream::Stderr, stderr)]
                .into_iter()
                .filter_map(|(stream, fd)| fd.as_ref().map(|fd| (stream, fd.as_fd())))
                .collect(),
            Streams::Terminal { master } => master.iter().map(|fd| (Stream::Stdout, fd.as_fd())).collect(),
        }
    }

    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Streams::Pipes { stdin, .. } => stdin.as_ref().map(|fd| fd.as_fd()),
            Streams::Terminal { master } => master.as_ref().map(|fd| fd.as_fd()),
        }
    }
}
