//! `rm`: its name is free and its record gone when this returns.

use super::control::{self, end, hold_ended};
use crate::engine::Engine;
use crate::monitor;
use crate::spec::container::Status;
use crate::store::containers::{self, Container};
use crate::store::events::of_container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error(
        "cannot remove container {name:?}: container is {status}: stop the container before removing or force remove"
    )]
    Running { name: String, status: &'static str },
    #[error("cannot remove container {name:?}: container is paused and must be unpaused first")]
    Paused { name: String },
    #[error(transparent)]
    Containers(containers::Error),
    #[error(transparent)]
    Control(#[from] control::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
}

impl From<containers::Error> for Error {
    fn from(error: containers::Error) -> Error {
        match error {
            containers::Error::NoSuch(key) => Error::NoSuch(key),
            error => Error::Containers(error),
        }
    }
}

/// Removes a container; a running one only with `force`, by SIGKILL. Anonymous volumes, which
/// `_volumes` is about, do not exist yet.
pub fn remove(engine: &Engine, key: &str, force: bool, _volumes: bool) -> Result<(), Error> {
    let id = match engine.store.find_container(key) {
        Ok(container) if container.state.status == Status::Paused && !force => {
            return Err(Error::Paused { name: container.name });
        }
        Ok(container) if container.is_running() && !force => {
            let status = container.state.status.name();
            return Err(Error::Running { name: container.name, status });
        }
        Ok(container) => {
            let id = container.record.id.clone();
            if container.is_running() {
                end(engine, &container, libc::SIGKILL, 0)?;
            }
            id
        }
        // A damaged record must not make its container immortal.
        Err(containers::Error::BadRecord { id, .. }) if force => {
            id.parse().map_err(|_| Error::NoSuch(key.to_owned()))?
        }
        Err(error) => return Err(error.into()),
    };
    let held = match hold_ended(engine, &id, force) {
        // A container of `--rm` is removed by its monitor.
        Err(control::Error::Containers(containers::Error::NoSuch(_))) => return Ok(()),
        result => result?,
    };
    let container = engine.store.container(&id);
    if let Ok(last) = held.last_state() {
        monitor::kill_orphan(&last);
    }
    let removed = engine.store.withdraw_container(&held)?;
    // A damaged record says nothing worth writing down.
    let _ = container.map(|container| engine.store.note(&of_container(&container, "destroy", &[])));
    removed.delete(engine.namespace()?)?;
    Ok(())
}

/// Removes those containers of `--rm` whose monitor was killed before it could: they have ended and
/// nobody holds them. Returns the others. One that cannot be removed now is left for the next try.
pub fn sweep_abandoned(engine: &Engine, containers: Vec<Container>) -> Vec<Container> {
    let abandoned = |container: &Container| {
        container.record.options.auto_remove && container.state.status == Status::Exited
    };
    let (gone, kept): (Vec<_>, Vec<_>) = containers.into_iter().partition(abandoned);
    for container in gone {
        let Ok(held) = engine.store.hold_container(&container.record.id) else { continue };
        monitor::kill_orphan(&container.state);
        let Ok(removed) = engine.store.withdraw_container(&held) else { continue };
        // Its files are out of sight; the next sweep takes what is left of them.
        let _ = engine.namespace().map(|namespace| removed.delete(namespace));
    }
    kept
}
