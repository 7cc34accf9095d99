//! Between a process's streams and the clients that watch it: one poll loop, one thread.
//!
//! Used by the monitor (with the log and the control socket) and by exec sessions (without).
//! A client that does not read is nobody's problem but the disk's (see [`super::backlog`]); in an exec
//! session, whose only client it is, it holds the output back. One that is gone is forgotten.

mod bytes;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::client::{self, Client};
use super::diary::Diary;
use super::health::Health;
use super::log::{Log, Stream};
use super::pause::{self, Pause};
use super::protocol::{Event, Request};
use super::streams::{PIPE, Streams};
use crate::sys;
use crate::sys::memory::release_code;
use crate::sys::process::{Ended, Fork, Pid, SingleThreaded, exit_now, fork, pidfd_signal, reap};
use crate::sys::pty::{self, Size};
use crate::sys::signal::{self, Signals};

/// Bytes of standard input that wait for the process.
const STDIN_QUEUE: usize = 1 << 20;
/// One read, in bytes.
const CHUNK: usize = 256 * 1024;
/// How long this process itself sees to it that clients get what they have not taken.
const FAREWELL: Duration = Duration::from_millis(200);
/// After how long without any event buffers and the code of the start are given back.
const REST: Duration = Duration::from_secs(1);
/// How long the output must be silent before its end is believed, when the process has ended and
/// something else still holds its streams.
const DRAIN: Duration = Duration::from_millis(200);
/// Of an exec session: what is read after the end at most, in bytes. More than its pipe can hold.
const DRAIN_MOST: usize = 2 << 20;

/// The loop's state.
#[derive(Debug)]
pub struct Relay {
    pub streams: Streams,
    clients: Vec<Client>,
    listener: Option<UnixListener>,
    log: Option<Log>,
    signals: Signals,
    stdin: VecDeque<u8>,
    stdin_closed: bool,
    open_stdin: bool,
    stdin_once: bool,
    spill: Option<PathBuf>,
    pid: Pid,
    pidfd: OwnedFd,
    ended: Option<Ended>,
    /// Since when there was no output.
    silent: Instant,
    /// Bytes read since the process ended.
    late: usize,
    /// The room for one read; empty while nothing comes.
    buffer: Vec<u8>,
    /// The pipes were made wide.
    wide: bool,
    kill_at: Option<Instant>,
    /// Signal that a SIGTERM to us stands for.
    stop_signal: i32,
    diary: Option<Diary>,
    health: Option<Health>,
    pause: Option<Pause>,
    /// Somebody asked for the end, and gave the process time for it.
    stopped: bool,
    /// Nothing shall start it again.
    is_final: bool,
    /// Signals that do not mean an end: all but this one, if the container names its own.
    own_stop_signal: Option<i32>,
    /// Nothing has happened for a while.
    rested: bool,
}

/// What a relay is made of.
#[derive(Debug)]
pub struct Parts {
    pub streams: Streams,
    pub listener: Option<UnixListener>,
    pub log: Option<Log>,
    pub signals: Signals,
    /// The process has standard input.
    pub open_stdin: bool,
    /// It ends with the client that gave it (docker's StdinOnce); never so for a terminal.
    pub stdin_once: bool,
    /// The directory for what clients do not take; without one they hold the output back.
    pub spill: Option<PathBuf>,
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub stop_signal: i32,
    /// The same, if the user or the image chose it: `kill` with another one does not mean the end.
    pub own_stop_signal: Option<i32>,
    /// Where signals that were asked for are written down.
    pub diary: Option<Diary>,
    /// The checks of this run; they need a diary.
    pub health: Option<Health>,
    /// Of a container that can be paused.
    pub pause: Option<Pause>,
}

impl Relay {
    pub fn new(parts: Parts) -> Relay {
        let Parts { streams, listener, log, signals, open_stdin, stdin_once, spill, pid, pidfd, .. } = parts;
        streams.unblock();
        let stdin_once = stdin_once && matches!(streams, Streams::Pipes { .. });
        Relay {
            streams,
            clients: Vec::new(),
            listener,
            log,
            signals,
            stdin: VecDeque::new(),
            stdin_closed: !open_stdin,
            open_stdin,
            stdin_once,
            spill,
            pid,
            pidfd,
            ended: None,
            silent: Instant::now(),
            late: 0,
            buffer: Vec::new(),
            wide: false,
            kill_at: None,
            stop_signal: parts.stop_signal,
            diary: parts.diary,
            health: parts.health,
            pause: parts.pause,
            stopped: false,
            is_final: false,
            own_stop_signal: parts.own_stop_signal,
            rested: false,
        }
    }

    /// Adds the client that started the process, before anything else happens.
    pub fn add_client(&mut self, stream: UnixStream, attached: bool) {
        self.clients.extend(Client::new(stream, attached));
    }

    /// Adds those who came before the process ran.
    pub fn take_over(&mut self, clients: Vec<Client>) {
        self.clients.extend(clients);
    }

