//! Loads a compiled seccomp filter, seccomp(2). Runs in the container's init and in exec sessions,
//! single-threaded, shortly before execve.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::error::{Error, Result};
use super::notify::Listener;

/// Puts the filter on the calling thread for good; children and programs it executes inherit it.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`. Without no_new_privs this needs CAP_SYS_ADMIN in the caller's
/// user namespace (else EACCES). Does not allocate unless it fails.
pub fn load(program: &[libc::sock_filter], flags: u32) -> Result<()> {
    set_filter(program, flags).map(drop)
}

/// As [`load`], for a filter that puts calls off: gives the descriptor on which they arrive. EBUSY where an
/// earlier filter has one already.
pub fn load_with_listener(program: &[libc::sock_filter], flags: u32) -> Result<Listener> {
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    // A caller whose call was taken up shall not be sent back to make it again by any signal but a deadly one.
    // Since Linux 5.19.
    let killable = flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;
    let fd = match set_filter(program, killable) {
        Err(error) if error.is(Errno::EINVAL) => set_filter(program, flags)?,
        result => result?,
    };
    // SAFETY: with this flag the call returns a new descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// What seccomp(2) returns.
fn set_filter(program: &[libc::sock_filter], flags: u32) -> Result<RawFd> {
    let args = || format!("SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions", program.len());
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Error::new("seccomp", args(), Errno::EINVAL));
    };
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which borrows `program` for the call,
    // and writes nothing back.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_ulong::from(flags),
            &raw const fprog,
        )
    };
    // A descriptor is an int.
    if result < 0 { Err(Error::last("seccomp", args())) } else { Ok(result as RawFd) }
}
