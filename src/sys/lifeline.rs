//! Ends a child when this process ends, however it ends and whatever credentials the child has.
//!
//! PR_SET_PDEATHSIG is cleared by the kernel when the child's credentials change, and a child
//! that joins a user namespace changes them. A pipe's owner signal (fcntl(2), "F_SETSIG") is
//! not: when the last write end closes, the kernel signals the process named as the owner of
//! the read end, which the child itself keeps open by inheritance.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use super::error::{Context, Error, Result};

/// asm-generic/fcntl.h; missing from the libc crate for some targets.
const F_SETSIG: libc::c_int = 10;

/// The two ends before the child exists.
#[derive(Debug)]
pub struct Slack {
    read: OwnedFd,
    write: OwnedFd,
}

/// While this lives, the child lives. Dropping it kills the child with SIGKILL.
#[derive(Debug)]
pub struct Lifeline {
    _write: OwnedFd,
}

impl Slack {
    pub fn new() -> Result<Slack> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).call("pipe2", || "O_CLOEXEC".to_owned())?;
        Ok(Slack { read, write })
    }

    /// The end the child must inherit and keep open.
    pub fn child_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Ties the child to this process.
    pub fn tie(self, child: Pid) -> Result<Lifeline> {
        let fd = self.read.as_raw_fd();
        for (command, value, name) in [
            (libc::F_SETOWN, child.as_raw(), "F_SETOWN"),
            (F_SETSIG, libc::SIGKILL, "F_SETSIG"),
            (libc::F_SETFL, libc::O_ASYNC, "F_SETFL, O_ASYNC"),
        ] {
            // SAFETY: these commands take an integer and touch no memory of ours.
            if unsafe { libc::fcntl(fd, command, value) } < 0 {
                return Err(Error::last("fcntl", name));
            }
        }
        Ok(Lifeline { _write: self.write })
    }
}

/// Lets the next spawned children inherit this descriptor, or not.
///
/// The process must be single-threaded between the two calls around a spawn.
pub fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> Result<()> {
    let flags = if inheritable { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: F_SETFD takes an integer and touches no memory of ours.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) } < 0 {
        return Err(Error::last("fcntl", format!("{}, F_SETFD", fd.as_raw_fd())));
    }
    Ok(())
}
