//! A container's own cgroup (v2), where the host lets the user make one. Made, frozen and removed by the
//! monitor; read, and given limits, by clients, too.
//!
//! It is a leaf beside the monitor's cgroup where controllers are handed on there, else below it, where
//! there are none: a cgroup that holds processes cannot hand on any (the rule of no internal
//! processes, cgroups(7)). Freezing and counting processor time need no controller.

pub mod limits;
pub mod usage;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};

use crate::sys;
use crate::sys::error::Context;

/// Where the hierarchy is on a host with v2 only, and on one with both versions.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// What a container's cgroup is called before its id.
const PREFIX: &str = "coracle-";
/// How long processes may take to freeze.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the kernel may take to let go of ended processes.
const LINGER: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(1);

/// A cgroup for one run of a container; it is removed when this is dropped.
#[derive(Debug)]
pub struct Leaf {
    directory: PathBuf,
    /// The monitor's own.
    outside: PathBuf,
}

impl Leaf {
    /// Makes one; `None` where the host has not delegated anything to this user.
    pub fn make(id: &str) -> Option<Leaf> {
        let own = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?.to_owned();
        let is_v2 = |path: &&&str| statfs(**path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let outside = Path::new(MOUNTS.iter().find(is_v2)?).join(own);
        let directory = base(&outside)?.join(format!("{PREFIX}{id}"));
        if fs::create_dir(&directory).is_err() {
            // What a monitor left that was killed.
            remove(&directory);
            fs::create_dir(&directory).ok()?;
        }
        Some(Leaf { directory, outside })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Moves this process into it.
    pub fn enter(&self) -> sys::Result<()> {
        put(&self.directory, "cgroup.procs", "0")
    }

    /// Moves this process back to where the monitor is.
    pub fn leave(&self) -> sys::Result<()> {
        put(&self.outside, "cgroup.procs", "0")
    }

    /// Whether a process is in it.
    pub fn holds(&self, pid: i32) -> bool {
        let pids = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        pids.lines().any(|line| line.parse() == Ok(pid))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// The path of a process's cgroup below the mount point, from `/proc/PID/cgroup`; `None` for the root,
/// which is nobody's to divide.
fn own_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/")).filter(|path| !path.is_empty())
}

/// Where a cgroup for a container can be made by the owner of the cgroup `own`.
fn base(own: &Path) -> Option<&Path> {
    let may = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    // Who goes in must be able to come back.
    if !may(own) || !may(&own.join("cgroup.procs")) {
        return None;
    }
    let hands_on = |parent: &&Path| {
        may(parent)
            && may(&parent.join("cgroup.procs"))
            && fs::read_to_string(parent.join("cgroup.subtree_control"))
                .is_ok_and(|list| !list.trim().is_empty())
    };
    Some(own.parent().filter(hands_on).unwrap_or(own))
}

/// Writes into a file of a cgroup.
fn put(directory: &Path, file: &str, value: &str) -> sys::Result<()> {
    let path = directory.join(file);
    let written = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()));
    written.call("write", || format!("{path:?}, {value:?}"))
}

/// A file to move processes into a cgroup by, from any namespace: write their pids to it.
pub fn entrance(directory: &Path) -> sys::Result<fs::File> {
    let path = directory.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(&path).call("open", || format!("{path:?}"))
}

/// Freezes every process of a cgroup; none runs when this returns.
///
/// # Errors
/// EBUSY when they did not freeze in time; they go on then.
pub fn freeze(directory: &Path) -> sys::Result<()> {
    put(directory, "cgroup.freeze", "1")?;
    let until = Instant::now() + PATIENCE;
    while !is_frozen(&fs::read_to_string(directory.join("cgroup.events")).unwrap_or_default()) {
        if Instant::now() > until {
            let _ = thaw(directory);
            return Err(sys::Error::new("write", format!("{directory:?}, cgroup.freeze"), Errno::EBUSY));
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn is_frozen(events: &str) -> bool {
    events.lines().any(|line| line == "frozen 1")
}

pub fn thaw(directory: &Path) -> sys::Result<()> {
    put(directory, "cgroup.freeze", "0")
}

/// Removes a container's cgroup and those that the container made below it. One that still has
/// processes stays.
pub fn remove(directory: &Path) {
    let is_ours =
        directory.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    if !is_ours {
        return;
    }
    let until = Instant::now() + LINGER;
    while !remove_tree(directory) && Instant::now() < until {
        std::thread::sleep(STEP);
    }
}

/// True when it is gone.
fn remove_tree(directory: &Path) -> bool {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
        _ => return true,
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(directory).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_cgroup() {
        let hybrid = "2:cpu:/\n1:name=systemd:/a\n0::/user.slice/x.scope\n";
        assert_eq!(own_group(hybrid), Some("user.slice/x.scope"));
        assert_eq!(own_group("0::/\n"), None);
        assert_eq!(own_group("1:cpu:/a\n"), None);
    }

    #[test]
    fn frozen_or_not() {
        assert!(is_frozen("populated 1\nfrozen 1\n"));
        assert!(!is_frozen("populated 1\nfrozen 0\n"));
        assert!(!is_frozen(""));
    }

    #[test]
    fn only_a_parent_that_hands_controllers_on_is_better() {
        let dir = tempfile::tempdir().expect("temp dir");
        let own = dir.path().join("shell");
        fs::create_dir(&own).expect("made");
        assert_eq!(base(&own), None);
        fs::write(own.join("cgroup.procs"), "").expect("written");
        assert_eq!(base(&own), Some(own.as_path()));
        fs::write(dir.path().join("cgroup.procs"), "").expect("written");
        fs::write(dir.path().join("cgroup.subtree_control"), "\n").expect("written");
        assert_eq!(base(&own), Some(own.as_path()));
        fs::write(dir.path().join("cgroup.subtree_control"), "memory pids\n").expect("written");
        assert_eq!(base(&own), Some(dir.path()));
        assert_eq!(base(&dir.path().join("nowhere")), None);
    }

    #[test]
    fn nothing_else_is_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let ours = dir.path().join("coracle-1");
        fs::create_dir_all(ours.join("a/b")).expect("made");
        let other = dir.path().join("other");
        fs::create_dir(&other).expect("made");
        remove(&ours);
        remove(&other);
        assert!(!ours.exists() && other.exists());
    }
}
