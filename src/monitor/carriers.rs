//! The processes that carry a container's network: the user-mode stack and the port forwarder. Role monitor.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::protocol::Failure;
use super::setup::{failure, pipe};
use crate::network::userstack::Running as Stack;
use crate::network::{forwarder, plan, ports};
use crate::spec::container::ContainerState;
use crate::sys;
use crate::sys::child::Child;
use crate::sys::error::Context;
use crate::sys::process::{Fork, Pid, SingleThreaded, exit_now, fork};

/// They end with this, and so their ports are free.
#[derive(Debug)]
pub struct Carriers {
    _forwarder: Option<Child>,
    _stack: Option<Stack>,
}

impl Carriers {
    pub fn new(forwarder: Option<Child>, stack: Option<Stack>) -> Carriers {
        Carriers { _forwarder: forwarder, _stack: stack }
    }
}

/// Forks the port forwarder of the container whose first process is `init`; the descriptor tells how it
/// started. `None` without ports.
pub fn forward(bound: Vec<ports::BoundPort>, init: Pid) -> sys::Result<Option<(Child, OwnedFd)>> {
    if bound.is_empty() {
        return Ok(None);
    }
    let namespace = |kind: &str| {
        let path = PathBuf::from(format!("/proc/{init}/ns/{kind}"));
        nix::fcntl::open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .call("open", || format!("{path:?}"))
    };
    let target = forwarder::ForwardTarget {
        userns: namespace("user")?,
        netns: namespace("net")?,
        monitor: nix::unistd::getpid(),
    };
    let (report, report_write) = pipe()?;
    match fork(SingleThreaded::prove()?)? {
        Fork::Parent(pid) => Ok(Some((Child::adopt(pid)?, report))),
        Fork::Child => {
            drop(report);
            let _ = sys::signal::unblock_all();
            let _ = forwarder::run(bound, &target, report_write);
            exit_now(1)
        }
    }
}

/// Waits for the user-mode stack. One that nobody asked for by name may fail: then the container
/// has loopback only, and says so.
pub fn await_stack(
    stack: Option<Stack>,
    network: &plan::Plan,
    state: &mut ContainerState,
    warnings: &mut Vec<String>,
) -> Result<Option<Stack>, Failure> {
    let Some(mut stack) = stack else { return Ok(None) };
    match stack.wait_ready(Duration::from_secs(20)) {
        Ok(lost) => {
            state.lost.extend(lost);
            Ok(Some(stack))
        }
        Err(error) => {
            let failed = failure(&error);
            let without = network.without_stack(&failed.message).ok_or(failed)?;
            state.network = without.stack.name().to_owned();
            warnings.extend(without.warnings);
            state.lost.extend(without.lost);
            Ok(None)
        }
    }
}
