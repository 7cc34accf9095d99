//! Forwarded UDP: a session per client address, ended by silence.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::Token;
use super::target::Target;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::socket::{self, Route};

/// A session ends after this much silence in both directions.
const IDLE: Duration = Duration::from_secs(90);
/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// Sessions of one forwarder; one more ends the one that was silent longest.
const MAX_SESSIONS: usize = 2048;
/// Datagrams taken from one socket before the others have their turn.
const TURN: usize = 64;

/// A published UDP port as a session sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener<'a> {
    pub(super) number: usize,
    pub(super) socket: BorrowedFd<'a>,
    pub(super) container_port: u16,
}

#[derive(Debug)]
struct Session {
    socket: OwnedFd,
    listener: usize,
    route: Route,
    /// Where the socket sends to.
    to: SocketAddr,
    /// The container's other address, for a server that does not listen on that one.
    other: Option<SocketAddr>,
    /// The source whose answers are caught for this session.
    caught: Option<IpAddr>,
    last: Instant,
}

/// All sessions of a forwarder. Their sockets are watched level-triggered.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_number: HashMap<u64, Session>,
    by_client: HashMap<(usize, Route), u64>,
    last_number: u64,
    swept: Option<Instant>,
}

impl Sessions {
    /// How long the forwarder may sleep before [`Sessions::sweep`].
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.by_number.is_empty()).then_some(SWEEP)
    }

    /// The published port a session belongs to.
    pub(super) fn listener_of(&self, number: u64) -> Option<usize> {
        self.by_number.get(&number).map(|session| session.listener)
    }

    /// Takes waiting datagrams of a published port to the container.
    pub(super) fn upwards(
        &mut self,
        listener: Listener<'_>,
        buffer: &mut [u8],
        target: &mut Target,
        epoll: &Epoll,
    ) {
        for _ in 0..TURN {
            let (length, route) = match socket::receive_from(listener.socket, buffer) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return,
                // The network's answer to an earlier datagram of ours; its client will notice.
                Err(_) => continue,
            };
            let known = self.by_client.get(&(listener.number, route)).copied();
            // A datagram that finds no way is lost, as datagrams are.
            let Some(number) = known.or_else(|| self.open(listener, route, target, epoll).ok().flatten())
            else {
                continue;
            };
            self.pass_on(number, &buffer[..length], target, epoll);
        }
    }

    fn open(
        &mut self,
        listener: Listener<'_>,
        route: Route,
        target: &mut Target,
        epoll: &Epoll,
    ) -> sys::Result<Option<u64>> {
        let [first, second] = target.candidates(route.peer.ip());
        let Some(first) = first else { return Ok(None) };
        let port = listener.container_port;
        self.make_room(target);
        let to = SocketAddr::new(first, port);
        let associated = target.associate(route.peer, to);
        let (socket, caught) = associated.inspect_err(|_| target.refresh())?;
        self.last_number += 1;
        let number = self.last_number;
        watch(epoll, &socket, number)?;
        let other = second.map(|ip| SocketAddr::new(ip, port));
        let last = Instant::now();
        let session = Session { socket, listener: listener.number, route, to, other, caught, last };
        self.by_client.insert((session.listener, route), number);
        self.by_number.insert(number, session);
        Ok(Some(number))
    }

    /// Sends a client's datagram on. A refusal by one of the container's addresses leads to the
    /// other one; and back, for the server may not have been there yet.
    fn pass_on(&mut self, number: u64, bytes: &[u8], target: &mut Target, epoll: &Epoll) {
        let Some(session) = self.by_number.get_mut(&number) else { return };
        session.last = Instant::now();
        // An earlier datagram's refusal is reported now, and this one not sent.
        if socket::transmit(&session.socket, bytes) == Err(Errno::ECONNREFUSED) {
            // Lost like any datagram when it fails again.
            let _ = socket::transmit(&session.socket, bytes);
        }
        let Some(other) = session.other else { return };
        if socket::take_error(&session.socket).is_none() {
            return;
        }
        let Ok((socket, caught)) = target.associate(session.route.peer, other) else { return };
        if watch(epoll, &socket, number).is_err() {
            return target.release(caught);
        }
        target.release(std::mem::replace(&mut session.caught, caught));
        session.socket = socket;
        session.other = Some(std::mem::replace(&mut session.to, other));
        // Lost like any datagram when it fails.
        let _ = socket::transmit(&session.socket, bytes);
    }

    /// Takes the container's waiting answers of one session to its client.
    pub(super) fn downwards(&mut self, number: u64, listener: BorrowedFd<'_>, buffer: &mut [u8]) {
        let Some(session) = self.by_number.get_mut(&number) else { return };
        for _ in 0..TURN {
            match socket::receive(&session.socket, buffer) {
                Ok(length) => {
                    session.last = Instant::now();
                    // Lost like any datagram when the host's queue is full.
                    let _ = socket::send_back(listener, &buffer[..length], &session.route);
                }
                Err(Errno::EAGAIN) => return,
                // A refusal: the server is not there, or not yet. The client will try again.
                Err(_) => {}
            }
        }
    }

    /// Ends the sessions that were silent too long; does so at most every ten seconds.
    pub(super) fn sweep(&mut self, target: &mut Target) {
        let now = Instant::now();
        let swept = *self.swept.get_or_insert(now);
        if now.duration_since(swept) < SWEEP {
            return;
        }
        self.swept = Some(now);
        let silent: Vec<u64> = self
            .by_number
            .iter()
            .filter(|(_, session)| now.duration_since(session.last) >= IDLE)
            .map(|(number, _)| *number)
            .collect();
        for number in silent {
            self.end(number, target);
        }
    }

    fn make_room(&mut self, target: &mut Target) {
        if self.by_number.len() < MAX_SESSIONS {
            return;
        }
        let oldest = self.by_number.iter().min_by_key(|(_, session)| session.last);
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.end(number, target);
        }
    }

    fn end(&mut self, number: u64, target: &mut Target) {
        let Some(session) = self.by_number.remove(&number) else { return };
        self.by_client.remove(&(session.listener, session.route));
        target.release(session.caught);
    }
}

fn watch(epoll: &Epoll, socket: &OwnedFd, number: u64) -> sys::Result<()> {
    let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Session(number).encode());
    epoll.add(socket.as_fd(), event).call("epoll_ctl", || "EPOLL_CTL_ADD, session".to_owned())
}
