//! One forwarded TCP connection: two sockets and the bytes on their way between them.
//!
//! Each direction copies through one shared buffer while messages are small, and turns to
//! splice(2) through a pipe as soon as a read fills the buffer: the first is two calls for a
//! request, the second moves pages. A direction reads only when everything it read before was
//! taken by the other side, so a slow reader slows the sender and nothing piles up here.
//!
//! The sockets are watched edge-triggered, and this file keeps what is known of them: after
//! EAGAIN, and after a read that came back short, there is nothing to do until the next edge.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Shutdown, shutdown};

use crate::sys::socket;
use crate::sys::splice::Pipe;

/// Bytes of the shared buffer, and the read size that tells a bulk transfer.
const BUFFER: usize = 64 << 10;
/// Bytes a bulk transfer has in its pipe at most. Larger pipes measured no faster, and all pipes
/// of a user share 64 MiB (pipe(7)).
const PIPE: usize = 256 << 10;
/// A splice below this ends a bulk transfer.
const SMALL: usize = 8 << 10;
/// Bytes one connection may move before the others have their turn.
const TURN: usize = 1 << 20;
/// Idle pipes that are kept for the next bulk transfer.
const KEPT_PIPES: usize = 8;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    buffer: Box<[u8]>,
    pipes: Vec<Pipe>,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared { buffer: vec![0; BUFFER].into_boxed_slice(), pipes: Vec::new() }
    }

    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// `None` without a descriptor or memory to spare: copying goes on then.
    fn take_pipe(&mut self) -> Option<Pipe> {
        self.pipes.pop().or_else(|| Pipe::with_capacity(PIPE).ok())
    }

    fn keep_pipe(&mut self, pipe: Option<Pipe>) {
        let Some(pipe) = pipe else { return };
        if self.pipes.len() < KEPT_PIPES && pipe.held() == 0 {
            self.pipes.push(pipe);
        }
    }

    /// Gives idle pipes back to the kernel.
    pub(super) fn shrink(&mut self) {
        self.pipes = Vec::new();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a connection's turn led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing more until the next event.
    Waiting,
    /// Its turn is over, but there is more to move.
    More,
    /// Both directions have ended.
    Finished,
    /// One side broke; both were told with RST once this is dropped.
    Broken,
}

#[derive(Debug)]
struct End {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    /// The peer sends no more, or the socket broke: a short read is not the last one.
    ended: bool,
    broken: bool,
}

#[derive(Debug, Default)]
struct Flow {
    bulk: bool,
    pipe: Option<Pipe>,
    /// Copied bytes the target did not take yet, from `taken` on.
    rest: Vec<u8>,
    taken: usize,
    source_ended: bool,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    client: End,
    server: End,
    upwards: Flow,
    downwards: Flow,
}

impl End {
    fn new(socket: OwnedFd, writable: bool) -> End {
        End { socket, readable: false, writable, ended: false, broken: false }
    }

    fn note(&mut self, events: EpollFlags) {
        let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let ended = events.intersects(ends);
        self.broken |= events.contains(EpollFlags::EPOLLERR);
        self.readable |= ended || events.contains(EpollFlags::EPOLLIN);
        self.writable |= events.contains(EpollFlags::EPOLLOUT);
        self.ended |= ended;
    }
}

impl Connection {
    /// `server` may still be connecting: it is written to only after its first event.
    pub(super) fn new(client: OwnedFd, server: OwnedFd) -> Connection {
        Connection {
            client: End::new(client, true),
            server: End::new(server, false),
            upwards: Flow::default(),
            downwards: Flow::default(),
        }
    }

