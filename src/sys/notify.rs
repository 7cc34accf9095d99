//! Answers to system calls that a filter put off, seccomp_unotify(2). Runs in the pretender of single-id mode.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::error::{Error, Result};
use super::process::Pid;

/// The descriptor on which the calls of a filter arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A system call whose caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    id: u64,
    /// The calling thread, as our own pid namespace numbers it.
    pub thread: Pid,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

/// What the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Value(i64),
    Error(Errno),
    /// The kernel carries the call out.
    TrueCall,
}

impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Listener {
        Listener(fd)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP of linux/seccomp.h.
const SYNC_WAKE_UP: u64 = 1;

impl Listener {
    /// Has callers and us wake each other on one processor, which is quicker. Since Linux 6.6; others go without.
    pub fn wake_in_turn(&self) {
        // SAFETY: this request takes a number in place of a pointer.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
    }

    /// Waits for a call; `None` when the caller was killed meanwhile, or a signal came.
    pub fn receive(&self) -> Result<Option<Call>> {
        // SAFETY: integers only, for which all zero is a value; the kernel demands it zeroed.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request's number carries the size of the structure, so a kernel whose structure is
        // another one refuses it; else it fills `notice`, which outlives the call.
        let result =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) };
        if result < 0 {
            return match Errno::last() {
                Errno::ENOENT | Errno::EINTR => Ok(None),
                errno => Err(Error::new("ioctl", "SECCOMP_IOCTL_NOTIF_RECV", errno)),
            };
        }
        Ok(Some(Call {
            id: notice.id,
            thread: notice.pid.cast_signed(),
            arch: notice.data.arch,
            number: notice.data.nr.cast_unsigned(),
            args: notice.data.args,
        }))
    }

    /// Whether the caller still waits: until this is asked, its pid may be another's.
    pub fn still_waits(&self, call: &Call) -> bool {
        // SAFETY: the kernel reads eight bytes at the address of `id`, which outlives the call.
        unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const call.id) == 0
        }
    }

    /// Answers; a caller that is gone needs none.
    pub fn answer(&self, call: &Call, answer: Answer) -> Result<()> {
        let mut response = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
        match answer {
            Answer::Value(value) => response.val = value,
            Answer::Error(errno) => response.error = -(errno as i32),
            Answer::TrueCall => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // SAFETY: as in `receive`; the kernel only reads `response`.
        let result =
            unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
        match result {
            0 => Ok(()),
            _ if Errno::last() == Errno::ENOENT => Ok(()),
            _ => Err(Error::last("ioctl", "SECCOMP_IOCTL_NOTIF_SEND")),
        }
    }
}
