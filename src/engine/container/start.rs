//! STAND-IN
use crate::engine::Engine;

#[derive(Debug)]
pub struct AttachOptions {
    pub interactive: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error("exec: {argv0:?}: not found in the container")]
    CommandNotFound { argv0: String },
    #[error("exec: {argv0:?}: permission denied")]
    CommandNotExecutable { argv0: String },
}

pub fn start(_engine: &Engine, key: &str, _attach: Option<AttachOptions>) -> Result<Option<i32>, Error> {
    Err(Error::NoSuch(key.to_owned()))
}
