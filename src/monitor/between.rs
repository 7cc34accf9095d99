//! The monitor between two runs of its container: nothing runs, the back-off passes, and clients are
//! heard all the same. Role monitor.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::client::{self, Client};
use super::protocol::{Event, Request};
use crate::sys::process::reap;
use crate::sys::signal::Signals;

/// How long clients get to take the last word.
const FAREWELL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Between {
    pub signals: Signals,
    pub listener: Option<UnixListener>,
    /// Those who came meanwhile and stay, for the next run.
    pub clients: Vec<Client>,
}

/// What a client's request means here.
enum Meaning {
    /// No other run.
    End,
    /// No other run, and it is told so at once.
    EndAndTell,
    Refuse,
    /// It stays, and hears of the next end.
    Stay,
}

fn meaning(request: &Request) -> Meaning {
    match request {
        // It hears how the last run ended.
        Request::Stop { .. } => Meaning::End,
        // As docker, which takes any signal for a wish that it ends.
        Request::Kill { .. } => Meaning::EndAndTell,
        Request::Attach { .. } | Request::Pause | Request::Unpause => Meaning::Refuse,
        Request::Stdin(_) | Request::StdinClosed | Request::Resize { .. } | Request::Wait => Meaning::Stay,
    }
}

impl Between {
    /// Lets the time pass; false when there shall be no other run.
    pub fn wait(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut again = true;
        while again {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.poll(left);
            while let Some(signal) = self.signals.next() {
                match signal {
                    libc::SIGCHLD => while reap().is_some() {},
                    // The session ends or the host goes down.
                    libc::SIGTERM => again = false,
                    _ => {}
                }
            }
            while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
                self.clients.extend(Client::new(stream, false));
            }
            for client in &mut self.clients {
                again &= hear(client);
            }
            self.clients.retain(|client| !client.gone);
        }
        again
    }

    fn poll(&self, left: Duration) {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.listener.iter().map(|l| PollFd::new(l.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.clients.iter().map(|c| PollFd::new(c.stream.as_fd(), PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout);
    }
}

/// What one client says; false when it wants no other run.
fn hear(client: &mut Client) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match client.stream.read(&mut buffer) {
            Ok(0) => client.gone = true,
            Ok(count) => client.decoder.push(&buffer[..count]),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(_) => client.gone = true,
        }
        if client.gone {
            break;
        }
    }
    let mut again = true;
    loop {
        match client.decoder.next::<Request>() {
            Ok(None) => return again,
            Err(_) => {
                client.gone = true;
                return again;
            }
            Ok(Some(request)) => match meaning(&request) {
                Meaning::End => again = false,
                Meaning::EndAndTell => {
                    again = false;
                    client.tell(&Event::Done, None);
                }
                Meaning::Refuse => client.tell(&Event::Refused("it is restarting".to_owned()), None),
                Meaning::Stay => {}
            },
        }
    }
}

/// Says the last word to those who are left.
pub fn farewell(clients: &mut Vec<Client>, event: &Event) {
    clients.iter_mut().for_each(|client| client.tell(event, None));
    let until = Instant::now() + FAREWELL;
    client::serve(clients, || Instant::now() > until);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::monitor::protocol::Frame;

    fn says(request: &Request) -> (bool, Vec<u8>) {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let mut client = Client::new(theirs, false).expect("a client");
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        ours.write_all(&bytes).expect("written");
        let again = hear(&mut client);
        drop(client);
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).expect("read");
        (again, answer)
    }

    #[test]
    fn stop_and_kill_mean_no_other_run() {
        assert_eq!(says(&Request::Stop { signal: 15, timeout: 10 }), (false, Vec::new()));
        let (again, answer) = says(&Request::Kill { signal: 10 });
        assert!(!again && !answer.is_empty());
        assert_eq!(says(&Request::Wait), (true, Vec::new()));
        let (again, answer) = says(&Request::Attach { input: true });
        assert!(again && !answer.is_empty());
    }
}
