//! `exec`: another process in a running container.

use std::os::fd::AsFd;

use super::attach::{DetachKeys, Streams, terminal_size};
use super::start::{Error, wait_started, watch};
use crate::engine::Engine;
use crate::monitor::session::Addition;
use crate::spec::container::{ProcessSpec, Status};
use crate::spec::env::merge;
use crate::store::containers::Container;
use crate::sys::process::{pidfd_open, start_time};

#[derive(Debug)]
pub struct Request {
    pub container: String,
    pub argv: Vec<String>,
    pub env: Vec<crate::spec::env::EnvChange>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub tty: bool,
    pub interactive: bool,
    pub detach: bool,
    pub privileged: bool,
    pub keys: DetachKeys,
}

/// Runs the command and returns its exit status; 0 at once with `detach`.
pub fn exec(engine: &Engine, request: Request) -> Result<i32, Error> {
    let container = engine.store.find_container(&request.container)?;
    let not_running = || Error::NotRunning(container.record.id.to_string());
    if container.state.status == Status::Restarting {
        return Err(Error::Restarting(container.record.id.to_string()));
    }
    if !container.is_running() {
        return Err(not_running());
    }
    if container.state.status == Status::Paused {
        return Err(Error::Paused(request.container));
    }
    let init = pidfd_open(container.state.pid).map_err(|_| not_running())?;
    // Looked at after opening: if it is the recorded process now, the descriptor is its.
    if start_time(container.state.pid) != Some(container.state.pid_start_time) {
        return Err(not_running());
    }
    let addition = Addition {
        store: &engine.store,
        container: &container,
        init: init.as_fd(),
        process: process(&container, &request),
        privileged: request.privileged,
        single_id: engine.mapped()?.is_single(),
        attached: !request.detach,
        size: terminal_size(),
    };
    let (ours, _) = addition.start().map_err(Error::Monitor)?;
    if request.detach {
        wait_started(engine, ours)?;
        return Ok(0);
    }
    let Request { interactive, tty, keys, .. } = request;
    let streams = Streams { stdin: interactive, tty, output: true, sig_proxy: true, keys, redraw: false };
    watch(engine, ours, &streams, &mut || ())
}

fn process(container: &Container, request: &Request) -> ProcessSpec {
    let first = &container.record.process;
    let mut env = first.env.clone();
    if request.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    ProcessSpec {
        argv: request.argv.clone(),
        env: merge(&env, &request.env),
        cwd: request.workdir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| first.cwd.clone()),
        user: request.user.clone().unwrap_or_else(|| first.user.clone()),
        tty: request.tty,
        open_stdin: request.interactive,
    }
}
