//! Creating a container's first process: what the monitor does, and the short-lived step between.
//!
//! ```text
//! monitor --fork--> step: joins the user's mapped namespace,
//!                   clone3(CLONE_PARENT | all namespaces) --> init, a child of the monitor
//!                   writes init's id maps, tells the monitor the pid, closes `mapped`,
//!                   and ends (with fuse-overlayfs: after it has handed the mount to init)
//! ```

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::CloneFlags;

use super::channel::{InitEnd, MonitorEnd};
use super::init::{self, InitPlan};
use crate::cgroup::Leaf;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::message;
use crate::sys::mount::clone_tree;
use crate::sys::namespace::{clone_sibling, join, unshare, write_map};
use crate::sys::process::{Fork, Pid, SingleThreaded, exec, exit_now, fork, pidfd_open, put_at, set_ids};

/// What the step needs besides init's plan.
#[derive(Debug)]
pub struct Creation<'a> {
    /// The user's mapped namespace.
    pub home: std::os::fd::BorrowedFd<'a>,
    /// Contents of init's uid_map and gid_map.
    pub maps: (String, String),
    pub single_id: bool,
    pub host_network: bool,
    pub fuse: Option<Fuse>,
    /// Where init is to be from its first moment on.
    pub cgroup: Option<Leaf>,
}

/// fuse-overlayfs for this container.
#[derive(Debug)]
pub struct Fuse {
    pub command: Vec<CString>,
    /// The directory its relative paths start from.
    pub base: PathBuf,
    pub target: PathBuf,
    /// Where init receives the mount.
    pub hand_over: OwnedFd,
}

/// A created, not yet running container process.
#[derive(Debug)]
pub struct Created {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub channel: MonitorEnd,
    /// The step's pid, to be reaped.
    pub step: Pid,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("cannot create the container's first process")]
    System(#[from] sys::Error),
    #[error("cannot create the container's namespaces: {0}")]
    Step(String),
}

fn namespaces(host_network: bool) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWNET, !host_network);
    flags
}

fn pipe() -> sys::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).call("pipe2", String::new)
}

/// Forks the step and waits until init exists with its maps written.
pub fn create(creation: &Creation<'_>, plan: InitPlan<'_>) -> Result<Created, CreateError> {
    let proof = SingleThreaded::prove()?;
    let (report, report_write) = pipe()?;
    let (monitor_end, init_end) = super::channel::pair()?;
    let step = match fork(proof)? {
        Fork::Child => {
            drop(report);
            drop(monitor_end);
            let failed = run_step(creation, plan, init_end, report_write.as_fd(), proof);
            let _ = nix::unistd::write(&report_write, format!("!{failed}").as_bytes());
            exit_now(1)
        }
        Fork::Parent(pid) => pid,
    };
    drop((init_end, report_write, plan));
    let mut said = String::new();
    let mut report = std::fs::File::from(report);
    let mut buffer = [0; 4096];
    // One write of the step; only a failure or the end of file after it.
    let length = report.read(&mut buffer).unwrap_or(0);
    said.push_str(&String::from_utf8_lossy(&buffer[..length]));
    match said.parse::<Pid>() {
        Ok(pid) => Ok(Created { pid, pidfd: pidfd_open(pid)?, channel: monitor_end, step }),
        Err(_) => {
            let _ = sys::process::wait_for(step);
            Err(CreateError::Step(said.trim_start_matches('!').to_owned()))
        }
    }
}

/// The step itself; returns only with what failed.
fn run_step(
    creation: &Creation<'_>,
    plan: InitPlan<'_>,
    channel: InitEnd,
    report: std::os::fd::BorrowedFd<'_>,
    proof: SingleThreaded,
) -> sys::Error {
    let tried = (|| {
        if let Some(leaf) = &creation.cgroup {
            // The cgroup namespace that init gets begins where this step is. The monitor looks whether
            // it worked.
            let _ = leaf.enter();
        }
        join(creation.home, CloneFlags::CLONE_NEWUSER)?;
        set_ids(0, 0, if creation.single_id { None } else { Some(&[]) })?;
        let (mapped, mapped_write) = pipe()?;
        let pid = match clone_sibling(proof, namespaces(creation.host_network))? {
            Fork::Child => {
                drop(mapped_write);
                init::run(plan, channel, mapped)
            }
            Fork::Parent(pid) => pid,
        };
        if creation.single_id {
            write_map(&format!("/proc/{pid}/setgroups"), "deny")?;
        }
        write_map(&format!("/proc/{pid}/uid_map"), &creation.maps.0)?;
        write_map(&format!("/proc/{pid}/gid_map"), &creation.maps.1)?;
        drop(mapped_write);
        nix::unistd::write(report, pid.to_string().as_bytes()).call("write", || "report".into())?;
        // Init's copy is what the monitor listens to; ours would hide its end.
        drop((channel, plan));
        match &creation.fuse {
            Some(fuse) => {
                // Frozen, it would keep everybody waiting who looks at the container's files.
                creation.cgroup.as_ref().map_or(Ok(()), Leaf::leave)?;
                mount_fuse(pid, fuse, creation.single_id, proof)
            }
            None => exit_now(0),
        }
    })();
    match tried {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Has fuse-overlayfs mount in a mount namespace of this step's own and hands the mount to init.
///
/// Not in init's mount namespace: its pivot_root would make the container's root the program's own
/// (pivot_root(2) moves every process of the namespace), which then waits for itself. Not in its
/// pid namespace either, where the container could see and kill it.
fn mount_fuse(
    pid: Pid,
    fuse: &Fuse,
    single_id: bool,
    proof: SingleThreaded,
) -> sys::Result<std::convert::Infallible> {
    let init = pidfd_open(pid)?;
    join(&init, CloneFlags::CLONE_NEWUSER)?;
    set_ids(0, 0, if single_id { None } else { Some(&[]) })?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    nix::unistd::chdir(&fuse.base).call("chdir", || format!("{:?}", fuse.base))?;
    match fork(proof)? {
        Fork::Child => {
            let failed = exec_fuse(&fuse.command).err();
            exit_now(if failed.is_some() { 127 } else { 0 })
        }
        // It goes to the background once the mount is there.
        Fork::Parent(child) => match sys::process::wait_for(child)? {
            sys::process::Ended::Exited(0) => {}
            _ => exit_now(1),
        },
    }
    let mount = clone_tree(nix::fcntl::AT_FDCWD, &fuse.target, false)?;
    // Only init's copy shall keep the file system, and so the program, alive.
    nix::mount::umount2(&fuse.target, nix::mount::MntFlags::MNT_DETACH)
        .call("umount2", || format!("{:?}", fuse.target))?;
    message::send(&fuse.hand_over, b"+", &[mount.as_fd()])?;
    exit_now(0)
}

fn exec_fuse(command: &[CString]) -> sys::Result<std::convert::Infallible> {
    let null = nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_RDWR, nix::sys::stat::Mode::empty())
        .call("open", || "/dev/null".into())?;
    put_at(&null, 0)?;
    put_at(&null, 1)?;
    put_at(&null, 2)?;
    sys::process::cloexec_from(3)?;
    sys::signal::unblock_all()?;
    let env = [c"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()];
    Err(exec(&command[0], command, &env))
}
