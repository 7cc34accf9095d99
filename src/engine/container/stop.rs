//! STAND-IN
use crate::engine::Engine;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
}

pub fn stop(_engine: &Engine, key: &str, _signal: Option<i32>, _timeout: Option<i64>) -> Result<(), Error> {
    Err(Error::NoSuch(key.to_owned()))
}
