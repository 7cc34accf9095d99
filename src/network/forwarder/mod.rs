//! The port forwarder: a process of its own per container with published ports, forked by the
//! monitor without exec, single-threaded.
//!
//! It inherits the ports' sockets, which belong to the host's network, joins the container's
//! user and network namespaces, and connects every client to the container's own address (never
//! to its loopback, as docker). It dies with the monitor, which closes its copies of the
//! sockets after the fork: then a dead forwarder never leaves clients waiting.
//!
//! ```text
//! client ──> [socket of the host's network] forwarder [socket of the container's] ──> server
//! ```

mod datagram;
mod relay;
mod serve;
mod target;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid};

use self::relay::Side;
use self::serve::Server;
use self::target::Target;
use super::ports::BoundPort;
use crate::spec::port::Protocol;
use crate::sys;
use crate::sys::confine::{CAP_NET_ADMIN, CAP_NET_RAW, close_all_but, set_capabilities};
use crate::sys::error::Context;
use crate::sys::memory::release_code;

/// Where the forwarder has to go.
#[derive(Debug)]
pub struct ForwardTarget {
    /// The container's namespaces, as opened from /proc/PID/ns or by a pidfd.
    pub userns: OwnedFd,
    pub netns: OwnedFd,
    /// The monitor: the forwarder's life ends with it.
    pub monitor: Pid,
}

#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    #[error("cannot forward published ports")]
    System(#[from] sys::Error),
    #[error("the monitor ended while the port forwarder was starting")]
    Orphaned,
}

/// What the monitor learns from a forwarder that started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Servers see their clients' addresses.
    pub keeps_source: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error("published ports are not forwarded: {0}")]
    Failed(String),
    #[error("cannot hear from the port forwarder")]
    Unheard(#[source] io::Error),
}

const KEEPS_SOURCE: u8 = b'+';
const PLAIN: u8 = b'-';

/// Runs the forwarder. Returns only with an error; the caller ends by `_exit` then, because
/// every descriptor but its own was closed.
///
/// `report` is the write end of a pipe whose read end goes to [`started`].
pub fn run(
    ports: Vec<BoundPort>,
    target: &ForwardTarget,
    report: OwnedFd,
) -> Result<Infallible, ForwarderError> {
    let mut report = File::from(report);
    let server = match enter(ports, target, &report) {
        Ok((server, keeps_source)) => {
            // A monitor that does not listen is no reason not to serve.
            let _ = report.write_all(&[if keeps_source { KEEPS_SOURCE } else { PLAIN }]);
            server
        }
        Err(e) => {
            let words = std::error::Error::source(&e).map_or(e.to_string(), |source| source.to_string());
            // The caller gets the same error.
            let _ = report.write_all(words.as_bytes());
            return Err(e);
        }
    };
    drop(report);
    let mut server = server;
    release_code();
    loop {
        server.step(None)?;
    }
}

/// Hears whether the forwarder started: for the monitor, which closed its write end before.
pub fn started(report: OwnedFd) -> Result<Started, NotStarted> {
    let mut words = String::new();
    File::from(report).read_to_string(&mut words).map_err(NotStarted::Unheard)?;
    match words.as_bytes() {
        [KEEPS_SOURCE] => Ok(Started { keeps_source: true }),
        [PLAIN] => Ok(Started { keeps_source: false }),
        [] => Err(NotStarted::Failed("the port forwarder died while starting".to_owned())),
        _ => Err(NotStarted::Failed(words)),
    }
}

/// Turns a fresh fork of the monitor into the forwarder.
fn enter(
    ports: Vec<BoundPort>,
    target: &ForwardTarget,
    report: &File,
) -> Result<(Server, bool), ForwarderError> {
    shed(&ports, target, report)?;
    setns(&target.userns, CloneFlags::CLONE_NEWUSER).call("setns", || "user namespace".to_owned())?;
    setns(&target.netns, CloneFlags::CLONE_NEWNET).call("setns", || "network namespace".to_owned())?;
    // Joining the user namespace changed the credentials, which clears these two.
    prctl::set_pdeathsig(Signal::SIGKILL).call("prctl", || "PR_SET_PDEATHSIG".to_owned())?;
    if getppid() != target.monitor {
        return Err(ForwarderError::Orphaned);
    }
    // Its memory and descriptors stay visible to the user it runs for.
    prctl::set_dumpable(true).call("prctl", || "PR_SET_DUMPABLE".to_owned())?;
    let mut place = Target::plain()?;
    let udp: Vec<u16> = udp_ports(&ports);
    // Where the kernel refuses, servers see the container's gateway or own address instead.
    let keeps_source = place.keep_sources(&udp).is_ok() && settle_capabilities(!udp.is_empty())?;
    if !keeps_source {
        place = Target::plain()?;
        set_capabilities(&[], &[])?;
    }
    prctl::set_no_new_privs().call("prctl", || "PR_SET_NO_NEW_PRIVS".to_owned())?;
    Ok((Server::new(ports, place)?, keeps_source))
}

