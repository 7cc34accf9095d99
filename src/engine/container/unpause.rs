//! `unpause`: a paused container goes on where it was. The monitor carries it out.

use super::control::{self, Answer, ask};
use crate::engine::Engine;
use crate::monitor::protocol::Request;
use crate::spec::container::Status;
use crate::store::containers;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error("Container {0} is not paused")]
    NotPaused(String),
    #[error(transparent)]
    Control(#[from] control::Error),
}

pub fn unpause(engine: &Engine, key: &str) -> Result<(), Error> {
    let container = engine.store.find_container(key)?;
    let id = &container.record.id;
    if container.state.status != Status::Paused {
        return Err(Error::NotPaused(id.to_string()));
    }
    match ask(engine, id, &Request::Unpause)? {
        Answer::Done => Ok(()),
        Answer::Gone | Answer::Exited(_) => Err(Error::NotPaused(id.to_string())),
    }
}
