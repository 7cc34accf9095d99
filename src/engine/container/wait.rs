//! `wait`: block until something is true of a container, and tell its exit status.

use std::time::Duration;

use super::control::{self, Answer, ask};
use crate::engine::Engine;
use crate::monitor::protocol::Request;
use crate::spec::container::Status;
use crate::store::containers::{self, Container};

pub use control::Error;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No run is going on; between two runs of a restart policy the end of the next is waited for.
    NotRunning,
    /// A run ends, though none may be going on now.
    NextExit,
    /// It does not exist any more.
    Removed,
    /// It is in this state.
    Is(Status),
}

/// How often the state is looked at where nobody tells.
const STEP: Duration = Duration::from_millis(20);

/// The exit status of the run that ended; `None` where the condition is about no end.
pub fn wait(engine: &Engine, key: &str, condition: Condition) -> Result<Option<i32>, Error> {
    let first = engine.store.find_container(key)?;
    let id = first.record.id.clone();
    let mut now = Ok(first.clone());
    let mut code = first.state.exit_code;
    loop {
        let container = match now {
            Err(containers::Error::NoSuch(_)) if condition == Condition::Removed => return Ok(Some(code)),
            now => now?,
        };
        code = container.state.exit_code;
        match condition {
            Condition::NotRunning => return until_ended(engine, &container).map(Some),
            Condition::NextExit if container.is_running() => {
                return until_ended(engine, &container).map(Some);
            }
            Condition::NextExit if container.state.finished_at != first.state.finished_at => {
                return Ok(Some(code));
            }
            Condition::Removed if container.is_running() => code = until_ended(engine, &container)?,
            Condition::Is(status) if container.state.status == status => {
                return Ok((status == Status::Exited).then_some(code));
            }
            Condition::NextExit | Condition::Removed | Condition::Is(_) => {}
        }
        std::thread::sleep(STEP);
        now = engine.store.container(&id);
    }
}

/// The exit status of the run that goes on, or of the last one.
fn until_ended(engine: &Engine, container: &Container) -> Result<i32, Error> {
    if !container.is_running() {
        return Ok(container.state.exit_code);
    }
    match ask(engine, &container.record.id, &Request::Wait)? {
        Answer::Exited(code) => Ok(code),
        Answer::Done | Answer::Gone => Ok(engine.store.container(&container.record.id)?.state.exit_code),
    }
}
