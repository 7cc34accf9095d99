//! `pause`: nothing of a container runs any more, until `unpause`. The monitor carries it out.

use super::control::{self, Answer, ask};
use crate::engine::Engine;
use crate::monitor::protocol::Request;
use crate::spec::container::Status;
use crate::store::containers;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is already paused")]
    Paused(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error(transparent)]
    Control(#[from] control::Error),
}

/// How it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The container's cgroup is frozen.
    Freezer,
    /// Its processes were sent SIGSTOP, which their parents can see and they can undo.
    Signals,
}

pub fn pause(engine: &Engine, key: &str) -> Result<Means, Error> {
    let container = engine.store.find_container(key)?;
    let id = &container.record.id;
    if container.state.status == Status::Paused {
        return Err(Error::Paused(id.to_string()));
    }
    if container.state.status == Status::Restarting {
        return Err(Error::Restarting(id.to_string()));
    }
    if !container.is_running() {
        return Err(Error::NotRunning(id.to_string()));
    }
    match ask(engine, id, &Request::Pause)? {
        Answer::Done => Ok(container.cgroup().map_or(Means::Signals, |_| Means::Freezer)),
        Answer::Gone | Answer::Exited(_) => Err(Error::NotRunning(id.to_string())),
    }
}
