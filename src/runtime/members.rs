//! Who is in a container: its pid namespace and those below. Runs in the files worker, which may look at
//! processes of subordinate ids, and in the monitor, which owns the namespace and so may, too.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use crate::sys;
use crate::sys::namespace::parent_of;
use crate::sys::process::{Pid, pidfd_open, pidfd_signal};

/// How long all processes together may take to stop.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(1);

fn place(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/pid"))
}

/// What tells one pid namespace from another: the inode of its file.
fn namespace_of(pid: Pid) -> Option<u64> {
    Some(std::fs::metadata(place(pid)).ok()?.ino())
}

/// A pid namespace, and whose processes are not in it for sure.
struct Namespace {
    wanted: u64,
    own: Option<u64>,
}

impl Namespace {
    fn of(pid: Pid) -> Option<Namespace> {
        Some(Namespace { wanted: namespace_of(pid)?, own: namespace_of(std::process::id().cast_signed()) })
    }

    fn holds(&self, pid: Pid) -> bool {
        match namespace_of(pid) {
            None => false,
            Some(found) if found == self.wanted => true,
            Some(found) if Some(found) == self.own => false,
            Some(_) => self.is_above(pid).unwrap_or(false),
        }
    }

    /// Whether the namespace of a process was made below this one, at any depth.
    fn is_above(&self, pid: Pid) -> Option<bool> {
        let mut below: OwnedFd = File::open(place(pid)).ok()?.into();
        loop {
            // The host's has no parent, and ours is the highest that we are shown.
            let Ok(above) = parent_of(below.as_fd()) else { return Some(false) };
            if fstat(&above).ok()?.st_ino == self.wanted {
                return Some(true);
            }
            below = above;
        }
    }
}

/// The host pids of all processes in the pid namespace of `pid` and below it, ascending.
pub fn in_namespace_of(pid: Pid) -> Vec<Pid> {
    Namespace::of(pid).map(|namespace| members(&namespace)).unwrap_or_default()
}

fn members(namespace: &Namespace) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<Pid> = pids.filter(|pid| namespace.holds(*pid)).collect();
    pids.sort_unstable();
    pids
}

/// Stops every process in the pid namespace of `init` and below it (SIGSTOP), until a round finds none that
/// runs: meanwhile they may make new ones and continue stopped ones.
///
/// # Errors
/// EBUSY when they are still at it after some seconds; all are continued then.
pub fn stop_all(init: Pid) -> sys::Result<()> {
    let gone = || sys::Error::new("kill", init.to_string(), Errno::ESRCH);
    let namespace = Namespace::of(init).ok_or_else(gone)?;
    let until = Instant::now() + PATIENCE;
    let mut told = BTreeSet::new();
    loop {
        let mut quiet = true;
        for pid in members(&namespace) {
            // One that waits in the kernel stops before it comes back.
            let runs = !matches!(state(pid), Some('T' | 't' | 'Z' | 'X' | 'D') | None);
            if told.insert(pid) || runs {
                quiet = false;
                signal(&namespace, pid, libc::SIGSTOP);
            }
        }
        if quiet {
            return Ok(());
        }
        if Instant::now() > until {
            continue_all(init);
            return Err(sys::Error::new("kill", "all processes, SIGSTOP", Errno::EBUSY));
        }
        std::thread::sleep(STEP);
    }
}

/// Continues every process in the pid namespace of `init` and below it (SIGCONT).
pub fn continue_all(init: Pid) {
    let Some(namespace) = Namespace::of(init) else { return };
    for pid in members(&namespace) {
        signal(&namespace, pid, libc::SIGCONT);
    }
}

/// Signals a process of the namespace, and never a later one with its pid.
fn signal(namespace: &Namespace, pid: Pid, signal: i32) {
    if let Ok(pidfd) = pidfd_open(pid)
        // Looked at after opening.
        && namespace.holds(pid)
    {
        // One that has ended needs no signal.
        let _ = pidfd_signal(&pidfd, signal);
    }
}

/// Field 3 of `/proc/PID/stat`.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command name in field 2 may hold anything; the last ')' ends it.
    let end = stat.iter().rposition(|b| *b == b')')?;
    stat.get(end + 2).map(|byte| char::from(*byte))
}
