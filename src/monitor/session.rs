//! One `exec`: role exec session. It joins the container, starts the program there and passes its
//! streams on; with `-d` it stays until the program has ended. [`Addition`] starts one, in the client of
//! `exec` or in the monitor.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};

use super::protocol::{Event, Failure, FailureKind};
use super::relay::{Parts, Relay};
use super::setup::{failure, make_pipes};
use super::streams::Streams;
use crate::cgroup;
use crate::runtime::channel::InitMessage;
use crate::runtime::join::{Joining, add};
use crate::runtime::pretender::Pretender;
use crate::security;
use crate::spec::container::{NetworkMode, Options, ProcessSpec};
use crate::spec::id::ContainerId;
use crate::store::containers::Container;
use crate::store::events::of_container;
use crate::store::{Store, events};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::path::adopt_fd;
use crate::sys::process::{Pid, letter, pidfd_open, random, read_letter, spawn_role};
use crate::sys::pty::{Size, set_size};
use crate::sys::signal::Signals;

/// `argv[1]` of the role.
pub const ROLE: &str = "__exec-session";
/// Descriptors the role inherits.
pub const CLIENT: i32 = 3;
pub const INIT: i32 = 4;
/// A letter with the [`Order`] as JSON.
pub const ORDER: i32 = 5;

/// What was decided before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub process: ProcessSpec,
    /// The container's options; `privileged` as this exec has it.
    pub options: Options,
    pub host_network: bool,
    pub single_id: bool,
    /// The container's cgroup.
    pub cgroup: Option<PathBuf>,
    pub attached: bool,
    /// The store, and the event of its end without what is not known yet.
    pub data: PathBuf,
    pub die: events::Pending,
    /// Rows and columns of the client's terminal: the program's from its first moment on.
    pub size: Option<(u16, u16)>,
}

/// A program to be added to a running container.
#[derive(Debug)]
pub struct Addition<'a> {
    pub store: &'a Store,
    pub container: &'a Container,
    /// The container's first process, a pidfd.
    pub init: BorrowedFd<'a>,
    pub process: ProcessSpec,
    /// With all capabilities.
    pub privileged: bool,
    pub single_id: bool,
    /// Whoever starts it takes the output.
    pub attached: bool,
    pub size: Option<(u16, u16)>,
}

impl Addition<'_> {
    /// Starts the session; the connection to it, and its pid. What happens is written down as docker does.
    pub fn start(self) -> sys::Result<(UnixStream, Pid)> {
        let (store, container, init) = (self.store, self.container, self.init);
        let exec_id = ContainerId::from_bytes(random()?).to_string();
        let note =
            |action: String| store.note(&of_container(container, action, &[("execID", exec_id.clone())]));
        // As docker: the command, a space, its arguments.
        let argv = &self.process.argv;
        let line = format!("{} {}", argv[0], argv[1..].join(" "));
        note(format!("exec_create: {line}"));
        let order = serde_json::to_string(&self.order(&exec_id)).expect("plain data always serialises");
        let (ours, theirs) = UnixStream::pair().call("socketpair", String::new)?;
        let order = letter(&order)?;
        let inherit = [(theirs.as_fd(), CLIENT), (init, INIT), (order.as_fd(), ORDER)];
        let pid = spawn_role(ROLE, &[], &inherit)?;
        note(format!("exec_start: {line}"));
        Ok((ours, pid))
    }

    fn order(self, exec_id: &str) -> Order {
        let mut options = self.container.record.options.clone();
        if self.privileged {
            // The container's system call filter all the same.
            (options.cap_add, options.cap_drop) = (vec!["ALL".to_owned()], Vec::new());
        }
        Order {
            process: self.process,
            host_network: options.network == NetworkMode::Host,
            options,
            single_id: self.single_id,
            cgroup: self.container.cgroup(),
            attached: self.attached,
            data: self.store.layout().root().to_owned(),
            die: events::Pending::new(self.container, "exec_die", &[("execID", exec_id.to_owned())]),
            size: self.size,
        }
    }
}

