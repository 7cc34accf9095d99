//! Signals as descriptors: blocked, then read in a poll loop.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::{Context, Result};

/// Blocked signals that are read from a descriptor.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks `set` in this thread and opens it for reading. Children inherit the mask: see
    /// [`unblock_all`].
    pub fn block(set: &SigSet) -> Result<Signals> {
        set.thread_block().call("sigprocmask", || "SIG_BLOCK".into())?;
        let fd = SignalFd::with_flags(set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .call("signalfd", String::new)?;
        Ok(Signals(fd))
    }

    /// The next pending signal number.
    pub fn next(&self) -> Option<i32> {
        self.0.read_signal().ok().flatten().map(|info| info.ssi_signo as i32)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Everything a client passes on to its container (docker's `--sig-proxy`: all but CHLD, PIPE,
/// URG, WINCH and the two that cannot be caught), plus what the client itself needs.
pub fn forwardable() -> SigSet {
    let mut set = SigSet::all();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGPIPE,
        Signal::SIGURG,
        Signal::SIGKILL,
        Signal::SIGSTOP,
        // Faults of the client itself, and job control of its own shell.
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGSYS,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGCONT,
    ] {
        set.remove(signal);
    }
    set
}

/// Unblocks every signal, before exec.
pub fn unblock_all() -> Result<()> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .call("sigprocmask", || "SIG_SETMASK".into())
}

/// Gives every signal its default action, before exec (an ignored one would stay ignored).
pub fn reset_handlers() {
    // The kernel's struct sigaction, all zero: SIG_DFL, no flags, an empty mask. Not by the C
    // library, which refuses its own two signals although posix_spawn(3) leaves both ignored.
    let default = [0u64; 4];
    for number in 1..=64u64 {
        // SAFETY: the structure is as long as the kernel reads, with a mask of 8 bytes, and nothing
        // is written back; for KILL and STOP the call just fails.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null_mut::<u64>(), 8u64)
        };
    }
}

/// Ignores SIGPIPE: a write to a closed pipe then fails with EPIPE instead.
pub fn ignore_broken_pipe() {
    // SAFETY: SIG_IGN is a valid action for SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
