//! `start`: give a container that exists a monitor, and wait until its program runs or fails to.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::attach::{self, DetachKeys, Outcome, Streams, running};
use crate::engine::Engine;
use crate::monitor::protocol::{Failure, FailureKind};
use crate::monitor::{self, Order};
use crate::rootfs::driver::Driver;
use crate::spec::container::{ImageUse, Status};
use crate::store::containers::{self, Container};
use crate::store::events::of_container;
use crate::sys::process::{letter, spawn_role};

#[derive(Debug)]
pub struct AttachOptions {
    pub interactive: bool,
    pub keys: DetachKeys,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Create(#[from] super::create::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    #[error(transparent)]
    Image(#[from] crate::store::images::Error),
    #[error("cannot make the image's layers ready for native overlay")]
    Whiteouts(#[source] crate::store::layers::Error),
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error(
        "image with reference {image} was found but its platform ({platform}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform { image: String, platform: String, wanted: String },
    #[error("invalid mount config: bind source path does not exist: {0}")]
    NoBindSource(std::path::PathBuf),
    #[error("failed to initialize logging driver: journald is not enabled on this host: there is no {0}")]
    NoJournal(&'static str),
    #[error("cannot start the container's monitor")]
    Monitor(#[source] crate::sys::Error),
    #[error("cannot make a container id")]
    Random(#[source] crate::sys::Error),
    #[error("cannot talk to the container's monitor")]
    Connection(#[source] std::io::Error),
    #[error(transparent)]
    Attach(#[from] attach::Error),
    #[error("the container's monitor was killed")]
    MonitorLost,
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error("You cannot attach to a restarting container, wait until it is running")]
    BetweenRuns,
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    #[error("cannot start a paused container, try unpause instead")]
    StartPaused,
    #[error("You cannot attach to a paused container, unpause it first")]
    AttachPaused,
    #[error("You cannot attach to a stopped container, start it first")]
    Stopped,
    #[error("read escape sequence")]
    Detached,
    #[error("ended by signal {0}; the container goes on")]
    Ended(i32),
    #[error("{0}")]
    CommandNotFound(Failure),
    #[error("{0}")]
    CommandNotExecutable(Failure),
    #[error("{0}")]
    Failed(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure.kind {
            FailureKind::Setup => Error::Failed(failure),
            FailureKind::NotExecutable => Error::CommandNotExecutable(failure),
            FailureKind::NotFound => Error::CommandNotFound(failure),
        }
    }
}

/// Starts a container; one that runs already is left alone. With `attach` the result is its exit
/// status, or `None` when the user left it.
pub fn start(engine: &Engine, key: &str, attach: Option<AttachOptions>) -> Result<Option<i32>, Error> {
    let container = engine.store.find_container(key)?;
    if container.state.status == Status::Paused {
        return Err(Error::StartPaused);
    }
    if container.is_running() {
        let Some(AttachOptions { interactive, keys }) = attach else { return Ok(None) };
        let options = running::Options { stdin: interactive, sig_proxy: true, keys };
        return unless_left(running::attach(engine, &container, &options));
    }
    match attach {
        None => {
            let started = wait_started(engine, launch(engine, &container, false)?);
            unless_started_beside(engine, &container, started).map(|()| None)
        }
        Some(options) => {
            engine.store.note(&of_container(&container, "attach", &[]));
            let socket = launch(engine, &container, true)?;
            let process = &container.record.process;
            let streams = Streams {
                stdin: options.interactive && process.open_stdin,
                tty: process.tty,
                output: true,
                sig_proxy: true,
                keys: options.keys,
                redraw: false,
            };
            unless_left(watch(engine, socket, &streams, &mut || ()))
        }
    }
}

/// Another `start` at the same moment had the container: what was asked for is done.
fn unless_started_beside(
    engine: &Engine,
    container: &Container,
    started: Result<(), Error>,
) -> Result<(), Error> {
    let runs = || engine.store.container(&container.record.id).is_ok_and(|now| now.is_running());
    match started {
        Err(Error::Failed(_)) if runs() => Ok(()),
        result => result,
    }
}

/// `None` when the user left the container.
pub(super) fn unless_left(result: Result<i32, Error>) -> Result<Option<i32>, Error> {
    match result {
        Err(Error::Detached) => Ok(None),
        result => result.map(Some),
    }
}

/// Starts the monitor; the socket is its first client.
pub(super) fn launch(engine: &Engine, container: &Container, attached: bool) -> Result<UnixStream, Error> {
    let mapped = engine.mapped()?;
    let driver = engine.storage_driver()?;
    show_whiteouts(engine, container, &driver)?;
    let order = Order {
        data: engine.config.data.clone(),
        runtime: engine.config.runtime.clone(),
        path: engine.config.path.to_string_lossy().into_owned(),
        id: container.record.id.clone(),
        driver,
        maps: mapped.maps().clone(),
        attached,
        size: if attached { attach::terminal_size() } else { None },
        lost: mapped.warning.iter().cloned().collect(),
    };
    let order = serde_json::to_string(&order).expect("plain data always serialises");
    let (ours, theirs) = UnixStream::pair().map_err(Error::Connection)?;
    let order = letter(&order).map_err(Error::Monitor)?;
    let inherit =
        [(theirs.as_fd(), monitor::CLIENT), (mapped.fd(), monitor::HOME), (order.as_fd(), monitor::ORDER)];
    spawn_role(monitor::ROLE, &[], &inherit).map_err(Error::Monitor)?;
    Ok(ours)
}

/// What was written for fuse-overlayfs alone is turned into what native overlay knows. The other way
/// round nothing is to be done: fuse-overlayfs understands both.
fn show_whiteouts(engine: &Engine, container: &Container, driver: &Driver) -> Result<(), Error> {
    let (ImageUse::Stored { layers, .. }, Driver::Overlay) = (&container.record.image, driver) else {
        return Ok(());
    };
    let was_fuse = !matches!(container.state.driver.as_str(), "" | "overlay");
    let upper = was_fuse.then(|| engine.store.container_dir(&container.record.id).join("upper"));
    let namespace = engine.namespace()?;
    engine.store.show_whiteouts(namespace, layers, upper.as_deref()).map_err(Error::Whiteouts)
}

pub(super) fn wait_started(engine: &Engine, socket: UnixStream) -> Result<(), Error> {
    attach::wait_started(socket, &mut |text| (engine.warn)(text))?.map_err(Error::from)
}

/// Stays with the process until it ends.
pub(super) fn watch(
    engine: &Engine,
    socket: UnixStream,
    streams: &Streams,
    started: &mut dyn FnMut(),
) -> Result<i32, Error> {
    match attach::attach(socket, streams, started, &mut |text| (engine.warn)(text))? {
        Outcome::Exited(code) => Ok(code),
        Outcome::Failed(failure) => Err(failure.into()),
        Outcome::Detached => Err(Error::Detached),
        Outcome::Ended(signal) => Err(Error::Ended(signal)),
        Outcome::Lost => Err(Error::MonitorLost),
    }
}
