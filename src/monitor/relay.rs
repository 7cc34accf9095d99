//! Between a process's streams and the clients that watch it: one poll loop, one thread.
//!
//! Used by the monitor (with the log and the control socket) and by exec sessions (without).
//! A client that does not read holds the output back once its queue is full; one that is gone is
//! forgotten.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::log::{Log, Stream};
use super::protocol::{Decoder, Event, Frame, Request};
use crate::sys;
use crate::sys::memory::release_code;
use crate::sys::process::{Ended, Pid, pidfd_signal, reap};
use crate::sys::pty::{self, Size};
use crate::sys::signal::Signals;

/// The container's ends of its streams, seen from here.
#[derive(Debug)]
pub enum Streams {
    Pipes { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    Terminal { master: Option<OwnedFd> },
}

/// Bytes a client may owe us before output waits for it.
const CLIENT_QUEUE: usize = 1 << 20;
/// Bytes of standard input that wait for the process.
const STDIN_QUEUE: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;
/// How long the last events may take to reach the clients.
const FAREWELL: Duration = Duration::from_secs(5);
/// After how long without any event the code of the start is given back.
const REST: Duration = Duration::from_secs(1);
/// How long output may outlive the process that was waited for.
const DRAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    decoder: Decoder,
    queue: VecDeque<u8>,
    /// Gets the output, and is the one whose input is passed on.
    attached: bool,
    gone: bool,
}

