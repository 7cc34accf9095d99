//! The forwarder's loop: accepts clients, connects them to the container, and lets every
//! connection and session move on as epoll reports.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};

use super::Token;
use super::datagram::{self, Sessions};
use super::relay::{Connection, Outcome, Shared, Side};
use super::target::Target;
use crate::network::ports::BoundPort;
use crate::spec::port::Protocol;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::socket;

/// Connections accepted from one port before the others have their turn.
const BATCH: usize = 64;
/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// How long accepting rests when this process or the host has no descriptor or memory left.
const REST: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    container_port: u16,
    protocol: Protocol,
}

/// A forwarded connection and what it takes to set it up.
#[derive(Debug)]
struct Tenant {
    /// Tells its events from those of earlier tenants of its slot.
    generation: u32,
    connection: Connection,
    client: SocketAddr,
    connecting: bool,
    /// Where to turn when the container's first address refuses.
    other: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct Server {
    epoll: Epoll,
    listeners: Vec<Listener>,
    slots: Vec<Option<Box<Tenant>>>,
    generation: u32,
    free: Vec<u32>,
    /// Connections whose turn ended with more to do.
    busy: Vec<u32>,
    sessions: Sessions,
    target: Target,
    shared: Shared,
    /// Connections this process has descriptors for.
    room: usize,
    /// Since when nobody is accepted, for lack of descriptors or memory.
    resting: Option<Instant>,
}

impl Server {
    pub(super) fn new(ports: Vec<BoundPort>, target: Target) -> sys::Result<Server> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .call("epoll_create1", || "EPOLL_CLOEXEC".to_owned())?;
        let mut listeners = Vec::new();
        for port in ports {
            let (container_port, protocol) = (port.published.container_port, port.published.protocol);
            let sockets = port.sockets.into_iter();
            listeners.extend(sockets.map(|socket| Listener { socket, container_port, protocol }));
        }
        let server = Server {
            epoll,
            listeners,
            slots: Vec::new(),
            generation: 0,
            free: Vec::new(),
            busy: Vec::new(),
            sessions: Sessions::default(),
            target,
            shared: Shared::new(),
            room: room()?,
            resting: None,
        };
        for (number, listener) in server.listeners.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Listener(number).encode());
            server.epoll.add(&listener.socket, event).call("epoll_ctl", || "EPOLL_CTL_ADD".to_owned())?;
        }
        Ok(server)
    }

    /// Waits for events once and handles them; at most `limit` long.
    pub(super) fn step(&mut self, limit: Option<Duration>) -> sys::Result<()> {
        let rest = self.resting.map(|_| REST);
        let waits = [limit, rest, self.sessions.patience()];
        let wait =
            if self.busy.is_empty() { waits.into_iter().flatten().min() } else { Some(Duration::ZERO) };
        let timeout =
            wait.map_or(EpollTimeout::NONE, |wait| EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX));
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result.call("epoll_wait", String::new)?,
        };
        let busy = std::mem::take(&mut self.busy);
        if self.resting.is_some_and(|since| since.elapsed() >= REST) {
            self.set_resting(false)?;
        }
        for event in &events[..count] {
            self.handle(Token::decode(event.data()), event.events())?;
        }
        for index in busy {
            self.advance(index);
        }
        self.sessions.sweep(&mut self.target);
        Ok(())
    }

    fn handle(&mut self, token: Token, events: EpollFlags) -> sys::Result<()> {
        match token {
            Token::Listener(number) => match self.listeners[number].protocol {
                Protocol::Tcp => self.accept(number)?,
                Protocol::Udp => self.receive(number),
            },
            Token::Session(number) => {
                let listener =
                    self.sessions.listener_of(number).and_then(|number| self.listeners.get(number));
                if let Some(listener) = listener {
                    self.sessions.downwards(number, listener.socket.as_fd(), self.shared.buffer());
                }
            }
            Token::End { slot, generation, side } => self.connection_event(slot, generation, side, events),
        }
        Ok(())
    }

    fn receive(&mut self, number: usize) {
        let listener = &self.listeners[number];
        let listener = datagram::Listener {
            number,
            socket: listener.socket.as_fd(),
            container_port: listener.container_port,
        };
        self.sessions.upwards(listener, self.shared.buffer(), &mut self.target, &self.epoll);
    }

    fn accept(&mut self, number: usize) -> sys::Result<()> {
        for _ in 0..BATCH {
            if self.slots.len() - self.free.len() >= self.room {
                return self.set_resting(true);
            }
            let listener = &self.listeners[number];
            match socket::accept(listener.socket.as_fd()) {
                Ok(Some((client, peer))) => {
                    let port = listener.container_port;
                    self.welcome(client, peer, port);
                }
                Ok(None) => break,
                // No descriptors or no memory: what waits keeps waiting in the kernel's queue.
                Err(_) => return self.set_resting(true),
            }
        }
        Ok(())
    }

    /// Stops watching the TCP ports for a while, or watches them again.
    fn set_resting(&mut self, resting: bool) -> sys::Result<()> {
        self.resting = resting.then(Instant::now);
        let flags = if resting { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        for (number, listener) in self.listeners.iter().enumerate() {
            if listener.protocol == Protocol::Tcp {
                let mut event = EpollEvent::new(flags, Token::Listener(number).encode());
                self.epoll
                    .modify(&listener.socket, &mut event)
                    .call("epoll_ctl", || "EPOLL_CTL_MOD".to_owned())?;
            }
        }
        Ok(())
    }

    /// Connects a new client to the container; a client that cannot be served gets an RST.
    fn welcome(&mut self, client: OwnedFd, peer: SocketAddr, port: u16) {
        let [first, second] = self.target.candidates(peer.ip());
        let places = [first, second].map(|ip| ip.map(|ip| SocketAddr::new(ip, port)));
        let opened = places.into_iter().flatten().find_map(|to| {
            let other = places[1].filter(|&other| other != to);
            self.target.connect(peer, to).ok().map(|server| (server, other))
        });
        let Some((server, other)) = opened else {
            self.target.refresh();
            // If even this fails the client sees a plain end.
            let _ = socket::reset_on_close(&client);
            return;
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("there are fewer descriptors than that")
        });
        let connection = Connection::new(client, server);
        self.generation = self.generation.wrapping_add(1) & Token::GENERATIONS;
        let generation = self.generation;
        let tenant = Tenant { generation, connection, client: peer, connecting: true, other };
        self.slots[index as usize] = Some(Box::new(tenant));
        if self.watch(index, Side::Client).and_then(|()| self.watch(index, Side::Server)).is_err() {
            self.end(index, true);
        }
    }

    fn watch(&self, index: u32, side: Side) -> sys::Result<()> {
        let Some(tenant) = &self.slots[index as usize] else { return Ok(()) };
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let token = Token::End { slot: index, generation: tenant.generation, side };
        self.epoll
            .add(tenant.connection.socket(side), EpollEvent::new(flags, token.encode()))
            .call("epoll_ctl", || "EPOLL_CTL_ADD".to_owned())
    }

    fn connection_event(&mut self, index: u32, generation: u32, side: Side, events: EpollFlags) {
        let Some(Some(tenant)) = self.slots.get_mut(index as usize) else { return };
        if tenant.generation != generation {
            return;
        }
        if side == Side::Server && tenant.connecting {
            let failed = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            if failed && socket::take_error(tenant.connection.socket(Side::Server)).is_some() {
                return self.try_other(index);
            }
            tenant.connecting = false;
        }
        tenant.connection.note(side, events);
        self.advance(index);
    }

    /// The container's first address refused: the other one, or the end.
    fn try_other(&mut self, index: u32) {
        let Some(tenant) = &mut self.slots[index as usize] else { return };
        let other = tenant.other.take();
        match other.map(|to| self.target.connect(tenant.client, to)) {
            Some(Ok(server)) => {
                tenant.connection.replace_server(server);
                if self.watch(index, Side::Server).is_err() {
                    self.end(index, true);
                }
            }
            Some(Err(_)) | None => {
                // The container may have other addresses by now.
                self.target.refresh();
                self.end(index, true);
            }
        }
    }

    fn advance(&mut self, index: u32) {
        let Some(Some(tenant)) = self.slots.get_mut(index as usize) else { return };
        match tenant.connection.advance(&mut self.shared) {
            Outcome::Waiting => {}
            Outcome::More => self.busy.push(index),
            Outcome::Finished | Outcome::Broken => self.end(index, false),
        }
    }

    fn end(&mut self, index: u32, broken: bool) {
        if let Some(mut tenant) = self.slots[index as usize].take() {
            if broken {
                tenant.connection.break_off(&mut self.shared);
            }
            self.free.push(index);
        }
        if self.free.len() == self.slots.len() {
            // Idle again: small again.
            (self.slots, self.free) = (Vec::new(), Vec::new());
            self.shared.shrink();
        }
    }
}

/// Two descriptors per connection, and a quarter of all for pipes, sessions and the rest. Whoever
/// comes when it is full waits in the kernel's queue instead of being turned away half-way.
fn room() -> sys::Result<usize> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).call("getrlimit", || "RLIMIT_NOFILE".to_owned())?;
    Ok(usize::try_from(limit / 8 * 3).unwrap_or(usize::MAX).max(1))
}
