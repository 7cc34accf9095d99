//! Talking to the monitor of a running container.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::attach::{self, request};
use crate::engine::Engine;
use crate::monitor::protocol::{Event, Request};
use crate::monitor::{short_socket_path, socket_path};
use crate::spec::id::ContainerId;
use crate::spec::signal::InvalidSignal;
use crate::store::containers::{self, Held};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error(transparent)]
    Signal(#[from] InvalidSignal),
    /// What failed, and on which container as it was named.
    #[error("cannot {verb} container: {key}")]
    On {
        verb: &'static str,
        key: String,
        #[source]
        source: Box<Error>,
    },
    #[error("cannot talk to the monitor of container {id}")]
    Connection {
        id: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Conversation(#[from] attach::Error),
    #[error("the monitor of container {id} refused: {reason}")]
    Refused { id: String, reason: String },
}

impl Error {
    pub(super) fn on(verb: &'static str, key: &str) -> impl FnOnce(Error) -> Error {
        move |source| Error::On { verb, key: key.to_owned(), source: Box::new(source) }
    }
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Exited(i32),
    /// The monitor has gone meanwhile: the state tells the rest.
    Gone,
}

/// Asks the monitor. `Gone` when there is none.
pub(super) fn ask(engine: &Engine, id: &ContainerId, what: Request) -> Result<Answer, Error> {
    let path = socket_path(&engine.config.runtime, id);
    let connected = short_socket_path(&path)
        .map_err(std::io::Error::from)
        .and_then(|(_directory, short)| UnixStream::connect(short));
    let socket = match connected {
        Ok(socket) => socket,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(Answer::Gone);
        }
        Err(source) => return Err(Error::Connection { id: id.short().to_owned(), source }),
    };
    match request(socket, what) {
        Ok(Event::Exited { code }) => Ok(Answer::Exited(code)),
        Ok(Event::Refused(reason)) => Err(Error::Refused { id: id.short().to_owned(), reason }),
        Ok(_) => Ok(Answer::Done),
        Err(attach::Error::Closed) => Ok(Answer::Gone),
        Err(error) => Err(error.into()),
    }
}

/// How long a monitor may take to put away network devices and processes.
const TEARDOWN: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);

/// Takes the lock of a container that has ended, as soon as its monitor has let go.
pub(super) fn hold_ended(engine: &Engine, id: &ContainerId) -> Result<Held, containers::Error> {
    let until = std::time::Instant::now() + TEARDOWN;
    loop {
        match engine.store.hold_container(id) {
            Err(containers::Error::Busy(_)) if std::time::Instant::now() < until => std::thread::sleep(STEP),
            result => return result,
        }
    }
}
