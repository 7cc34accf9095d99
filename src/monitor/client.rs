//! One client of a monitor or an exec session: its socket, what it said, what it has not taken yet.

use std::io::{ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;

use super::backlog::{Backlog, MEMORY};
use super::log::Stream;
use super::protocol::{Decoder, Event, Frame, stream_header};
use crate::sys;
use crate::sys::confine::close_all_but;

/// How long output waits for a client that takes less than half a [`MEMORY`] meanwhile. A file is for
/// those that do not read; one that does is faster without.
const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Client {
    pub stream: UnixStream,
    pub decoder: Decoder,
    backlog: Backlog,
    /// Since when output waits for it.
    held: Option<Instant>,
    /// It was waited for in vain: what it has not taken goes to a file until it has caught up.
    spilling: bool,
    /// Gets the output.
    pub attached: bool,
    /// Its input is passed on; where the process's input ends with its client, it is this one.
    pub input: bool,
    pub gone: bool,
}

impl Client {
    pub fn new(stream: UnixStream, attached: bool) -> std::io::Result<Client> {
        stream.set_nonblocking(true)?;
        // More than the system allows becomes what it allows.
        let _ = setsockopt(&stream, SndBuf, &MEMORY);
        Ok(Client {
            stream,
            decoder: Decoder::default(),
            backlog: Backlog::default(),
            held: None,
            spilling: false,
            attached,
            input: false,
            gone: false,
        })
    }

    pub fn tell(&mut self, event: &Event, place: Option<&Path>) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.send(&[], &bytes, place);
    }

    /// Output, without copying what the socket takes at once.
    pub fn show(&mut self, stream: Stream, bytes: &[u8], place: Option<&Path>) {
        self.send(&stream_header(stream == Stream::Stderr, bytes.len()), bytes, place);
    }

    fn send(&mut self, header: &[u8], payload: &[u8], place: Option<&Path>) {
        let mut sent = 0;
        while self.backlog.is_empty() && !self.gone && sent < header.len() + payload.len() {
            let parts = [
                IoSlice::new(header.get(sent..).unwrap_or_default()),
                IoSlice::new(&payload[sent.saturating_sub(header.len())..]),
            ];
            match self.stream.write_vectored(&parts) {
                Ok(0) => self.gone = true,
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        let place = place.filter(|_| self.spilling);
        if !self.gone {
            for (part, before) in [(header, 0), (payload, header.len())] {
                let rest = part.get(sent.saturating_sub(before)..).unwrap_or_default();
                if !rest.is_empty() {
                    self.backlog.push(rest, place);
                }
            }
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) {
        while !self.backlog.is_empty() && !self.gone {
            match self.stream.write(self.backlog.front()) {
                Ok(0) => self.gone = true,
                Ok(count) => self.gone = self.backlog.consume(count).is_err(),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    pub fn is_behind(&self) -> bool {
        !self.gone && !self.backlog.is_empty()
    }

    /// Looks whether output has to wait for it, which it does for [`PATIENCE`] at most if what comes
    /// can be kept in a file.
    pub fn judge(&mut self, now: Instant, has_place: bool) {
        let waiting = self.backlog.in_memory();
        if waiting == 0 {
            (self.held, self.spilling) = (None, false);
        } else if !self.spilling {
            match self.held {
                None if waiting > MEMORY => self.held = Some(now),
                Some(_) if waiting <= MEMORY / 2 => self.held = None,
                Some(since) if has_place && now >= since + PATIENCE => {
                    (self.held, self.spilling) = (None, true);
                }
                _ => {}
            }
        }
    }

    /// Output has to wait.
    pub fn holds_back(&self) -> bool {
        !self.gone && (self.held.is_some() || self.backlog.is_stuck())
    }

    /// When to judge it again.
    pub fn until(&self) -> Option<Instant> {
        self.held.map(|since| since + PATIENCE)
    }

    /// Gives back buffers.
    pub fn rest(&mut self) {
        self.backlog.rest();
        self.decoder.rest();
    }
}

/// Sends what clients have not taken until `until` says so, all have it, or they are gone.
pub fn serve(clients: &mut Vec<Client>, until: impl Fn() -> bool) {
    loop {
        clients.iter_mut().for_each(Client::flush);
        clients.retain(Client::is_behind);
        if clients.is_empty() || until() {
            return;
        }
        let mut fds: Vec<_> =
            clients.iter().map(|c| PollFd::new(c.stream.as_fd(), PollFlags::POLLOUT)).collect();
        let _ = poll(&mut fds, PollTimeout::from(100u8));
    }
}

/// The same with no end, for a process of its own: everything else that it inherited is closed, the
/// container's lock above all.
pub fn serve_alone(mut clients: Vec<Client>) -> sys::Result<()> {
    let files = clients.iter().filter_map(|c| c.backlog.file().map(AsFd::as_fd));
    let keep: Vec<BorrowedFd<'_>> = clients.iter().map(|c| c.stream.as_fd()).chain(files).collect();
    close_all_but(&keep)?;
    serve(&mut clients, || false);
    Ok(())
}
