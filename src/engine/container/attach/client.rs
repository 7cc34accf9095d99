//! The poll loop of an attached client: the monitor's socket, standard input, signals, and the
//! output that waits. Runs in the command that the user typed.
//!
//! No step blocks on one of them while another has something to say: a full pipe behind standard
//! output must not keep a signal from the process, nor a process that does not read its input
//! its output from the user.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::read;

use super::detach::Watch;
use super::outgoing::Outgoing;
use super::output::{Output, Stream};
use super::{Error, Outcome, Streams};
use crate::monitor::protocol::{Decoder, Event, Request};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::pty::{self, RawMode};
use crate::sys::signal::{self, Signals};

/// One read, in bytes.
const CHUNK: usize = 256 << 10;
/// With more than this many unsent bytes, standard input is not read.
const UNSENT_MAX: usize = 1 << 20;
/// How long what was typed before the keys that detach may take to be sent.
const PARTING: Duration = Duration::from_secs(1);
/// With more than this many unwritten bytes, the monitor is not read.
const UNWRITTEN_MAX: usize = 1 << 20;

/// The caller's own streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<'a> {
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// The thread's signal mask; the drop puts it back.
struct Mask(SigSet);

impl Mask {
    fn save() -> sys::Result<Mask> {
        SigSet::thread_get_mask().call("sigprocmask", String::new).map(Mask)
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // Fails only for a bad argument, and this mask came from the kernel.
        let _ = self.0.thread_set_mask();
    }
}

