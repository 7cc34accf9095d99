//! `rename`: another name for a container, running or not.

use crate::engine::Engine;
use crate::spec::name::{ContainerName, InvalidName};
use crate::store::containers::{self, Container};
use crate::store::events::of_container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Neither old nor new names may be empty")]
    Empty,
    #[error(transparent)]
    Containers(containers::Error),
    #[error("Renaming a container with the same name as its current name")]
    Same,
    #[error("Error when allocating new name")]
    Name(#[source] InvalidName),
    #[error("Error when allocating new name")]
    Taken(#[source] containers::Error),
}

/// Gives the container the name. Its old one is free when this returns.
pub fn rename(engine: &Engine, key: &str, name: &str) -> Result<(), Error> {
    if key.is_empty() || name.is_empty() {
        return Err(Error::Empty);
    }
    let container = engine.store.find_container(key).map_err(Error::Containers)?;
    let bare = name.strip_prefix('/').unwrap_or(name);
    if bare == container.name {
        return Err(Error::Same);
    }
    // docker tells the new name with its slash.
    let new: ContainerName = bare.parse().map_err(|error: InvalidName| Error::Name(error.slashed()))?;
    match engine.store.rename_container(&container.record.id, new.as_str()) {
        Err(error @ containers::Error::NameTaken { .. }) => Err(Error::Taken(error)),
        result => {
            result.map_err(Error::Containers)?;
            let old = format!("/{}", container.name);
            let renamed = Container { name: new.as_str().to_owned(), ..container };
            engine.store.note(&of_container(&renamed, "rename", &[("oldName", old)]));
            Ok(())
        }
    }
}
