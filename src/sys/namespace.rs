//! Namespaces: clone3, setns, unshare, id maps.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;

use super::error::{Context, Error, Result};
use super::process::{Fork, Pid, SingleThreaded};

/// struct clone_args of clone3(2), its first published size.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Forks into new namespaces as a *sibling*: the child's parent is our parent (CLONE_PARENT), so
/// that a short-lived step can make a process that somebody else waits for.
pub fn clone_sibling(_proof: SingleThreaded, namespaces: CloneFlags) -> Result<Fork> {
    let args = CloneArgs {
        flags: (namespaces | CloneFlags::CLONE_PARENT).bits() as u32 as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of the whole address space and
    // runs on its copy of this stack. One thread (the proof), so no lock is left held.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(Error::last("clone3", format!("{namespaces:?}"))),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as Pid)),
    }
}

/// setns(2) with a namespace descriptor or, naming several at once, a pidfd.
pub fn join(fd: impl AsFd, namespaces: CloneFlags) -> Result<()> {
    nix::sched::setns(&fd, namespaces).call("setns", || format!("{}, {namespaces:?}", fd.as_fd().as_raw_fd()))
}

pub fn unshare(namespaces: CloneFlags) -> Result<()> {
    nix::sched::unshare(namespaces).call("unshare", || format!("{namespaces:?}"))
}

/// The user namespace that another namespace belongs to (NS_GET_USERNS of ioctl_nsfs(2)).
pub fn owner_of(namespace: impl AsFd) -> Result<OwnedFd> {
    relative(namespace, NS_GET_USERNS, "NS_GET_USERNS")
}

/// The namespace that a pid or user namespace was made in (NS_GET_PARENT of ioctl_nsfs(2)). EPERM when
/// there is none that the caller is in or above.
pub fn parent_of(namespace: impl AsFd) -> Result<OwnedFd> {
    relative(namespace, NS_GET_PARENT, "NS_GET_PARENT")
}

fn relative(namespace: impl AsFd, request: libc::Ioctl, name: &str) -> Result<OwnedFd> {
    let raw = namespace.as_fd().as_raw_fd();
    // SAFETY: these requests take no argument.
    let fd = unsafe { libc::ioctl(raw, request) };
    if fd < 0 {
        return Err(Error::last("ioctl", format!("{raw}, {name}")));
    }
    // SAFETY: the call returned a new descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// linux/nsfs.h: `_IO(0xb7, 1)`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
/// linux/nsfs.h: `_IO(0xb7, 2)`.
const NS_GET_PARENT: libc::Ioctl = 0xb702;

/// Writes a whole id map in the one write(2) the kernel takes (user_namespaces(7)).
pub fn write_map(path: &str, map: &str) -> Result<()> {
    write_map_at(nix::fcntl::AT_FDCWD, path, map)
}

/// [`write_map`] with a path relative to a directory.
pub fn write_map_at(dir: impl AsFd, path: &str, map: &str) -> Result<()> {
    let fd = nix::fcntl::openat(
        dir,
        path,
        nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .call("open", || path.to_owned())?;
    nix::unistd::write(&fd, map.as_bytes()).call("write", || format!("{path}, {map:?}"))?;
    Ok(())
}
