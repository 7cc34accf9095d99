//! `restart`: stop, then start; a container that does not run is started.

use super::{start, stop};
use crate::engine::Engine;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Stop(#[from] stop::Error),
    #[error(transparent)]
    Start(#[from] start::Error),
}

pub fn restart(engine: &Engine, key: &str, signal: Option<i32>, timeout: Option<i64>) -> Result<(), Error> {
    stop::stop(engine, key, signal, timeout)?;
    start::start(engine, key, None)?;
    Ok(())
}
