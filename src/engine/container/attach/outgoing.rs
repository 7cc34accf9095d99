//! Requests on their way to the monitor, sent as fast as it takes them. Runs in the client.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use crate::monitor::protocol::{Frame, Request};
use crate::sys;

/// Encoded requests that the socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    closed: bool,
}

impl Outgoing {
    /// Queues a request. Once the monitor has hung up, it is dropped: nobody is there to care.
    pub(super) fn push(&mut self, request: &Request) {
        if !self.closed {
            request.encode(&mut self.bytes);
        }
    }

    /// Unsent bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether the monitor no longer listens.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Sends what the socket takes now. A monitor that hung up is no error here: what it said
    /// last is still to be read.
    pub(super) fn send(&mut self, socket: &UnixStream) -> sys::Result<()> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        match send(socket.as_raw_fd(), &self.bytes[self.sent..], flags) {
            Ok(length) => self.sent += length,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET) => {
                self.closed = true;
                self.sent = self.bytes.len();
            }
            Err(errno) => return Err(sys::Error::new("send", "control socket", errno)),
        }
        if self.len() == 0 {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > self.bytes.len() / 2 {
            // Moving less than was sent keeps the copying linear.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}