    pub fn tell_all(&mut self, event: &Event) {
        self.clients.iter_mut().for_each(|client| client.tell(event, self.spill.as_deref()));
    }

    /// Runs until the process has ended and its output is through.
    pub fn run(&mut self) -> sys::Result<Ended> {
        loop {
            self.step()?;
            if let Some(ended) = self.ended
                && self.is_through()
            {
                if let Some(log) = &mut self.log {
                    log.finish();
                }
                return Ok(ended);
            }
        }
    }

    /// Whether all output of the ended process was read.
    fn is_through(&self) -> bool {
        if self.streams.are_over() {
            return true;
        }
        // Whoever else holds the streams could go on for ever.
        let endless = self.spill.is_none() && self.late > DRAIN_MOST;
        !self.held_back() && (endless || self.silent.elapsed() > DRAIN)
    }

    /// Says the last word and sees to it that everybody gets it, with all that came before.
    ///
    /// Clients that are far behind are left to a process of their own, so that the container can be
    /// started or removed meanwhile.
    pub fn farewell(&mut self, event: &Event) {
        self.tell_all(event);
        let until = Instant::now() + FAREWELL;
        client::serve(&mut self.clients, || self.spill.is_some() && Instant::now() > until);
        if self.clients.is_empty() {
            return;
        }
        let clients = std::mem::take(&mut self.clients);
        match SingleThreaded::prove().and_then(fork) {
            Ok(Fork::Parent(_)) => {
                // Only a descriptor less: the connection lives on in the child.
                drop(clients);
            }
            Ok(Fork::Child) => {
                signal::reset_handlers();
                let _ = signal::unblock_all();
                let _ = client::serve_alone(clients);
                exit_now(0)
            }
            Err(_) => client::serve(&mut { clients }, || false),
        }
    }

    fn held_back(&self) -> bool {
        self.clients.iter().any(Client::holds_back)
    }

