//! The client's end of the line to a monitor: a foreground `run`, `start -a` or `exec`, the wait
//! of a detached start, and single requests. Runs in the command that the user typed.

mod client;
mod detach;
mod outgoing;
mod output;
pub mod running;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::monitor::protocol::{Decoder, Event, Failure, Frame, Malformed, Request};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::pty;
pub use detach::DetachKeys;

/// What is copied between the caller and the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    /// `-i`: standard input goes to the process. Otherwise it is never read.
    pub stdin: bool,
    /// `-t`: the process has a terminal, whose size follows the caller's.
    pub tty: bool,
    /// The process's output goes to standard output and error. Otherwise it is dropped.
    pub output: bool,
    /// Signals go to the process; otherwise those that end a program end this one.
    pub sig_proxy: bool,
    /// What the user types to leave the process alone, where it has a terminal and the user too.
    pub keys: DetachKeys,
    /// The process runs already and may have to draw its screen again.
    pub redraw: bool,
}

/// Rows and columns of the caller's terminal, when there is one.
pub fn terminal_size() -> Option<(u16, u16)> {
    let size = pty::size(std::io::stdout()).or_else(|| pty::size(std::io::stdin()))?;
    Some((size.rows, size.columns))
}

/// How an attached process ended, as far as the client can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 0 to 255; 128+n for signal n.
    Exited(i32),
    /// The user left it; it goes on.
    Detached,
    /// This command was told to end, by that signal.
    Ended(i32),
    /// Nothing was started.
    Failed(Failure),
    /// The monitor went away without telling how the process ended.
    Lost,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make the connection to the container's monitor ready for polling")]
    Connection(#[source] sys::Error),
    #[error("cannot take over this process's signals to pass them on")]
    Signals(#[source] sys::Error),
    #[error("cannot put the terminal at standard input into raw mode")]
    RawMode(#[source] sys::Error),
    #[error("cannot wait for the container's monitor and the terminal")]
    Poll(#[source] sys::Error),
    #[error("cannot read what the container's monitor says")]
    Receive(#[source] sys::Error),
    #[error("cannot send to the container's monitor")]
    Send(#[source] sys::Error),
    #[error("the container's monitor says something that this version does not understand")]
    Malformed(#[from] Malformed),
    #[error(
        "the container's monitor closed the connection without an answer; `ps -a` shows the container's state"
    )]
    Closed,
}

/// Copies streams and signals until the process ends, fails to start, or its monitor goes away.
///
/// `started` is called once, when the process runs. `warn` gets the monitor's warnings and what
/// went wrong with the caller's own streams. Nothing is read from standard input before the
/// process runs; signals that come earlier are kept for it.
pub fn attach(
    socket: UnixStream,
    streams: &Streams,
    started: &mut dyn FnMut(),
    warn: &mut dyn FnMut(&str),
) -> Result<Outcome, Error> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let ends = client::Ends { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
    client::attach(socket, streams, ends, started, warn)
}

/// Waits until the process runs (`run -d`), or until it is known why it does not.
pub fn wait_started(socket: UnixStream, warn: &mut dyn FnMut(&str)) -> Result<Result<(), Failure>, Error> {
    let mut events = Events::new(socket)?;
    loop {
        match events.next()? {
            Event::Started => return Ok(Ok(())),
            Event::Failed(failure) => return Ok(Err(failure)),
            Event::Warning(text) => warn(&text),
            _ => {}
        }
    }
}

/// Sends one request and returns the monitor's answer: `Done`, `Refused`, `Failed` or `Exited`.
pub fn request(socket: UnixStream, request: &Request) -> Result<Event, Error> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    let mut events = Events::new(socket)?;
    match events.socket.write_all(&bytes) {
        // A monitor that is about to end may have left its last words.
        Err(e) if is_hang_up(e.kind()) => {}
        sent => sent.call("write", || "control socket".into()).map_err(Error::Send)?,
    }
    loop {
        let event = events.next()?;
        if matches!(event, Event::Done | Event::Refused(_) | Event::Failed(_) | Event::Exited { .. }) {
            return Ok(event);
        }
    }
}

fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// The events of a connection, one after the other, waiting for each.
struct Events {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Events {
    fn new(socket: UnixStream) -> Result<Events, Error> {
        socket.set_nonblocking(false).call("ioctl", || "FIONBIO".into()).map_err(Error::Connection)?;
        Ok(Events { socket, decoder: Decoder::default(), buffer: vec![0; 16 << 10] })
    }

    fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.decoder.next()? {
                return Ok(event);
            }
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(length) => self.decoder.push(&self.buffer[..length]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_hang_up(e.kind()) => return Err(Error::Closed),
                failed => {
                    failed.call("read", || "control socket".into()).map_err(Error::Receive)?;
                }
            }
        }
    }
}
