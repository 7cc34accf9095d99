//! Giving powers up: capabilities and inherited descriptors.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::error::{Error, Result};

/// capabilities(7), as bit numbers.
pub const CAP_NET_ADMIN: u32 = 12;
pub const CAP_NET_RAW: u32 = 13;

const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets the effective and permitted capabilities to exactly these bit numbers, and the
/// inheritable ones to none (capset(2)). A permitted capability given up is gone for good.
pub fn set_capabilities(effective: &[u32], permitted: &[u32]) -> Result<()> {
    let mut halves = [Half { effective: 0, permitted: 0, inheritable: 0 }; 2];
    for &capability in effective {
        halves[capability as usize / 32].effective |= 1 << (capability % 32);
    }
    for &capability in permitted {
        halves[capability as usize / 32].permitted |= 1 << (capability % 32);
    }
    let mut header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 of the call reads one header and two halves; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    if result < 0 {
        return Err(Error::last("capset", format!("effective {effective:?}, permitted {permitted:?}")));
    }
    Ok(())
}

/// Closes every descriptor from 3 up that is not listed.
///
/// For a process forked without exec that goes on with a few descriptors of its parent's.
/// Owners of the closed ones must never run their destructors here: the caller ends by `_exit`.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let mut next = 3;
    for fd in keep {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = next.max(fd + 1);
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: closing is the contract of `close_all_but`; no memory is involved.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return Ok(());
    }
    if Errno::last() != Errno::ENOSYS {
        return Err(Error::last("close_range", format!("{first}, {last}")));
    }
    // Before Linux 5.9: one by one, up to what this process may have open.
    // SAFETY: sysconf reads a limit and touches no memory of ours.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let limit = u32::try_from(limit).unwrap_or(1024).min(1 << 20);
    for fd in first..=last.min(limit) {
        // SAFETY: as above; EBADF for a number that is not open is harmless.
        unsafe { libc::close(fd.cast_signed()) };
    }
    Ok(())
}
