//! `wait`: block until a container does not run, and tell its exit status.

use super::control::{self, Answer, ask};
use crate::engine::Engine;
use crate::monitor::protocol::Request;

pub use control::Error;

pub fn wait(engine: &Engine, key: &str) -> Result<i32, Error> {
    let container = engine.store.find_container(key)?;
    if !container.is_running() {
        return Ok(container.state.exit_code);
    }
    match ask(engine, &container.record.id, &Request::Wait)? {
        Answer::Exited(code) => Ok(code),
        Answer::Done | Answer::Gone => Ok(engine.store.container(&container.record.id)?.state.exit_code),
    }
}
