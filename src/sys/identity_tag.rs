//! A number that a process carries and its children inherit, for another process to read and change: the soft
//! limit of RLIMIT_LOCKS. Used by the pretender of single-id mode.
//!
//! That limit counted file locks in Linux 2.4 and limits nothing since. The kernel copies limits at fork and
//! keeps them at exec, exactly as it treats ids; and prlimit(2) lets a process of the same user change them.

use super::error::{Error, Result};
use super::process::Pid;

/// RLIMIT_LOCKS, the same on all machines we are built for.
pub const RESOURCE: u32 = 10;
/// What the numbers begin at, far from what anybody would set.
const BASE: u64 = 1 << 40;

fn prlimit(pid: Pid, new: Option<&libc::rlimit64>) -> Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads one structure from `new` unless that is null, and writes one to `old`;
    // both outlive the call.
    match unsafe { libc::syscall(libc::SYS_prlimit64, pid, RESOURCE, new, &raw mut old) } {
        0 => Ok(old),
        _ => Err(Error::last("prlimit64", format!("{pid}, RLIMIT_LOCKS"))),
    }
}

/// The number that the process of a thread carries; `None`: none. 0 is the caller itself.
pub fn read(thread: Pid) -> Result<Option<u32>> {
    let limit = prlimit(thread, None)?.rlim_cur;
    Ok(limit.checked_sub(BASE).and_then(|tag| u32::try_from(tag).ok()))
}

/// Gives the process of a thread a number. Fails with EINVAL where the hard limit is too low.
pub fn write(thread: Pid, tag: u32) -> Result<()> {
    let rlim_max = prlimit(thread, None)?.rlim_max;
    prlimit(thread, Some(&libc::rlimit64 { rlim_cur: BASE + u64::from(tag), rlim_max })).map(drop)
}

#[cfg(test)]
mod tests {
    use nix::unistd::{ForkResult, fork};

    #[test]
    fn a_child_inherits_it() {
        let before = super::prlimit(0, None).expect("always allowed");
        super::write(0, 7).expect("no hard limit is set on this");
        // SAFETY: the child only makes system calls.
        let inherited = match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                super::super::process::exit_now(if super::read(0).is_ok_and(|tag| tag == Some(7)) {
                    0
                } else {
                    1
                })
            }
            ForkResult::Parent { child } => super::super::process::wait_for(child.as_raw()).expect("wait"),
        };
        assert_eq!(inherited.code(), 0);
        super::prlimit(0, Some(&before)).expect("as it was");
        assert_eq!(super::read(0).expect("always allowed"), None);
    }
}
