//! Another user than root where one id is mapped (single-id mode): a user namespace more, below the container's,
//! whose whole map is that user. Runs in init, and for `exec` in the exec session and a fork of it.
//!
//! All else of the container belongs to its own namespace, where the same id of the host is root. So the files of
//! an image belong to whoever looks, and the program has no rights over the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

use super::identity::resolve;
use crate::spec::user::UserSpec;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::message;
use crate::sys::namespace::{join, owner_of, unshare, write_map_at};
use crate::sys::path::Root;
use crate::sys::process::{Fork, Pid, SingleThreaded, exit_now, fork, pidfd_signal, set_ids, wait_for};

/// Becomes `uid` and `gid` in a new user namespace, with all its capabilities.
///
/// `proc` is a /proc that shows this process, which must be dumpable.
pub fn become_user(uid: u32, gid: u32, proc: BorrowedFd<'_>) -> sys::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    write_map_at(proc, "self/setgroups", "deny")?;
    write_map_at(proc, "self/uid_map", &format!("{uid} 0 1\n"))?;
    write_map_at(proc, "self/gid_map", &format!("{gid} 0 1\n"))
}

/// [`become_user`] by the container's own /proc.
pub fn become_user_here(uid: u32, gid: u32) -> sys::Result<()> {
    become_user(uid, gid, open_proc()?.as_fd())
}

fn open_proc() -> sys::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(AT_FDCWD, "/proc", flags, Mode::empty()).call("open", || "/proc".to_owned())
}

/// The container's own user namespace: that of its first process may be one of ours below it.
pub fn namespace_of_container(init: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    let pid = pid_of(init)?;
    let path = format!("/proc/{pid}/ns/uts");
    let namespace = nix::fcntl::open(Path::new(&path), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .call("open", || path)?;
    // Looked at after opening: while the process lives, nobody else has its number.
    pidfd_signal(init, 0)?;
    owner_of(namespace)
}

/// What fdinfo tells of a pidfd (pidfd_open(2)).
fn pid_of(pidfd: BorrowedFd<'_>) -> sys::Result<Pid> {
    let path = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd));
    let text = std::fs::read_to_string(&path).call("read", || path.clone())?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or_else(|| sys::Error::new("read", path, nix::errno::Errno::ESRCH))
}

/// Makes the namespace for `user` before the caller joins a running container; `None` when that is root.
///
/// The last stretch before a program runs in the container must not be dumpable, lest the container looks into it,
/// and then the kernel lets nobody write its maps. So a fork makes the namespace, which enters the container's files
/// but none of its pids. A user that cannot be found is left to `launch` to report.
pub fn prepare(
    user: &UserSpec,
    container: BorrowedFd<'_>,
    init: BorrowedFd<'_>,
    proof: SingleThreaded,
) -> sys::Result<Option<OwnedFd>> {
    let (ours, theirs) = message::pair()?;
    let child = match fork(proof)? {
        Fork::Child => {
            drop(ours);
            let made = make(user, container, init);
            let sent = made.and_then(|namespace| match namespace {
                Some(namespace) => message::send(&theirs, b"+", &[namespace.as_fd()]),
                None => Ok(()),
            });
            exit_now(if sent.is_ok() { 0 } else { 1 })
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let (_, mut fds) = message::receive(&ours)?;
    wait_for(child)?;
    Ok(fds.pop())
}

fn make(user: &UserSpec, container: BorrowedFd<'_>, init: BorrowedFd<'_>) -> sys::Result<Option<OwnedFd>> {
    let proc = open_proc()?;
    join(container, CloneFlags::CLONE_NEWUSER)?;
    set_ids(0, 0, None)?;
    join(init, CloneFlags::CLONE_NEWNS)?;
    let Ok(identity) = resolve(&Root::open(Path::new("/"))?, user) else { return Ok(None) };
    if (identity.uid, identity.gid) == (0, 0) {
        return Ok(None);
    }
    become_user(identity.uid, identity.gid, proc.as_fd())?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(&proc, "self/ns/user", flags, Mode::empty())
        .call("open", || "self/ns/user".to_owned())
        .map(Some)
}
