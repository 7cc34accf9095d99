//! `kill`: a signal for the container's first process.

use super::control::{self, Answer, ask, end};
use crate::engine::Engine;
use crate::monitor::protocol::Request;
use crate::spec::signal;

pub use control::Error;

pub fn kill(engine: &Engine, key: &str, signal: &str) -> Result<(), Error> {
    send(engine, key, signal).map_err(Error::on("kill", key))
}

fn send(engine: &Engine, key: &str, signal: &str) -> Result<(), Error> {
    let signal = signal::parse(signal)?;
    let container = engine.store.find_container(key)?;
    let id = &container.record.id;
    if !container.is_running() {
        return Err(Error::NotRunning(id.to_string()));
    }
    // As docker: nobody can resist SIGKILL, so the end is waited for, and `start` may follow at once.
    if signal == libc::SIGKILL {
        return end(engine, &container, signal, 0);
    }
    match ask(engine, id, &Request::Kill { signal })? {
        Answer::Gone => Err(Error::NotRunning(id.to_string())),
        Answer::Done | Answer::Exited(_) => Ok(()),
    }
}
