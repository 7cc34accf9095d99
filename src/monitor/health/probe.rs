//! One probe: a program added to the container by an exec session, and what is heard from it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::monitor::protocol::{Decoder, Event, Frame, Request};
use crate::monitor::session::Addition;
use crate::sys;
use crate::sys::process::{pidfd_open, pidfd_signal};

/// Bytes of output that are kept; docker's number.
const OUTPUT_MAX: usize = 4096;
/// Reads in a row.
const READS: usize = 64;
/// How long a probe may take to start, which its timeout does not include; docker's span.
const START: Duration = Duration::from_secs(30);
/// How long its end may take once it was killed.
const END: Duration = Duration::from_secs(10);

/// How a probe ended: `code` -1 where it has none.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    pub code: i32,
    pub output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    /// Out of time.
    Killed,
}

#[derive(Debug)]
pub struct Probe {
    session: UnixStream,
    /// Of the session; its program ends with it.
    pidfd: OwnedFd,
    pub start: Instant,
    phase: Phase,
    /// When the phase has lasted too long.
    until: Instant,
    timeout: Duration,
    decoder: Decoder,
    output: Vec<u8>,
    cut: bool,
}

impl Probe {
    /// Starts a probe that may take `timeout`.
    pub fn start(addition: Addition<'_>, timeout: Duration) -> sys::Result<Probe> {
        let start = Instant::now();
        let (session, pid) = addition.start()?;
        session
            .set_nonblocking(true)
            .map_err(|_| sys::Error::last("ioctl", "FIONBIO on an exec session's socket"))?;
        Ok(Probe {
            session,
            // Only we could reap it, and have not.
            pidfd: pidfd_open(pid)?,
            start,
            phase: Phase::Starting,
            until: start + START,
            timeout,
            decoder: Decoder::default(),
            output: Vec::new(),
            cut: false,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.session.as_fd()
    }

    /// When to look at it although nothing was heard.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Hears what there is; the verdict once it has ended or has to be given up.
    pub fn step(&mut self) -> Option<Verdict> {
        match self.hear() {
            Some(verdict) => Some(verdict),
            None if Instant::now() >= self.until => self.overdue(),
            None => None,
        }
    }

    /// Ends it; what it says no longer counts.
    pub fn abandon(&mut self) {
        self.kill();
    }

    fn hear(&mut self) -> Option<Verdict> {
        let mut bytes = [0; 4096];
        // One that says more than is kept must not take the loop for itself.
        for _ in 0..READS {
            match self.session.read(&mut bytes) {
                Ok(0) => return Some(self.verdict(-1, Some("the probe was killed".to_owned()))),
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => return Some(self.verdict(-1, Some(error.to_string()))),
            }
            while let Ok(Some(event)) = self.decoder.next::<Event>() {
                if let Some(verdict) = self.event(event) {
                    return Some(verdict);
                }
            }
        }
        None
    }

    fn event(&mut self, event: Event) -> Option<Verdict> {
        match event {
            Event::Started if self.phase == Phase::Starting => {
                self.phase = Phase::Running;
                let now = Instant::now();
                self.until = now.checked_add(self.timeout).unwrap_or(now + Duration::from_secs(1 << 32));
            }
            Event::Stdout(bytes) | Event::Stderr(bytes) => self.keep(&bytes),
            Event::Exited { code } => return Some(self.verdict(code, None)),
            Event::Failed(failure) => return Some(self.verdict(-1, Some(failure.message))),
            Event::Started | Event::Done | Event::Refused(_) | Event::Warning(_) => {}
        }
        None
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = OUTPUT_MAX - self.output.len();
        self.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
    }

    fn overdue(&mut self) -> Option<Verdict> {
        match self.phase {
            Phase::Starting => {
                self.end_session();
                Some(self.verdict(-1, Some("timed out starting the health check".to_owned())))
            }
            Phase::Running => {
                self.kill();
                None
            }
            Phase::Killed => {
                self.end_session();
                Some(self.verdict(-1, None))
            }
        }
    }

    /// Kills its program; the session then tells of the end.
    fn kill(&mut self) {
        self.phase = Phase::Killed;
        self.until = Instant::now() + END;
        let mut bytes = Vec::new();
        Request::Kill { signal: libc::SIGKILL }.encode(&mut bytes);
        // One that cannot be told has ended, or ends with its session.
        let _ = self.session.write_all(&bytes);
    }

    fn end_session(&self) {
        let _ = pidfd_signal(&self.pidfd, libc::SIGKILL);
    }

    /// In docker's words.
    fn verdict(&mut self, code: i32, why: Option<String>) -> Verdict {
        let mut output = String::from_utf8_lossy(&std::mem::take(&mut self.output)).into_owned();
        if self.cut {
            output.push_str("...");
        }
        if self.phase == Phase::Killed {
            let timeout = crate::spec::duration::text(self.timeout);
            let colon = if output.is_empty() { "" } else { ": " };
            return Verdict {
                code: -1,
                output: format!("Health check exceeded timeout ({timeout}){colon}{output}"),
            };
        }
        Verdict { code, output: why.unwrap_or(output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::protocol::{Failure, FailureKind};

    /// A probe whose session is the other end.
    fn probe(timeout: Duration) -> (Probe, UnixStream) {
        let (session, other) = UnixStream::pair().unwrap();
        session.set_nonblocking(true).unwrap();
        let start = Instant::now();
        let probe = Probe {
            session,
            pidfd: pidfd_open(std::process::id().cast_signed()).unwrap(),
            start,
            phase: Phase::Starting,
            until: start + START,
            timeout,
            decoder: Decoder::default(),
            output: Vec::new(),
            cut: false,
        };
        (probe, other)
    }

    fn say(other: &mut UnixStream, events: &[Event]) {
        let mut bytes = Vec::new();
        events.iter().for_each(|event| event.encode(&mut bytes));
        other.write_all(&bytes).unwrap();
    }

    #[test]
    fn both_streams_are_kept_up_to_a_limit() {
        let (mut probe, mut other) = probe(Duration::from_secs(9));
        say(&mut other, &[Event::Started, Event::Stdout(b"o".to_vec()), Event::Stderr(b"e\xff".to_vec())]);
        assert_eq!(probe.step(), None);
        assert_eq!(probe.phase, Phase::Running);
        say(&mut other, &[Event::Exited { code: 3 }]);
        assert_eq!(probe.step(), Some(Verdict { code: 3, output: "oe\u{fffd}".into() }));
        let (mut probe, mut other) = self::probe(Duration::from_secs(9));
        say(&mut other, &[Event::Stdout(vec![b'x'; 5000]), Event::Exited { code: 0 }]);
        assert_eq!(probe.step().unwrap().output, format!("{}...", "x".repeat(4096)));
    }

    #[test]
    fn one_that_takes_too_long_is_killed() {
        let (mut probe, mut other) = probe(Duration::ZERO);
        say(&mut other, &[Event::Started, Event::Stdout(b"hm".to_vec())]);
        assert_eq!(probe.step(), None);
        assert_eq!(probe.phase, Phase::Killed);
        let mut bytes = [0; 64];
        let count = other.read(&mut bytes).unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&bytes[..count]);
        assert_eq!(decoder.next(), Ok(Some(Request::Kill { signal: 9 })));
        say(&mut other, &[Event::Exited { code: 137 }]);
        let verdict = probe.step().unwrap();
        assert_eq!(verdict, Verdict { code: -1, output: "Health check exceeded timeout (0s): hm".into() });
    }

    #[test]
    fn one_that_cannot_start_says_why() {
        let (mut probe, mut other) = probe(Duration::from_secs(9));
        let failure = Failure { kind: FailureKind::NotFound, message: "no such program".into() };
        say(&mut other, &[Event::Failed(failure)]);
        assert_eq!(probe.step(), Some(Verdict { code: -1, output: "no such program".into() }));
        let (mut probe, other) = self::probe(Duration::from_secs(9));
        drop(other);
        assert_eq!(probe.step().unwrap().code, -1);
    }
}