impl Client {
    fn tell(&mut self, event: &Event) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.queue.extend(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.queue.is_empty() && !self.gone {
            match self.stream.write(self.queue.as_slices().0) {
                Ok(0) => self.gone = true,
                Ok(n) => drop(self.queue.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }
}

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
    /// Whether a client's end of input closes the process's, and whether it has any.
    open_stdin: bool,
    pid: Pid,
    pidfd: OwnedFd,
    ended: Option<(Ended, Instant)>,
    kill_at: Option<Instant>,
    /// Signal that a SIGTERM to us stands for.
    stop_signal: i32,
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
    pub open_stdin: bool,
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub stop_signal: i32,
}

impl Relay {
    pub fn new(parts: Parts) -> Relay {
        let Parts { streams, listener, log, signals, open_stdin, pid, pidfd, stop_signal } = parts;
        Relay {
            streams,
            clients: Vec::new(),
            listener,
            log,
            signals,
            stdin: VecDeque::new(),
            stdin_closed: !open_stdin,
            open_stdin,
            pid,
            pidfd,
            ended: None,
            kill_at: None,
            stop_signal,
            rested: false,
        }
    }

    /// Adds the client that started the process, before anything else happens.
    pub fn add_client(&mut self, stream: UnixStream, attached: bool) {
        if stream.set_nonblocking(true).is_ok() {
            let decoder = Decoder::default();
            self.clients.push(Client { stream, decoder, queue: VecDeque::new(), attached, gone: false });
        }
    }

    pub fn tell_all(&mut self, event: &Event) {
        self.clients.iter_mut().for_each(|client| client.tell(event));
    }

    /// Runs until the process has ended and its output is through.
    pub fn run(&mut self) -> sys::Result<Ended> {
        loop {
            self.step()?;
            if let Some((ended, at)) = self.ended
                && (self.drained() || at.elapsed() > DRAIN)
            {
                if let Some(log) = &mut self.log {
                    log.finish();
                }
                return Ok(ended);
            }
        }
    }

    /// Says the last word and waits, within bounds, until everybody has it.
    pub fn farewell(&mut self, event: &Event) {
        self.listener = None;
        self.tell_all(event);
        let until = Instant::now() + FAREWELL;
        while self.clients.iter().any(|c| !c.gone && !c.queue.is_empty()) && Instant::now() < until {
            let mut fds: Vec<PollFd<'_>> = self
                .clients
                .iter()
                .filter(|c| !c.gone && !c.queue.is_empty())
                .map(|c| PollFd::new(c.stream.as_fd(), PollFlags::POLLOUT))
                .collect();
            let _ = poll(&mut fds, 100u16);
            self.clients.iter_mut().for_each(Client::flush);
        }
        self.clients.clear();
    }

    fn drained(&self) -> bool {
        match &self.streams {
            Streams::Pipes { stdout, stderr, .. } => stdout.is_none() && stderr.is_none(),
            Streams::Terminal { master } => master.is_none(),
        }
    }

    fn step(&mut self) -> sys::Result<()> {
        let ready = self.wait()?;
        // Nothing came for the time of REST: the next wait gives back what it does not need.
        self.rested = ready.is_empty();
        for token in ready {
            match token {
                Token::Signals => self.signals(),
                Token::Listener => self.accept(),
                Token::Output(stream) => self.output(stream),
                Token::Stdin => self.feed(),
                Token::Client(index) => self.client(index),
            }
        }
        self.clients.retain(|client| !client.gone);
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill_at = None;
            let _ = pidfd_signal(&self.pidfd, libc::SIGKILL);
        }
        Ok(())
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
        let held_back = self.clients.iter().any(|c| c.attached && c.queue.len() > CLIENT_QUEUE);
        if !held_back {
            for (stream, fd) in self.outputs() {
                add(Token::Output(stream), fd, PollFlags::POLLIN);
            }
        }
        if !self.stdin.is_empty()
            && let Some(fd) = self.input()
        {
            add(Token::Stdin, fd, PollFlags::POLLOUT);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, self.stdin.len() < STDIN_QUEUE);
            flags.set(PollFlags::POLLOUT, !client.queue.is_empty());
            add(Token::Client(index), client.stream.as_fd(), flags);
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
        let drain = self.ended.map(|(_, at)| at + DRAIN);
        let next = drain.into_iter().chain(self.kill_at).min();
        let left = next.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let rest = (!self.rested).then_some(REST);
        let Some(left) = left.into_iter().chain(rest).min() else { return PollTimeout::NONE };
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn outputs(&self) -> Vec<(Stream, BorrowedFd<'_>)> {
        match &self.streams {
            Streams::Pipes { stdout, stderr, .. } => [(Stream::Stdout, stdout), (Stream::Stderr, stderr)]
                .into_iter()
                .filter_map(|(stream, fd)| fd.as_ref().map(|fd| (stream, fd.as_fd())))
                .collect(),
            Streams::Terminal { master } => master.iter().map(|fd| (Stream::Stdout, fd.as_fd())).collect(),
        }
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        match &self.streams {
            Streams::Pipes { stdin, .. } => stdin.as_ref().map(|fd| fd.as_fd()),
            Streams::Terminal { master } => master.as_ref().map(|fd| fd.as_fd()),
        }
    }

    fn signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => {
                    while let Some((pid, ended)) = reap() {
                        if pid == self.pid {
                            self.ended = Some((ended, Instant::now()));
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

    fn output(&mut self, stream: Stream) {
        let fd = match (&mut self.streams, stream) {
            (Streams::Pipes { stdout, .. }, Stream::Stdout) => stdout,
            (Streams::Pipes { stderr, .. }, Stream::Stderr) => stderr,
            (Streams::Terminal { master }, _) => master,
        };
        let Some(open) = fd else { return };
        let mut buffer = [0; CHUNK];
        match nix::unistd::read(open.as_fd(), &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A terminal whose other side is closed reads as EIO.
            Ok(0) | Err(_) => *fd = None,
            Ok(n) => {
                let bytes = &buffer[..n];
                if let Some(log) = &mut self.log {
                    log.take(stream, bytes);
                }
                let event = match stream {
                    Stream::Stdout => Event::Stdout(bytes.to_vec()),
                    Stream::Stderr => Event::Stderr(bytes.to_vec()),
                };
                self.clients.iter_mut().filter(|c| c.attached).for_each(|c| c.tell(&event));
            }
        }
    }

    /// Gives the process what waits for it, and the end of its input once all is through.
    fn feed(&mut self) {
        while !self.stdin.is_empty() {
            let Some(fd) = self.input() else { break };
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

    fn client(&mut self, index: usize) {
        let mut buffer = [0; CHUNK];
        let client = &mut self.clients[index];
        client.flush();
        match client.stream.read(&mut buffer) {
            Ok(0) => client.gone = true,
            Ok(n) => client.decoder.push(&buffer[..n]),
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
        if client.gone && client.attached && self.open_stdin {
            // docker's StdinOnce: the input of a foreground container ends with its client.
            self.stdin_closed = true;
            self.feed();
        }
    }

    fn request(&mut self, index: usize, request: Request) {
        match request {
            Request::Stdin(bytes) if self.open_stdin && !self.stdin_closed => {
                self.stdin.extend(bytes);
                self.feed();
            }
            Request::Stdin(_) => {}
            Request::StdinClosed => {
                self.stdin_closed = true;
                self.feed();
            }
            Request::Resize { rows, columns } => {
                if let Streams::Terminal { master: Some(master) } = &self.streams {
                    // Only a terminal that just closed can refuse.
                    let _ = pty::set_size(master, Size { rows, columns });
                }
            }
            Request::Kill { signal } => {
                let answer = match pidfd_signal(&self.pidfd, signal) {
                    Ok(()) => Event::Done,
                    Err(error) => Event::Refused(error.to_string()),
                };
                if !self.clients[index].attached {
                    self.clients[index].tell(&answer);
                }
            }
            Request::Stop { signal, timeout } => self.stop(signal, timeout),
            Request::Wait => {}
        }
    }

    fn stop(&mut self, signal: i32, timeout: i64) {
        let _ = pidfd_signal(&self.pidfd, signal);
        if let Ok(seconds) = u64::try_from(timeout) {
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
}
