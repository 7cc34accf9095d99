//! `diff`: what a container changed in its files.

use super::files::{self, changes::Change, container_changes};
use crate::engine::Engine;
use crate::spec::container::ImageUse;
use crate::store::containers;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Files(#[from] files::Error),
    #[error("the image `host` has no layers to compare with")]
    HostImage,
}

/// The changes, by name, parents first.
pub fn diff(engine: &Engine, key: &str) -> Result<Vec<Change>, Error> {
    let container = engine.store.find_container(key)?;
    if matches!(container.record.image, ImageUse::Host) {
        return Err(Error::HostImage);
    }
    Ok(container_changes(engine, &container, key)?)
}
