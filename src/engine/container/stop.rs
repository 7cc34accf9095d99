//! `stop`: the stop signal, some time, then SIGKILL. The monitor carries it out, so it is done even
//! when the client goes away.

use super::control::{self, end};
use crate::engine::Engine;
use crate::spec::signal;

pub use control::Error;

/// docker's default.
const TIMEOUT: i64 = 10;

/// Stops a container; one that does not run is fine. `timeout` is in seconds, negative for ever.
pub fn stop(engine: &Engine, key: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<(), Error> {
    let container = engine.store.find_container(key)?;
    if !container.is_running() {
        return Ok(());
    }
    let ask = || {
        let signal = signal.map_or(Ok(container.record.options.stop_signal), signal::parse)?;
        end(engine, &container, signal, timeout.unwrap_or(TIMEOUT))
    };
    ask().map_err(Error::on("stop", key))
}
