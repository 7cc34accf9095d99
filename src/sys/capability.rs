//! Capabilities of the calling thread, capabilities(7). Runs in the container's init and in exec
//! sessions, single-threaded, between fork and exec: nothing here allocates unless a call fails.
//!
//! The order that works: load the seccomp filter while CAP_SYS_ADMIN is held, [`apply_bounding`] while
//! CAP_SETPCAP is held, [`keep_caps`], change the ids, [`apply`], execve. A root process keeps `set`
//! over the execve; any other loses it there, and the bounding set still caps what a set-user-id
//! program can regain.

use nix::errno::Errno;

use super::error::{Context, Error, Result};

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit halves per set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability outside `set` (bit n is capability n) from the bounding set, the kernel's
/// newer ones included. Needs CAP_SETPCAP.
pub fn apply_bounding(set: u64) -> Result<()> {
    for number in 0..u64::BITS {
        if set & (1 << number) != 0 {
            continue;
        }
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        if result < 0 {
            match Errno::last() {
                // The first number above this kernel's last capability.
                Errno::EINVAL => break,
                errno => return Err(Error::new("prctl", format!("PR_CAPBSET_DROP, {number}"), errno)),
            }
        }
    }
    Ok(())
}

/// Makes `set` the permitted and effective set and empties the inheritable and ambient ones.
/// Bits that the kernel does not know are ignored by it; a bit that is not permitted now is EPERM.
pub fn apply(set: u64) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |bits: u64| {
        let bits = (bits & u64::from(u32::MAX)) as u32;
        Half { effective: bits, permitted: bits, inheritable: 0 }
    };
    let halves = [half(set), half(set >> 32)];
    // SAFETY: the header and the two halves have capset(2)'s layout for version 3 and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    if result < 0 {
        return Err(Error::last("capset", format!("{set:#x}")));
    }
    // SAFETY: PR_CAP_AMBIENT_CLEAR_ALL takes no pointer.
    let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    if result < 0 {
        return Err(Error::last("prctl", "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL"));
    }
    Ok(())
}

/// Whether the permitted set survives the change from root to another user (PR_SET_KEEPCAPS).
/// The kernel resets it at execve.
pub fn keep_caps(keep: bool) -> Result<()> {
    nix::sys::prctl::set_keepcaps(keep).call("prctl", || format!("PR_SET_KEEPCAPS, {keep}"))
}

/// From now on execve grants nothing: set-user-id bits and file capabilities are ignored.
/// Cannot be undone.
pub fn no_new_privileges() -> Result<()> {
    nix::sys::prctl::set_no_new_privs().call("prctl", || "PR_SET_NO_NEW_PRIVS".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, as all of this is per thread; gives its status lines.
    fn after(change: impl FnOnce() + Send + 'static) -> Vec<String> {
        let status = std::thread::spawn(|| {
            change();
            std::fs::read_to_string("/proc/thread-self/status").expect("status")
        });
        status.join().expect("the thread ends").lines().map(|line| line.replace('\t', " ")).collect()
    }

    #[test]
    fn drops_everything() {
        let status = after(|| apply(0).expect("dropping is always allowed"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}: 0000000000000000")), "{set}: {status:?}");
        }
    }

    #[test]
    fn narrows_the_bounding_set() {
        if nix::unistd::geteuid().is_root() {
            let status = after(|| apply_bounding(0b101).expect("root may"));
            assert!(status.contains(&"CapBnd: 0000000000000005".to_owned()), "{status:?}");
        } else {
            assert!(apply_bounding(0).is_err_and(|e| e.is(Errno::EPERM)));
            assert!(apply(u64::MAX).is_err_and(|e| e.is(Errno::EPERM)));
        }
    }

    #[test]
    fn privileges_can_be_locked() {
        let status = after(|| no_new_privileges().expect("always allowed"));
        assert!(status.contains(&"NoNewPrivs: 1".to_owned()), "{status:?}");
    }
}
