//! The bytes that a relay carries: output to the clients and the log, input to the process.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;

use super::{CHUNK, Relay};
use crate::monitor::log::Stream;
use crate::monitor::streams::{PIPE, Streams, WIDE_PIPE};

impl Relay {
    pub(super) fn output(&mut self, stream: Stream) {
        self.make_room();
        let fd = match (&mut self.streams, stream) {
            (Streams::Pipes { stdout, .. }, Stream::Stdout) => stdout,
            (Streams::Pipes { stderr, .. }, Stream::Stderr) => stderr,
            (Streams::Terminal { master }, _) => master,
        };
        let Some(open) = fd else { return };
        let mut length = 0;
        // A terminal gives little at a time.
        while length < CHUNK {
            match nix::unistd::read(open.as_fd(), &mut self.buffer[length..]) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // A terminal whose other side is closed reads as EIO.
                Ok(0) | Err(_) => {
                    *fd = None;
                    break;
                }
                Ok(count) => length += count,
            }
        }
        if self.ended.is_some() {
            self.late += length;
        }
        if length >= PIPE as usize && !self.wide {
            self.wide = true;
            self.streams.resize(WIDE_PIPE);
        }
        let bytes = &self.buffer[..length];
        for client in self.clients.iter_mut().filter(|c| c.attached) {
            client.show(stream, bytes, self.spill.as_deref());
        }
        if let Some(log) = &mut self.log {
            log.take(stream, bytes);
        }
        self.silent = Instant::now();
    }

    /// Pages that no read fills are never touched.
    pub(super) fn make_room(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; CHUNK];
        }
    }

    /// Gives the process what waits for it, and the end of its input once all is through.
    pub(super) fn feed(&mut self) {
        while !self.stdin.is_empty() {
            let Some(fd) = self.streams.input() else { break };
            match nix::unistd::write(fd, self.stdin.as_slices().0) {
                Ok(n) => drop(self.stdin.drain(..n)),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // The process closed its input.
                Err(_) => {
                    self.stdin.clear();
                    self.stdin_closed = true;
                }
            }
        }
        if self.stdin_closed
            && let Streams::Pipes { stdin, .. } = &mut self.streams
        {
            *stdin = None;
        }
    }

    /// docker's StdinOnce: the input of a foreground container ends with its client's.
    pub(super) fn input_ended(&mut self) {
        if self.stdin_once {
            self.stdin_closed = true;
            self.feed();
        }
    }
}
