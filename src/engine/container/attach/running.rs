//! `attach`: sit down at a container that runs. Several clients may at once: all see the output, and
//! what each of them types is taken.

use super::{DetachKeys, Streams};
use crate::engine::Engine;
use crate::engine::container::control::connect;
use crate::engine::container::start::{Error, watch};
use crate::spec::container::Status;
use crate::store::containers::Container;
use crate::store::events::of_container;

#[derive(Debug, Clone)]
pub struct Options {
    pub stdin: bool,
    /// Signals go to the container instead of ending this command.
    pub sig_proxy: bool,
    pub keys: DetachKeys,
}

/// Stays with a running container until it ends; its exit status.
///
/// # Errors
/// [`Error::Stopped`] when it does not run, [`Error::Detached`] when the user left it.
pub fn attach(engine: &Engine, container: &Container, options: &Options) -> Result<i32, Error> {
    let id = &container.record.id;
    if !container.is_running() {
        return Err(Error::Stopped);
    }
    match container.state.status {
        Status::Restarting => return Err(Error::BetweenRuns),
        Status::Paused => return Err(Error::AttachPaused),
        _ => {}
    }
    let process = &container.record.process;
    let streams = Streams {
        stdin: options.stdin && process.open_stdin,
        tty: process.tty,
        output: true,
        // Signals are typed as keys where there is a terminal.
        sig_proxy: options.sig_proxy && !process.tty,
        keys: options.keys.clone(),
        redraw: true,
    };
    let socket = connect(&engine.config.runtime, id).map_err(Error::Connection)?.ok_or(Error::Stopped)?;
    engine.store.note(&of_container(container, "attach", &[]));
    match watch(engine, socket, &streams, &mut || ()) {
        // It ended while we came in: the state tells how.
        Err(Error::MonitorLost) => match engine.store.container(id) {
            Ok(ended) if !ended.is_running() => Ok(ended.state.exit_code),
            _ => Err(Error::MonitorLost),
        },
        result => result,
    }
}
