//! Loads a compiled seccomp filter, seccomp(2). Runs in the container's init and in exec sessions,
//! single-threaded, shortly before execve.

use super::error::{Error, Result};

/// Puts the filter on the calling thread for good; children and programs it executes inherit it.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`. Without no_new_privs this needs CAP_SYS_ADMIN in the caller's
/// user namespace (else EACCES). Does not allocate unless it fails.
pub fn load(program: &[libc::sock_filter], flags: u32) -> Result<()> {
    let args = || format!("SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions", program.len());
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Error::new("seccomp", args(), nix::errno::Errno::EINVAL));
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
    if result < 0 { Err(Error::last("seccomp", args())) } else { Ok(()) }
}
