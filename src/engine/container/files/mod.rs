//! The files of a container, running or not, as tar streams: what `cp` needs, and whoever else copies them.
//!
//! `Files` is the client's end; the work is done by the files worker (`worker`).

pub mod changes;
pub mod names;
pub mod protocol;
pub mod worker;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::archive::extract::Ownership;
use crate::archive::unpack::Note;
use crate::engine::Engine;
use crate::monitor;
use crate::runtime::usage::Usage;
use crate::store::containers::{self, Container};
use crate::store::held::Held;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::message;
use crate::sys::process::{self, Inherit, Pid, letter, pidfd_open, spawn_role, start_time};
use protocol::{Answer, CONTROL, LOCK, NAMESPACE, ORDER, Order, PathStat, Place, ROLE, Refusal, Request};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    #[error("cannot start the files worker")]
    Start(#[source] sys::Error),
    #[error("cannot talk to the files worker")]
    Talk(#[source] sys::Error),
    #[error("the files worker ended before it answered")]
    Gone,
    #[error("the files worker's answer is not understood")]
    Answer(#[source] serde_json::Error),
    #[error("Could not find the file {path} in container {container}")]
    NotFound { path: String, container: String },
    #[error(transparent)]
    Refused(Refusal),
}

/// How long another copy, or a start or removal, may keep the container's lock.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);
/// As much as an unprivileged user's pipe may hold.
const PIPE: i32 = 1 << 20;

/// A worker that sees a container's files. While it lives, a container that does not run cannot be started.
#[derive(Debug)]
pub struct Files {
    socket: Option<OwnedFd>,
    child: Pid,
    /// Our part of the lock; the worker has another.
    held: Option<Held>,
    /// What the user calls the container.
    name: String,
    container: Container,
}

impl Files {
    /// Shows the files of the container that `key` means.
    pub fn open(engine: &Engine, key: &str) -> Result<Files, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let container = engine.store.find_container(key)?;
            if container.is_running() {
                if let Some(files) = Files::running(engine, &container, key)? {
                    return Ok(files);
                }
            } else {
                match engine.store.hold_container(&container.record.id) {
                    Ok(held) => return Files::stopped(engine, &container, key, held),
                    Err(containers::Error::Busy(_)) if Instant::now() < until => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // It is about to start, to end, or in somebody else's hands.
            if Instant::now() > until {
                return Err(containers::Error::Busy(key.to_owned()).into());
            }
            std::thread::sleep(STEP);
        }
    }

    /// `None`: it has just ended.
    fn running(engine: &Engine, container: &Container, key: &str) -> Result<Option<Files>, Error> {
        let state = &container.state;
        let Ok(init) = pidfd_open(state.pid) else { return Ok(None) };
        // Looked at after opening: if it is the recorded process now, the descriptor is its.
        if start_time(state.pid) != Some(state.pid_start_time) {
            return Ok(None);
        }
        Files::spawn(engine, container, key, Place::Running, init.as_fd(), None).map(Some)
    }

    fn stopped(engine: &Engine, container: &Container, key: &str, held: Held) -> Result<Files, Error> {
        // A monitor that was killed may have left a process that still writes to the layer.
        monitor::kill_orphan(&held.last_state()?);
        held.settle()?;
        let place = Place::Stopped { driver: engine.storage_driver()? };
        Files::spawn(engine, container, key, place, engine.mapped()?.fd(), Some(held))
    }

    /// A worker in the user's mapped namespace that shows no container.
    pub fn at_home(engine: &Engine, container: &Container, key: &str) -> Result<Files, Error> {
        Files::spawn(engine, container, key, Place::Home, engine.mapped()?.fd(), None)
    }

    fn spawn(
        engine: &Engine,
        container: &Container,
        key: &str,
        place: Place,
        namespace: BorrowedFd<'_>,
        held: Option<Held>,
    ) -> Result<Files, Error> {
        let order = Order {
            data: engine.config.data.clone(),
            runtime: engine.config.runtime.clone(),
            id: container.record.id.clone(),
            place,
            single_id: engine.mapped()?.is_single(),
        };
        let order = serde_json::to_string(&order).expect("plain data always serialises");
        let order = letter(&order).map_err(Error::Start)?;
        let (ours, theirs) = message::pair().map_err(Error::Start)?;
        let mut inherit: Vec<Inherit<'_>> =
            vec![(theirs.as_fd(), CONTROL), (namespace, NAMESPACE), (order.as_fd(), ORDER)];
        inherit.extend(held.as_ref().map(|held| (held.lock(), LOCK)));
        let child = spawn_role(ROLE, &[], &inherit).map_err(Error::Start)?;
        drop(theirs);
        let (container, name) = (container.clone(), key.to_owned());
        let files = Files { socket: Some(ours), child, held, container, name };
        match files.receive()? {
            Answer::Ready => Ok(files),
            other => Err(unexpected(&other)),
        }
    }

    /// The container whose files these are.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// What is at a path; a link as itself, unless the path ends in `/` or `/.`.
    pub fn stat(&self, path: &str) -> Result<PathStat, Error> {
        self.send(&Request::Stat { path: path.to_owned() }, &[])?;
        match self.receive()? {
            Answer::Stat(stat) => Ok(stat),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts to pack what is at a path into a pipe or file; [`Files::finish`] tells how it went.
    pub fn start_pack(&self, path: &str, called: Option<&str>, out: BorrowedFd<'_>) -> Result<(), Error> {
        self.send(&Request::Pack { path: path.to_owned(), called: called.map(str::to_owned) }, &[out])
    }

    /// Starts to extract the archive of a pipe below a directory; [`Files::finish`] tells how it went.
    pub fn start_extract(
        &self,
        path: &str,
        ownership: Ownership,
        archive: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        self.send(&Request::Extract { path: path.to_owned(), ownership }, &[archive])
    }

    /// Waits for the end of packing or extracting; what could not be kept.
    pub fn finish(&self) -> Result<Vec<Note>, Error> {
        match self.receive()? {
            Answer::Done(notes) => Ok(notes),
            other => Err(unexpected(&other)),
        }
    }

    fn changes(
        &self,
        upper: std::path::PathBuf,
        lower: Vec<std::path::PathBuf>,
    ) -> Result<Vec<changes::Change>, Error> {
        self.send(&Request::Changes { upper, lower }, &[])?;
        match self.receive()? {
            Answer::Changes(changes) => Ok(changes),
            other => Err(unexpected(&other)),
        }
    }

    /// The host pids of the processes beside `pid` in its pid namespace.
    pub fn processes(&self, pid: i32) -> Result<Vec<i32>, Error> {
        self.send(&Request::Processes { of: pid }, &[])?;
        match self.receive()? {
            Answer::Processes(pids) => Ok(pids),
            other => Err(unexpected(&other)),
        }
    }

    /// What the processes in the pid namespace of `pid` have used.
    pub fn usage(&self, pid: i32) -> Result<Usage, Error> {
        self.send(&Request::Usage { of: pid }, &[])?;
        match self.receive()? {
            Answer::Usage(usage) => Ok(usage),
            other => Err(unexpected(&other)),
        }
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let json = serde_json::to_vec(request).expect("plain data always serialises");
        match message::send(self.socket(), &json, fds) {
            Err(error) if error.is(nix::errno::Errno::EPIPE) => Err(Error::Gone),
            result => result.map_err(Error::Talk),
        }
    }

    fn receive(&self) -> Result<Answer, Error> {
        let mut json = Vec::new();
        loop {
            let (part, _) = match message::receive(self.socket()) {
                Err(error) if error.is(nix::errno::Errno::ECONNRESET) => return Err(Error::Gone),
                result => result.map_err(Error::Talk)?,
            };
            if part.is_empty() && json.is_empty() {
                return Err(Error::Gone);
            }
            json.extend_from_slice(&part);
            if part.len() < message::MESSAGE_MAX {
                break;
            }
        }
        match serde_json::from_slice(&json).map_err(Error::Answer)? {
            Answer::Refused(Refusal::NotFound(path)) => {
                Err(Error::NotFound { path, container: self.name.clone() })
            }
            Answer::Refused(refusal) => Err(Error::Refused(refusal)),
            answer => Ok(answer),
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("open until dropped").as_fd()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The worker takes its mounts away when it sees the end of its socket; then the lock may go.
        self.socket = None;
        let _ = process::wait_for(self.child);
        self.held = None;
    }
}

/// The changes of a container.
pub fn container_changes(
    engine: &Engine,
    container: &Container,
    key: &str,
) -> Result<Vec<changes::Change>, Error> {
    let places = engine.places(container);
    let lower = places.lower.into_iter().rev().collect();
    Files::at_home(engine, container, key)?.changes(places.upper, lower)
}

fn unexpected(answer: &Answer) -> Error {
    Error::Refused(Refusal::Malformed(format!("unexpected answer {answer:?}")))
}

/// A pipe as large as this user may have one: (read, write).
pub fn large_pipe() -> sys::Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).call("pipe2", String::new)?;
    // A smaller one is only slower.
    let _ = nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE));
    Ok((read.into(), write.into()))
}
