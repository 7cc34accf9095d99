//! `update`: other limits for a container, now and whenever it is started. Runs in the client.

use std::fs;

use crate::cgroup::limits;
use crate::engine::Engine;
use crate::spec::resources::{Available, Invalid, Resources};
use crate::store::containers;
use crate::store::events::of_container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Containers(#[from] containers::Error),
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
}

/// Changes one container. The result says which limits do not hold for one that runs, and why.
pub fn update(engine: &Engine, key: &str, change: &Change) -> Result<Option<String>, Error> {
    change.resources.check(&available())?;
    let container = engine.store.find_container(key)?;
    let id = &container.record.id;
    let updated = engine.store.update_container(id, |updated| {
        let conflict = |source| Error::Conflict { id: id.to_string(), source };
        updated.resources.change(&change.resources).map_err(conflict)
    })?;
    engine.store.note(&of_container(&container, "update", &[]));
    // It may have been started meanwhile.
    let container = engine.store.container(id)?;
    if !container.is_running() {
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