    pub(super) fn socket(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Client => self.client.socket.as_fd(),
            Side::Server => self.server.socket.as_fd(),
        }
    }

    /// Another attempt to reach the server; nothing was sent to the one before.
    pub(super) fn replace_server(&mut self, server: OwnedFd) {
        self.server = End::new(server, false);
    }

    /// Records what epoll reported of one side.
    pub(super) fn note(&mut self, side: Side, events: EpollFlags) {
        match side {
            Side::Client => self.client.note(events),
            Side::Server => self.server.note(events),
        }
    }

    /// Moves what can be moved in both directions.
    pub(super) fn advance(&mut self, shared: &mut Shared) -> Outcome {
        // A client that reset the connection wants nothing delivered. What a server said before
        // it broke is delivered: reading it ends in the error.
        if self.client.broken {
            self.break_off(shared);
            return Outcome::Broken;
        }
        let up = self.upwards.advance(&mut self.client, &mut self.server, shared);
        let down = up.and_then(|up| {
            let down = self.downwards.advance(&mut self.server, &mut self.client, shared)?;
            Ok(up || down)
        });
        match down {
            Ok(_) if self.upwards.closed && self.downwards.closed => Outcome::Finished,
            Ok(true) => Outcome::More,
            Ok(false) => Outcome::Waiting,
            Err(_) => {
                self.break_off(shared);
                Outcome::Broken
            }
        }
    }

    /// Makes the end of this connection an RST on both sides.
    pub(super) fn break_off(&mut self, shared: &mut Shared) {
        for flow in [&mut self.upwards, &mut self.downwards] {
            shared.keep_pipe(flow.pipe.take());
        }
        for end in [&self.client, &self.server] {
            // A socket that takes no options any more is closed already.
            let _ = socket::reset_on_close(&end.socket);
        }
    }
}

impl Flow {
    /// Moves up to a turn's worth of bytes. `true`: there is more to move.
    fn advance(&mut self, source: &mut End, target: &mut End, shared: &mut Shared) -> nix::Result<bool> {
        let mut left = TURN;
        while !self.closed {
            if !self.deliver(target)? {
                return Ok(false);
            }
            if self.source_ended {
                self.close(target, shared)?;
            } else if !source.readable || !(target.writable || source.broken) {
                shared.keep_pipe(self.pipe.take());
                return Ok(false);
            } else if left == 0 {
                return Ok(true);
            } else {
                let moved = match self.bulk.then(|| self.pipe.take().or_else(|| shared.take_pipe())).flatten()
                {
                    Some(pipe) => self.splice(pipe, source),
                    None => self.copy(source, target, shared),
                };
                match moved {
                    Ok(0) => self.source_ended = true,
                    Ok(moved) => left = left.saturating_sub(moved),
                    Err(Errno::EAGAIN) => source.readable = false,
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(false)
    }

    /// Hands on what is held. `true`: nothing is held any more.
    fn deliver(&mut self, target: &mut End) -> nix::Result<bool> {
        loop {
            let held = self.rest.len() - self.taken;
            let in_pipe = self.pipe.as_ref().map_or(0, Pipe::held);
            if held == 0 && in_pipe == 0 {
                return Ok(true);
            }
            if !target.writable {
                return Ok(false);
            }
            let sent = match &mut self.pipe {
                Some(pipe) if in_pipe > 0 => pipe.drain(target.socket.as_fd()),
                _ => socket::transmit(&target.socket, &self.rest[self.taken..])
                    .inspect(|sent| self.taken += sent),
            };
            match sent {
                Ok(_) if self.taken == self.rest.len() => {
                    self.rest = Vec::new();
                    self.taken = 0;
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => target.writable = false,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Reads once and passes on as much as the target takes; the rest is kept.
    fn copy(&mut self, source: &mut End, target: &mut End, shared: &mut Shared) -> nix::Result<usize> {
        let length = socket::receive(&source.socket, &mut shared.buffer)?;
        if length == shared.buffer.len() {
            self.bulk = true;
        } else if !source.ended {
            source.readable = false;
        }
        let mut sent = 0;
        while sent < length && target.writable {
            match socket::transmit(&target.socket, &shared.buffer[sent..length]) {
                Ok(more) => sent += more,
                Err(Errno::EAGAIN) => target.writable = false,
                Err(errno) => return Err(errno),
            }
        }
        self.rest.extend_from_slice(&shared.buffer[sent..length]);
        Ok(length)
    }

    /// Fills a pipe, which is empty here.
    fn splice(&mut self, pipe: Pipe, source: &End) -> nix::Result<usize> {
        let moved = self.pipe.insert(pipe).fill(source.socket.as_fd())?;
        self.bulk = moved >= SMALL;
        Ok(moved)
    }

    /// Passes the end of the source on.
    fn close(&mut self, target: &End, shared: &mut Shared) -> nix::Result<()> {
        self.closed = true;
        shared.keep_pipe(self.pipe.take());
        shutdown(target.socket.as_raw_fd(), Shutdown::Write)
    }
}