/// The role.
pub fn serve() -> sys::Result<()> {
    let client = UnixStream::from(adopt_fd(CLIENT)?);
    let order = read_letter(adopt_fd(ORDER)?)?;
    sys::signal::ignore_broken_pipe();
    let order: Order = serde_json::from_str(&order)
        .map_err(|_| sys::Error::new("exec", "malformed order", nix::errno::Errno::EINVAL))?;
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        set.add(signal);
    }
    let signals = Signals::block(&set)?;
    // Opened before it goes where the store is not.
    let mut log = Store::open(order.data.clone()).event_writer();
    match start(&order, signals) {
        Err(failure) => super::refuse(client, &failure),
        Ok(parts) => {
            let mut relay = Relay::new(parts);
            relay.add_client(client, order.attached);
            relay.tell_all(&Event::Started);
            let code = relay.run()?.code();
            if let Some(log) = &mut log {
                log.note(&order.die.with(&[("exitCode", code.to_string())]));
            }
            relay.farewell(&Event::Exited { code });
        }
    }
    Ok(())
}

fn start(order: &Order, signals: Signals) -> Result<Parts, Failure> {
    let init = adopt_fd(INIT).map_err(|e| failure(&e))?;
    let security = security::plan(&order.options, Vec::new()).map_err(|e| failure(&e))?;
    let process = &order.process;
    let (theirs, ours) = if process.tty {
        (None, None)
    } else {
        let (theirs, ours) = make_pipes(process.open_stdin).map_err(|e| failure(&e))?;
        (Some(theirs), Some(ours))
    };
    let pretender = order.single_id.then(Pretender::start).transpose().map_err(|e| failure(&e))?;
    let joining = Joining {
        init: init.as_fd(),
        host_network: order.host_network,
        pretender,
        process,
        security: &security,
        pipes: theirs,
    };
    // Opened before this process goes where it is not seen.
    let cgroup = order.cgroup.as_deref().map(cgroup::entrance).transpose().map_err(|e| failure(&e))?;
    let (pid, channel) = add(joining).map_err(|e| failure(&e))?;
    if let Some(mut entrance) = cgroup {
        // It waits for our word before it becomes the program.
        let moved = entrance.write_all(pid.to_string().as_bytes());
        moved.call("write", || "cgroup.procs".into()).map_err(|e| failure(&e))?;
    }
    let pidfd = pidfd_open(pid).map_err(|e| failure(&e))?;
    let died = || Failure { kind: FailureKind::Setup, message: "the new process was killed".into() };
    let terminal = match channel.receive().map_err(|e| failure(&e))?.ok_or_else(died)? {
        (InitMessage::Ready { .. }, terminal) => terminal,
        (InitMessage::Failed(failed), _) => return Err(failed.into()),
    };
    if let (Some(master), Some((rows, columns))) = (&terminal, order.size) {
        set_size(master, Size { rows, columns }).map_err(|e| failure(&e))?;
    }
    channel.go(true).map_err(|e| failure(&e))?;
    if let Some((InitMessage::Failed(failed), _)) = channel.receive().map_err(|e| failure(&e))? {
        return Err(failed.into());
    }
    let streams = match ours {
        Some((stdin, stdout, stderr)) => Streams::Pipes {
            stdin: process.open_stdin.then_some(stdin),
            stdout: Some(stdout),
            stderr: Some(stderr),
        },
        None => Streams::Terminal { master: terminal },
    };
    Ok(Parts {
        streams,
        listener: None,
        log: None,
        signals,
        open_stdin: process.open_stdin,
        stdin_once: true,
        spill: None,
        pid,
        pidfd,
        stop_signal: libc::SIGTERM,
        own_stop_signal: None,
        diary: None,
        health: None,
        pause: None,
    })
}
