//! STAND-IN
use crate::engine::Engine;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
}

pub fn remove(_engine: &Engine, key: &str, _force: bool, _volumes: bool) -> Result<(), Error> {
    Err(Error::NoSuch(key.to_owned()))
}