fn udp_ports(ports: &[BoundPort]) -> Vec<u16> {
    let udp = ports.iter().filter(|port| port.published.protocol == Protocol::Udp);
    let mut ports: Vec<u16> = udp.map(|port| port.published.container_port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Lets go of what was the monitor's: its streams, descriptors, blocked signals and limits.
fn shed(ports: &[BoundPort], target: &ForwardTarget, report: &File) -> Result<(), sys::Error> {
    silence()?;
    let mut keep = vec![target.userns.as_fd(), target.netns.as_fd(), report.as_fd()];
    keep.extend(ports.iter().flat_map(|port| port.sockets.iter().map(AsFd::as_fd)));
    close_all_but(&keep)?;
    // splice(2) has no flag against SIGPIPE, so it stays blocked.
    let only_pipe = SigSet::from_iter([Signal::SIGPIPE]);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&only_pipe), None)
        .call("pthread_sigmask", || "SIGPIPE".to_owned())?;
    // Two descriptors per connection: as many as may be.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).call("getrlimit", || "RLIMIT_NOFILE".to_owned())?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).call("setrlimit", || "RLIMIT_NOFILE".to_owned())?;
    prctl::set_name(c"coracle-ports").call("prctl", || "PR_SET_NAME".to_owned())
}

/// Points the standard streams at /dev/null: the monitor's may be pipes that somebody waits on.
fn silence() -> Result<(), sys::Error> {
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.call("open", || "/dev/null".to_owned())?;
    dup2_stdin(&null).call("dup2", || "0".to_owned())?;
    dup2_stdout(&null).call("dup2", || "1".to_owned())?;
    dup2_stderr(&null).call("dup2", || "2".to_owned())?;
    if null.as_raw_fd() <= 2 {
        // A monitor without streams: this one is a stream now and stays.
        std::mem::forget(null);
    }
    Ok(())
}

/// Keeps the capabilities that sockets with foreign sources need, and no others. `false`: they do
/// not suffice.
///
/// Before Linux 5.17 marks need CAP_NET_ADMIN; catching the answers of UDP servers always does.
fn settle_capabilities(udp: bool) -> Result<bool, sys::Error> {
    let both = [CAP_NET_ADMIN, CAP_NET_RAW];
    if udp {
        set_capabilities(&both, &both)?;
        return Ok(Target::can_mark());
    }
    set_capabilities(&[CAP_NET_RAW], &both)?;
    let enough = Target::can_mark();
    let kept = if enough { &both[1..] } else { &both[..] };
    set_capabilities(kept, kept)?;
    Ok(enough || Target::can_mark())
}

/// What an event of epoll is about, in the 64 bits it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Listener(usize),
    Session(u64),
    End { slot: u32, generation: u32, side: Side },
}

impl Token {
    /// Generations are counted below this mask.
    const GENERATIONS: u32 = (1 << 29) - 1;
    const SHIFT: u32 = 62;

    fn encode(self) -> u64 {
        match self {
            Token::Listener(number) => number as u64,
            Token::Session(number) => 1 << Token::SHIFT | number,
            Token::End { slot, generation, side } => {
                let kind = if side == Side::Client { 2 } else { 3 };
                kind << Token::SHIFT | u64::from(generation & Token::GENERATIONS) << 32 | u64::from(slot)
            }
        }
    }

    fn decode(data: u64) -> Token {
        let rest = data & ((1 << Token::SHIFT) - 1);
        let end = |side| Token::End { slot: rest as u32, generation: (rest >> 32) as u32, side };
        match data >> Token::SHIFT {
            0 => Token::Listener(rest as usize),
            1 => Token::Session(rest),
            2 => end(Side::Client),
            _ => end(Side::Server),
        }
    }
}
