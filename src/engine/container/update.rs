//! `update`: other limits or another restart policy for a container, now and whenever it is started. Runs in the client.

use std::fs;

use crate::cgroup::limits;
use crate::engine::Engine;
use crate::spec::resources::{Available, Invalid, Resources};
use crate::spec::restart::RestartPolicy;
use crate::store::containers;
use crate::store::events::of_container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(
        "Cannot update container {0}: Restart policy cannot be updated because AutoRemove is enabled for the container"
    )]
    AutoRemoved(String),
    #[error("Cannot update container {id}")]
    Conflict {
        id: String,
        #[source]
        source: Invalid,
    },
}

/// What is to be different.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub resources: Resources,
    pub restart: Option<RestartPolicy>,
}

/// Changes one container. The result says which limits do not hold for one that runs, and why.
pub fn update(engine: &Engine, key: &str, change: &Change) -> Result<Option<String>, Error> {
    change.resources.check(&available())?;
    let container = engine.store.find_container(key)?;
    let id = &container.record.id;
    if change.restart.is_some_and(|policy| policy != RestartPolicy::No)
        && container.record.options.auto_remove
    {
        return Err(Error::AutoRemoved(id.to_string()));
    }
    let updated = engine.store.update_container(id, |updated| {
        // The monitor looks at it when the program ends.
        updated.restart = change.restart.or(updated.restart);
        let conflict = |source| Error::Conflict { id: id.to_string(), source };
        updated.resources.change(&change.resources).map_err(conflict)
    })?;
    engine.store.note(&of_container(&container, "update", &[]));
    // It may have been started meanwhile.
    let container = engine.store.container(id)?;
    if !container.state.status.has_process() || change.resources == Resources::default() {
        return Ok(None);
    }
    Ok(limits::apply(container.cgroup().as_deref(), &updated.resources).sentence())
}

/// What this host has; empty where it does not tell.
fn available() -> Available {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = read("/sys/devices/system/cpu/online");
    Available { cpus, mems: read("/sys/devices/system/node/has_memory") }
}
