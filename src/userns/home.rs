//! The process that keeps the user's mapped namespace alive: role `home`, host namespaces but for
//! its user namespace, one thread, leaves when idle.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sched::CloneFlags;

use super::Error;
use crate::config::Config;
use crate::sys::memory::release_code;
use crate::sys::message;
use crate::sys::namespace::unshare;
use crate::sys::path::adopt_fd;
use crate::sys::process::{Pid, set_ids, spawn_role, wait_for};

/// `argv[1]` of the role.
pub const ROLE: &str = "__home";
const CONTROL: i32 = 3;
/// How long nobody may have asked for the namespace before home leaves.
const IDLE: Duration = Duration::from_secs(300);
const UNSHARED: &[u8] = b"unshared";
const MAPPED: &[u8] = b"mapped";
const MAPPED_SINGLE: &[u8] = b"mapped single";
const READY: &[u8] = b"ready";

/// A home whose namespace has no map yet. Dropping it ends it.
#[derive(Debug)]
pub struct Unmapped {
    pub pid: Pid,
    control: OwnedFd,
}

/// Starts home and waits until its namespace exists.
pub fn start(config: &Config) -> Result<Unmapped, Error> {
    let (control, theirs) = message::pair().map_err(Error::Home)?;
    let runtime = config.runtime.to_string_lossy();
    let pid = spawn_role(ROLE, &[&runtime], &[(theirs.as_fd(), CONTROL)]).map_err(Error::Home)?;
    drop(theirs);
    let home = Unmapped { pid, control };
    let (answer, _) = message::receive(&home.control).map_err(Error::Home)?;
    if answer == UNSHARED {
        return Ok(home);
    }
    let errno = std::str::from_utf8(&answer).ok().and_then(|text| text.parse().ok()).unwrap_or(libc::EPERM);
    Err(Error::NoUserNamespaces {
        advice: advice(),
        source: crate::sys::Error::new("unshare", "CLONE_NEWUSER", nix::errno::Errno::from_raw(errno)),
    })
}

/// Which knob is closed, as a command for the administrator.
fn advice() -> &'static str {
    let is = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces=15000"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone=1"
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for this binary"
    } else {
        "see whether a security module or an outer container forbids it"
    }
}

impl Unmapped {
    /// Tells home that its map is written and lets it go on by itself.
    pub fn release(self, single: bool) -> Result<(), Error> {
        let word = if single { MAPPED_SINGLE } else { MAPPED };
        message::send(&self.control, word, &[]).map_err(Error::Home)?;
        let (answer, _) = message::receive(&self.control).map_err(Error::Home)?;
        if answer == READY {
            return Ok(());
        }
        let _ = wait_for(self.pid);
        Err(Error::HomeEnded(String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// The role itself. Returns when home has nothing to do any more.
pub fn serve(runtime: &Path) -> Result<(), crate::sys::Error> {
    let control = adopt_fd(CONTROL)?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER) {
        return message::send(&control, (error.errno as i32).to_string().as_bytes(), &[]);
    }
    message::send(&control, UNSHARED, &[])?;
    let (word, _) = message::receive(&control)?;
    let groups: Option<&[u32]> = match word.as_slice() {
        MAPPED => Some(&[]),
        MAPPED_SINGLE => None,
        // The client gave up.
        _ => return Ok(()),
    };
    let done = set_ids(0, 0, groups).map_err(|e| e.to_string());
    message::send(&control, done.as_ref().map_or_else(|e| e.as_bytes(), |()| READY), &[])?;
    drop(control);
    if done.is_ok() {
        let _ = nix::unistd::chdir("/");
        stay(&runtime.join("home.json"));
    }
    Ok(())
}

/// Stays until the record is somebody else's or has not been touched for a while.
fn stay(record: &Path) {
    release_code();
    loop {
        std::thread::sleep(Duration::from_secs(60));
        let Ok(metadata) = record.metadata() else { return };
        let idle = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        let text = std::fs::read_to_string(record).unwrap_or_default();
        let mine = text.contains(&format!("\"pid\":{},", std::process::id()));
        if !mine {
            return;
        }
        if idle.is_some_and(|idle| idle > IDLE) {
            let _ = std::fs::remove_file(record);
            return;
        }
    }
}