/// What a client that passes no signals on still handles: its terminal must be put back.
fn own_signals() -> SigSet {
    [Signal::SIGWINCH, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect()
}

pub(super) fn attach(
    socket: UnixStream,
    streams: &Streams,
    ends: Ends<'_>,
    started: &mut dyn FnMut(),
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome, Error> {
    socket.set_nonblocking(true).call("ioctl", || "FIONBIO".into()).map_err(Error::Connection)?;
    // The mask is put back last: a signal that comes late must find the terminal restored.
    let _mask = Mask::save().map_err(Error::Signals)?;
    let signals = if streams.sig_proxy { signal::forwardable() } else { own_signals() };
    let signals = Signals::block(&signals).map_err(Error::Signals)?;
    let client = Client {
        socket,
        signals,
        streams: streams.clone(),
        ends,
        started,
        warn,
        running: false,
        stdin_open: streams.stdin,
        held: Vec::new(),
        raw: None,
        watch: None,
        leaving: None,
        outgoing: Outgoing::default(),
        output: Output::new(ends.stdout, ends.stderr),
        decoder: Decoder::default(),
        buffer: vec![0; CHUNK],
        end: None,
    };
    client.drive()
}

struct Client<'a> {
    socket: UnixStream,
    signals: Signals,
    streams: Streams,
    ends: Ends<'a>,
    started: &'a mut dyn FnMut(),
    warn: &'a mut dyn FnMut(&str),
    running: bool,
    stdin_open: bool,
    /// Signals that came before the process ran.
    held: Vec<i32>,
    raw: Option<RawMode>,
    /// Looks for the keys that detach.
    watch: Option<Watch>,
    /// They came: what was typed before them is sent until then at most.
    leaving: Option<Instant>,
    outgoing: Outgoing,
    output: Output<'a>,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Set by the monitor's last event; the loop then only writes what is left.
    end: Option<Outcome>,
}

/// What a poll found.
#[derive(Debug, Default)]
struct Ready {
    signals: bool,
    receive: bool,
    send: bool,
    stdin: bool,
    output: bool,
}

impl Client<'_> {
    fn drive(mut self) -> Result<Outcome, Error> {
        self.outgoing.push(&Request::Attach { input: self.streams.stdin });
        if self.streams.redraw {
            // The same size again would be no news to the process.
            self.send_size(1);
        }
        self.send_size(0);
        loop {
            if self.output.len() == 0
                && let Some(outcome) = self.end.take()
            {
                return Ok(outcome);
            }
            if self.end.is_none()
                && self.leaving.is_some_and(|until| self.outgoing.len() == 0 || Instant::now() > until)
            {
                self.end = Some(Outcome::Detached);
                continue;
            }
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals();
            }
            if ready.output
                && let Err(broken) = self.output.write_some()
            {
                (self.warn)(&broken.to_string());
            }
            if ready.send {
                self.outgoing.send(&self.socket).map_err(Error::Send)?;
            }
            if ready.receive {
                self.receive()?;
            }
            if ready.stdin {
                self.read_stdin();
            }
        }
    }

    /// Waits for whatever can make progress. A descriptor of which nothing is wanted is left out:
    /// poll reports a hang-up even unasked, and would never wait again.
    fn wait(&self) -> Result<Ready, Error> {
        let live = self.end.is_none();
        let receive = live && self.output.len() <= UNWRITTEN_MAX;
        let send = live && self.outgoing.len() > 0;
        let stdin = live && self.wants_stdin();
        let output = self.output.next_fd();
        let mut socket_events = PollFlags::empty();
        socket_events.set(PollFlags::POLLIN, receive);
        socket_events.set(PollFlags::POLLOUT, send);

        let mut polled = Vec::with_capacity(4);
        let mut watch = |wanted: bool, fd, events| {
            wanted.then(|| {
                polled.push(PollFd::new(fd, events));
                polled.len() - 1
            })
        };
        let signals_at = watch(true, self.signals.as_fd(), PollFlags::POLLIN);
        let socket_at = watch(receive || send, self.socket.as_fd(), socket_events);
        let stdin_at = watch(stdin, self.ends.stdin, PollFlags::POLLIN);
        let output_at = watch(output.is_some(), output.unwrap_or(self.ends.stdout), PollFlags::POLLOUT);
        let timeout = if self.leaving.is_some() { PollTimeout::from(100u8) } else { PollTimeout::NONE };
        match poll(&mut polled, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(errno) => return Err(Error::Poll(sys::Error::new("poll", "", errno))),
        }
        let found =
            |at: Option<usize>| at.and_then(|at| polled[at].revents()).unwrap_or_else(PollFlags::empty);
        // An error or a hang-up shows its reason at the next read or write.
        let over = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let socket = found(socket_at);
        Ok(Ready {
            signals: !found(signals_at).is_empty(),
            receive: receive && socket.intersects(PollFlags::POLLIN | over),
            send: send && socket.intersects(PollFlags::POLLOUT | over),
            stdin: !found(stdin_at).is_empty(),
            output: !found(output_at).is_empty(),
        })
    }

    /// Input is left alone until the process runs: a start that fails takes nothing from it.
    fn wants_stdin(&self) -> bool {
        self.running
            && self.stdin_open
            && self.leaving.is_none()
            && !self.outgoing.is_closed()
            && self.outgoing.len() <= UNSENT_MAX
    }

    fn receive(&mut self) -> Result<(), Error> {
        match read(&self.socket, &mut self.buffer) {
            // Reset: the monitor ended with requests unread. What it said was read before.
            Ok(0) | Err(Errno::ECONNRESET) => self.end = Some(Outcome::Lost),
            Ok(length) => self.decoder.push(&self.buffer[..length]),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::Receive(sys::Error::new("read", "control socket", errno))),
        }
        while self.end.is_none()
            && let Some(event) = self.decoder.next()?
        {
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Started => self.process_runs()?,
            Event::Failed(failure) => self.end = Some(Outcome::Failed(failure)),
            Event::Exited { code } => self.end = Some(Outcome::Exited(code)),
            Event::Stdout(bytes) if self.streams.output => self.output.push(Stream::Stdout, bytes),
            Event::Stderr(bytes) if self.streams.output => self.output.push(Stream::Stderr, bytes),
            Event::Stdout(_) | Event::Stderr(_) | Event::Done => {}
            Event::Refused(text) | Event::Warning(text) => (self.warn)(&text),
        }
        Ok(())
    }

    fn process_runs(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.running, true) {
            return Ok(());
        }
        (self.started)();
        // Without -i nobody would read the keys, and Ctrl-C must keep its meaning.
        if self.streams.tty && self.streams.stdin && pty::is_terminal(self.ends.stdin) {
            self.raw = Some(RawMode::enter(self.ends.stdin).map_err(Error::RawMode)?);
            self.watch = Some(Watch::new(self.streams.keys.clone()));
        }
        for signal in std::mem::take(&mut self.held) {
            self.outgoing.push(&Request::Kill { signal });
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGWINCH => self.send_size(0),
                // With the process gone, only unwritten output keeps this client here.
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT if self.end.is_some() => {
                    self.output.discard()
                }
                signal if !self.streams.sig_proxy => self.end = Some(Outcome::Ended(signal)),
                signal if self.running => self.outgoing.push(&Request::Kill { signal }),
                signal => self.held.push(signal),
            }
        }
    }

    /// The size of the terminal that the user looks at, if there is one, and `more` of it.
    fn send_size(&mut self, more: u16) {
        if !self.streams.tty {
            return;
        }
        if let Some(size) = pty::size(self.ends.stdout).or_else(|| pty::size(self.ends.stdin)) {
            let (rows, columns) = (size.rows.saturating_add(more), size.columns.saturating_add(more));
            self.outgoing.push(&Request::Resize { rows, columns });
        }
    }

    fn read_stdin(&mut self) {
        match read(self.ends.stdin, &mut self.buffer) {
            Ok(0) => {}
            Ok(length) => return self.type_in(length),
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            // A terminal that hung up reads as EIO.
            Err(Errno::EIO) => {}
            Err(errno) => (self.warn)(&format!(
                "cannot read standard input, the container's is closed: {}",
                errno.desc()
            )),
        }
        self.stdin_open = false;
        if let Some(held) = self.watch.as_mut().map(Watch::rest).filter(|held| !held.is_empty()) {
            self.outgoing.push(&Request::Stdin(held));
        }
        self.outgoing.push(&Request::StdinClosed);
    }

    /// Sends what was read, and leaves where it holds the keys for that.
    fn type_in(&mut self, length: usize) {
        let bytes = &self.buffer[..length];
        let (bytes, leave) = match &mut self.watch {
            Some(watch) => watch.pass(bytes),
            None => (bytes.to_vec(), false),
        };
        if !bytes.is_empty() {
            self.outgoing.push(&Request::Stdin(bytes));
        }
        if leave {
            self.leaving = Some(Instant::now() + PARTING);
        }
    }
}
