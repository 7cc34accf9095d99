//! STAND-IN until the store is merged: the shape that `cli` and `engine` rely on.

use crate::spec::container::{ContainerRecord, ContainerState};
use crate::spec::id::ContainerId;

#[derive(Debug, Clone)]
pub struct Container {
    pub record: ContainerRecord,
    pub name: String,
    pub state: ContainerState,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error("multiple containers found with the prefix {0}")]
    Ambiguous(String),
}

impl super::Store {
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        Ok(Vec::new())
    }

    pub fn find_container(&self, key: &str) -> Result<Container, Error> {
        Err(Error::NoSuch(key.to_owned()))
    }

    pub fn container_log_path(&self, id: &ContainerId) -> std::path::PathBuf {
        std::path::PathBuf::from(id.as_str())
    }
}