    fn step(&mut self) -> sys::Result<()> {
        let now = Instant::now();
        self.clients.iter_mut().for_each(|client| client.judge(now, self.spill.is_some()));
        if self.held_back() {
            // Nobody listens: that is no silence.
            self.silent = now;
        }
        let ready = self.wait()?;
        // Nothing came for the time of REST: the next wait gives back what it does not need.
        self.rested = ready.is_empty() && self.ended.is_none() && !self.held_back();
        if self.rested {
            self.rest();
        }
        for token in ready {
            match token {
                Token::Signals => self.signals(),
                Token::Listener => self.accept(),
                Token::Output(stream) => self.output(stream),
                Token::Stdin => self.feed(),
                Token::Client(index) => self.client(index),
                Token::Health => {}
            }
        }
        self.check_health();
        self.clients.retain(|client| !client.gone);
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill_at = None;
            let _ = self.signal(libc::SIGKILL);
        }
        Ok(())
    }

    /// Gives back buffers and the room in the pipes.
    fn rest(&mut self) {
        self.buffer = Vec::new();
        self.stdin.shrink_to_fit();
        self.clients.iter_mut().for_each(Client::rest);
        if let Some(log) = &mut self.log {
            log.rest();
        }
        if std::mem::take(&mut self.wide) {
            self.streams.resize(PIPE);
        }
    }

    /// Polls what can make progress and returns what is ready.
    fn wait(&self) -> sys::Result<Vec<Token>> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut tokens = vec![Token::Signals];
        let mut add = |token, fd, flags| {
            fds.push(PollFd::new(fd, flags));
            tokens.push(token);
        };
        if let Some(listener) = &self.listener {
            add(Token::Listener, listener.as_fd(), PollFlags::POLLIN);
        }
        if !self.held_back() {
            for (stream, fd) in self.streams.outputs() {
                add(Token::Output(stream), fd, PollFlags::POLLIN);
            }
        }
        if !self.stdin.is_empty()
            && let Some(fd) = self.streams.input()
        {
            add(Token::Stdin, fd, PollFlags::POLLOUT);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            // Whoever gives no input must be heard: `stop` for one.
            flags.set(PollFlags::POLLIN, !client.input || self.stdin.len() < STDIN_QUEUE);
            flags.set(PollFlags::POLLOUT, client.is_behind());
            add(Token::Client(index), client.stream.as_fd(), flags);
        }
        if let Some(fd) = self.health.as_ref().and_then(Health::fd) {
            add(Token::Health, fd, PollFlags::POLLIN);
        }
        let timeout = self.timeout();
        if self.rested {
            release_code();
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(sys::Error::new("poll", "", errno)),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(fds.iter().zip(tokens).filter(|(fd, _)| ready(fd)).map(|(_, token)| token).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let drain = self.ended.map(|_| self.silent + DRAIN);
        let held =
            if self.spill.is_some() { self.clients.iter().filter_map(Client::until).min() } else { None };
        let health = self.health.as_ref().and_then(Health::until);
        let next = drain.into_iter().chain(self.kill_at).chain(held).chain(health).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let rest = (!self.rested).then_some(REST);
        let Some(left) = left.into_iter().chain(rest).min() else { return PollTimeout::NONE };
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Probes that are due, and what is heard from them; none when the container has ended.
    fn check_health(&mut self) {
        if self.ended.is_some() {
            self.health = None;
        }
        if let (Some(health), Some(diary)) = (&mut self.health, &self.diary) {
            health.step(self.pid, self.pidfd.as_fd(), diary);
        }
    }

    /// To be called when the container may have been paused, or may go on.
    fn look_at_pause(&mut self) {
        if let (Some(health), Some(pause)) = (&mut self.health, &self.pause) {
            health.set_paused(pause.is_paused());
        }
    }

    fn signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => {
                    while let Some((pid, ended)) = reap() {
                        if pid == self.pid {
                            self.ended = Some(ended);
                            self.silent = Instant::now();
                        }
                    }
                }
                // The session ends or the host goes down: the container gets its chance first.
                libc::SIGTERM => self.stop(self.stop_signal, 10),
                _ => {}
            }
        }
    }

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            self.add_client(stream, false);
        }
    }

    fn client(&mut self, index: usize) {
        self.make_room();
        let client = &mut self.clients[index];
        client.flush();
        match client.stream.read(&mut self.buffer) {
            Ok(0) => client.gone = true,
            Ok(n) => client.decoder.push(&self.buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => client.gone = true,
        }
        loop {
            match self.clients[index].decoder.next::<Request>() {
                Ok(Some(request)) => self.request(index, request),
                Ok(None) => break,
                Err(_) => {
                    self.clients[index].gone = true;
                    break;
                }
            }
        }
        let client = &self.clients[index];
        if client.gone && client.input {
            self.input_ended();
        }
    }

    fn request(&mut self, index: usize, request: Request) {
        match request {
            Request::Stdin(bytes) if self.open_stdin && !self.stdin_closed => {
                self.stdin.extend(bytes);
                self.feed();
            }
            Request::Stdin(_) => {}
            Request::StdinClosed => self.input_ended(),
            Request::Resize { rows, columns } => {
                if let Streams::Terminal { master: Some(master) } = &self.streams {
                    // Only a terminal that just closed can refuse.
                    let _ = pty::set_size(master, Size { rows, columns });
                }
            }
            Request::Kill { signal } => {
                self.is_final |= self.own_stop_signal.is_none_or(|own| own == signal);
                let answer = match self.signal(signal) {
                    Ok(()) => Event::Done,
                    Err(error) => Event::Refused(error.to_string()),
                };
                if !self.clients[index].attached {
                    self.clients[index].tell(&answer, None);
                }
            }
            Request::Pause | Request::Unpause => {
                let answer = pause::answer(self.pause.as_mut().filter(|_| self.ended.is_none()), &request);
                self.look_at_pause();
                self.clients[index].tell(&answer, None);
            }
            Request::Stop { signal, timeout } => self.stop(signal, timeout),
            Request::Wait => {}
            Request::Attach { input } => {
                let client = &mut self.clients[index];
                client.input = input && self.open_stdin;
                // The one that started the process is told of its start anyway.
                if !std::mem::replace(&mut client.attached, true) {
                    client.tell(&Event::Started, None);
                }
            }
        }
    }

    /// The end was asked for: no restart policy shall undo it (docker's ExitOnNext).
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// From now on nobody is let in.
    pub fn close(&mut self) {
        self.listener = None;
    }

    /// What outlives the process.
    pub fn dissolve(self) -> (Signals, Option<UnixListener>) {
        (self.signals, self.listener)
    }

    /// Whether `stop` ended the process, or tried to.
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// Sends the process a signal, and continues it for that if it is paused and docker would.
    fn signal(&mut self, signal: i32) -> sys::Result<()> {
        if let Some(diary) = &self.diary {
            diary.note("kill", &[("signal", signal.to_string())]);
        }
        let sent = pidfd_signal(&self.pidfd, signal);
        pause::resume_for(self.pause.as_mut(), signal);
        self.look_at_pause();
        sent
    }

    fn stop(&mut self, signal: i32, timeout: i64) {
        self.is_final = true;
        // SIGKILL at once is what `kill` and `rm -f` ask for.
        self.stopped |= signal != libc::SIGKILL || timeout != 0;
        let _ = self.signal(signal);
        if signal != libc::SIGKILL
            && let Ok(seconds) = u64::try_from(timeout)
        {
            let at = Instant::now() + Duration::from_secs(seconds);
            self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// The log's first failure, for the state file.
    pub fn log_failure(&self) -> Option<String> {
        let log = self.log.as_ref()?;
        log.broken.as_ref().map(|error| format!("the log could not be written: {error}"))
    }
}

#[derive(Debug, Clone, Copy)]
enum Token {
    Signals,
    Listener,
    Output(Stream),
    Stdin,
    Client(usize),
    Health,
}
