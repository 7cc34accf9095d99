//! Talking to the monitor of a running container.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::attach::{self, request};
use crate::engine::Engine;
use crate::monitor::protocol::{Event, Request};
use crate::monitor::{short_socket_path, socket_path};
use crate::spec::id::ContainerId;
use crate::spec::signal::InvalidSignal;
use crate::store::containers::{self, Container};
use crate::store::held::Held;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("container {0} was started meanwhile")]
    Runs(String),
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
    #[error(
        "the monitor of container {0} runs, but does not listen: kill it, then start the container again"
    )]
    Unreachable(String),
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

/// A connection to the monitor; `None` when there is none.
pub(super) fn connect(runtime: &Path, id: &ContainerId) -> std::io::Result<Option<UnixStream>> {
    let connected = short_socket_path(&socket_path(runtime, id))
        .map_err(std::io::Error::from)
        .and_then(|(_directory, short)| UnixStream::connect(short));
    match connected {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        connected => connected.map(Some),
    }
}

/// Asks the monitor. `Gone` when there is none, and never before the state says so, too: a monitor that
/// leaves takes its socket away first, so that nobody asks it who would get no answer.
pub(super) fn ask(engine: &Engine, id: &ContainerId, what: &Request) -> Result<Answer, Error> {
    let until = Instant::now() + TEARDOWN;
    loop {
        let connected = connect(&engine.config.runtime, id);
        let connected =
            connected.map_err(|source| Error::Connection { id: id.short().to_owned(), source })?;
        let answer = connected.map(|socket| request(socket, what));
        match answer {
            Some(Ok(Event::Exited { code })) => return Ok(Answer::Exited(code)),
            Some(Ok(Event::Refused(reason))) => {
                return Err(Error::Refused { id: id.short().to_owned(), reason });
            }
            Some(Ok(_)) => return Ok(Answer::Done),
            None | Some(Err(attach::Error::Closed)) if !runs(engine, id)? => return Ok(Answer::Gone),
            None | Some(Err(attach::Error::Closed)) if Instant::now() < until => std::thread::sleep(STEP),
            None => return Err(Error::Unreachable(id.short().to_owned())),
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

/// Asks for the end, until there is none to come: a restart policy may have been quicker than the wish.
pub(super) fn end(engine: &Engine, container: &Container, signal: i32, timeout: i64) -> Result<(), Error> {
    let id = &container.record.id;
    let monitor = container.state.monitor_pid;
    loop {
        ask(engine, id, &Request::Stop { signal, timeout })?;
        match engine.store.container(id) {
            Ok(now) if now.is_running() && now.state.monitor_pid == monitor => {}
            _ => return Ok(()),
        }
    }
}

fn runs(engine: &Engine, id: &ContainerId) -> Result<bool, Error> {
    match engine.store.container(id) {
        // One of `--rm` goes with its monitor.
        Err(containers::Error::NoSuch(_)) => Ok(false),
        container => Ok(container?.is_running()),
    }
}

/// How long a monitor may take to put away network devices and processes.
const TEARDOWN: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);

/// Takes the lock of a container that has ended, as soon as its monitor has let go. One that was just being
/// started and runs now is ended with `force`.
pub(super) fn hold_ended(engine: &Engine, id: &ContainerId, force: bool) -> Result<Held, Error> {
    let until = Instant::now() + TEARDOWN;
    loop {
        match engine.store.hold_container(id) {
            Err(containers::Error::Busy(_)) if Instant::now() < until => match runs(engine, id)? {
                true if force => {
                    ask(engine, id, &Request::Stop { signal: libc::SIGKILL, timeout: 0 })?;
                }
                true => return Err(Error::Runs(id.short().to_owned())),
                false => std::thread::sleep(STEP),
            },
            result => return Ok(result?),
        }
    }
}
