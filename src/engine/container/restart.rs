//! `restart`: stop, then start; a container that does not run is started.

use super::{start, stop};
use crate::engine::Engine;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Stop(#[from] stop::Error),
    #[error("cannot restart container {key}")]
    Restart {
        key: String,
        #[source]
        source: Box<stop::Error>,
    },
    #[error(transparent)]
    Start(#[from] start::Error),
}

pub fn restart(engine: &Engine, key: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<(), Error> {
    stop::stop(engine, key, signal, timeout).map_err(|error| match error {
        stop::Error::On { key, source, .. } => Error::Restart { key, source },
        error => Error::Stop(error),
    })?;
    start::start(engine, key, None)?;
    Ok(())
}
