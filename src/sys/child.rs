//! A child process of this one that shall not outlive a guard.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::error::Result;
use super::process::{Pid, pidfd_open, pidfd_signal};

/// Kills the child when dropped, and waits until it has let go of what it had.
#[derive(Debug)]
pub struct Child {
    pidfd: OwnedFd,
}

impl Child {
    /// `pid`: a child of this process that nobody has reaped yet.
    pub fn adopt(pid: Pid) -> Result<Child> {
        Ok(Child { pidfd: pidfd_open(pid)? })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // ESRCH and ECHILD: it is gone already, and reaped, which is all that is wanted.
        if pidfd_signal(&self.pidfd, libc::SIGKILL).is_ok() {
            let _ = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::start_time;

    #[test]
    #[expect(clippy::zombie_processes, reason = "the guard reaps it")]
    fn ends_with_its_guard() {
        let child = std::process::Command::new("sleep").arg("100").spawn().expect("started");
        let pid = child.id().cast_signed();
        let guard = Child::adopt(pid).expect("a descriptor");
        assert!(start_time(pid).is_some());
        drop(guard);
        assert_eq!(start_time(pid), None, "killed and reaped");
    }
}
