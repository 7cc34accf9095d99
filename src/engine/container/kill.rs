//! STAND-IN
use crate::engine::Engine;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
}

pub fn kill(_engine: &Engine, key: &str, _signal: i32) -> Result<(), Error> {
    Err(Error::NoSuch(key.to_owned()))
}
