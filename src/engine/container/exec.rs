//! `exec`: another process in a running container.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::attach::{DetachKeys, Streams, terminal_size};
use super::start::{Error, wait_started, watch};
use crate::engine::Engine;
use crate::monitor::session;
use crate::spec::container::{NetworkMode, ProcessSpec};
use crate::spec::env::merge;
use crate::spec::id::ContainerId;
use crate::store::containers::Container;
use crate::store::events::{Pending, of_container};
use crate::sys::process::{letter, pidfd_open, random, spawn_role, start_time};

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
    if !container.is_running() {
        return Err(not_running());
    }
    let init = pidfd_open(container.state.pid).map_err(|_| not_running())?;
    // Looked at after opening: if it is the recorded process now, the descriptor is its.
    if start_time(container.state.pid) != Some(container.state.pid_start_time) {
        return Err(not_running());
    }
    let exec_id = ContainerId::from_bytes(random().map_err(Error::Random)?).to_string();
    let note = |action: String| {
        engine.store.note(&of_container(&container, action, &[("execID", exec_id.clone())]));
    };
    let order = order(engine, &container, &request, &exec_id)?;
    // As docker: the command, a space, its arguments.
    let line = format!("{} {}", request.argv[0], request.argv[1..].join(" "));
    note(format!("exec_create: {line}"));
    let order = serde_json::to_string(&order).expect("plain data always serialises");
    let (ours, theirs) = UnixStream::pair().map_err(Error::Connection)?;
    let order = letter(&order).map_err(Error::Monitor)?;
    let inherit =
        [(theirs.as_fd(), session::CLIENT), (init.as_fd(), session::INIT), (order.as_fd(), session::ORDER)];
    spawn_role(session::ROLE, &[], &inherit).map_err(Error::Monitor)?;
    drop(theirs);
    note(format!("exec_start: {line}"));
    if request.detach {
        wait_started(engine, ours)?;
        return Ok(0);
    }
    let Request { interactive, tty, keys, .. } = request;
    let streams = Streams { stdin: interactive, tty, output: true, sig_proxy: true, keys, redraw: false };
    watch(engine, ours, &streams, &mut || ())
}

fn order(
    engine: &Engine,
    container: &Container,
    request: &Request,
    exec_id: &str,
) -> Result<session::Order, Error> {
    let first = &container.record.process;
    let mut env = first.env.clone();
    if request.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    let process = ProcessSpec {
        argv: request.argv.clone(),
        env: merge(&env, &request.env),
        cwd: request.workdir.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| first.cwd.clone()),
        user: request.user.clone().unwrap_or_else(|| first.user.clone()),
        tty: request.tty,
        open_stdin: request.interactive,
    };
    let mut options = container.record.options.clone();
    if request.privileged {
        // All capabilities, and the container's system call filter all the same.
        (options.cap_add, options.cap_drop) = (vec!["ALL".to_owned()], Vec::new());
    }
    let host_network = options.network == NetworkMode::Host;
    let single_id = engine.mapped()?.is_single();
    Ok(session::Order {
        process,
        options,
        host_network,
        single_id,
        attached: !request.detach,
        data: engine.config.data.clone(),
        die: Pending::new(container, "exec_die", &[("execID", exec_id.to_owned())]),
        size: terminal_size(),
    })
}
