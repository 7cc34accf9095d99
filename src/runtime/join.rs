//! Adding a process to a running container: role exec session, which joins the container's
//! namespaces and forks into its pid namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

use super::channel::{InitEnd, InitMessage, LaunchFailure, MonitorEnd, pair};
use super::launch::{Ids, Launch, Stdio, launch};
use super::one_user;
use super::pretender::Pretender;
use crate::security::SecurityPlan;
use crate::spec::container::ProcessSpec;
use crate::sys;
use crate::sys::namespace::join;
use crate::sys::path::Root;
use crate::sys::process::{Fork, Pid, SingleThreaded, exit_now, fork, set_ids, set_parent_death_signal};
use crate::sys::pty;

/// Who joins what.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The container's first process.
    pub init: BorrowedFd<'a>,
    pub host_network: bool,
    /// In single-id mode.
    pub pretender: Option<Pretender>,
    pub process: &'a ProcessSpec,
    pub security: &'a SecurityPlan,
    pub pipes: Option<(OwnedFd, OwnedFd, OwnedFd)>,
}

/// Joins and forks. The caller keeps its files but is in the container's namespaces afterwards.
pub fn add(mut joining: Joining<'_>) -> sys::Result<(Pid, MonitorEnd)> {
    let proof = SingleThreaded::prove()?;
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWNET, !joining.host_network);
    let ids = enter(&mut joining, flags, proof)?;
    let (ours, theirs) = pair()?;
    match fork(proof)? {
        Fork::Parent(pid) => Ok((pid, ours)),
        Fork::Child => {
            drop(ours);
            let failure = become_program(joining, ids, &theirs);
            let _ = theirs.send(&InitMessage::Failed(failure), None);
            exit_now(127)
        }
    }
}

/// Enters the container's namespaces.
fn enter(joining: &mut Joining<'_>, flags: CloneFlags, proof: SingleThreaded) -> sys::Result<Ids> {
    let Some(pretender) = joining.pretender.take() else {
        hide()?;
        join(joining.init, flags)?;
        return Ok(Ids::Mapped);
    };
    // A user that cannot be parsed is one that `launch` reports.
    let user = joining.process.user.parse().unwrap_or_default();
    let container = one_user::namespace_of_container(joining.init)?;
    let namespace = one_user::prepare(&user, container.as_fd(), joining.init, proof)?;
    hide()?;
    join(container, CloneFlags::CLONE_NEWUSER)?;
    set_ids(0, 0, None)?;
    join(joining.init, flags.difference(CloneFlags::CLONE_NEWUSER))?;
    Ok(Ids::Single { pretender, namespace })
}

/// Nobody in the container may look into this process before it has become the program.
fn hide() -> sys::Result<()> {
    sys::process::set_dumpable(false)
}

fn become_program(joining: Joining<'_>, ids: Ids, channel: &InitEnd) -> LaunchFailure {
    match prepare(joining.pipes, matches!(ids, Ids::Single { .. }), channel) {
        Ok(stdio) => launch(Launch {
            process: joining.process,
            security: joining.security,
            stdio,
            ids,
            make_directory: false,
            init: false,
        }),
        Err(error) => LaunchFailure::setup(&error),
    }
}

fn prepare(
    pipes: Option<(OwnedFd, OwnedFd, OwnedFd)>,
    single_id: bool,
    channel: &InitEnd,
) -> sys::Result<Stdio> {
    set_parent_death_signal(libc::SIGKILL)?;
    set_ids(0, 0, if single_id { None } else { Some(&[]) })?;
    nix::unistd::setsid().map_err(|errno| sys::Error::new("setsid", "", errno))?;
    let (stdio, master) = match pipes {
        Some((stdin, stdout, stderr)) => (Stdio::Pipes { stdin, stdout, stderr }, None),
        None => {
            let root = Root::open(Path::new("/"))?;
            let devpts =
                root.resolve(Path::new("/dev/pts"), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
            let (master, slave) = pty::open_in(&devpts)?;
            (Stdio::Terminal(slave), Some(master))
        }
    };
    channel.send(
        &InitMessage::Ready { lost: Vec::new(), warnings: Vec::new() },
        master.as_ref().map(|fd| fd.as_fd()),
    )?;
    channel.wait_go()?;
    Ok(stdio)
}
