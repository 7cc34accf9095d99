//! Which storage driver works here: found by trying, remembered until the next boot.
//!
//! `choose` runs in the client; the trial itself in a process of its own (role `probe`), which
//! joins the user's mapped namespace and makes a mount namespace to try a mount in.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use super::overlay::Overlay;
use crate::config::{Config, DriverChoice};
use crate::sys;
use crate::sys::namespace::{join, unshare};
use crate::sys::path::adopt_fd;
use crate::sys::process::{Ended, boot_id, set_ids, spawn_role, wait_for};

/// `argv[1]` of the trial's role.
pub const ROLE: &str = "__probe-overlay";
const NAMESPACE: i32 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    Overlay,
    /// The program's path.
    FuseOverlayfs(PathBuf),
}

impl Driver {
    pub fn name(&self) -> &'static str {
        match self {
            Driver::Overlay => "overlay",
            Driver::FuseOverlayfs(_) => "fuse-overlayfs",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "fuse-overlayfs is asked for but not installed (package fuse-overlayfs), or unset CORACLE_STORAGE_DRIVER"
    )]
    NoFuseOverlayfs,
    #[error(
        "fuse-overlayfs needs /dev/fuse, which you cannot open; an administrator can run: chmod 0666 /dev/fuse"
    )]
    NoFuseDevice(#[source] std::io::Error),
    #[error(
        "no storage driver works in {data:?}: the kernel refuses overlay mounts there and fuse-overlayfs is not usable ({fuse}); install fuse-overlayfs, or set CORACLE_ROOT to a directory on another file system"
    )]
    None { data: PathBuf, fuse: Box<Error> },
    #[error("cannot try an overlay mount")]
    Trial(#[source] sys::Error),
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    data: PathBuf,
    boot_id: String,
    native: bool,
}

/// The driver for containers in `config.data`.
pub fn choose(config: &Config, namespace: BorrowedFd<'_>) -> Result<Driver, Error> {
    match config.driver {
        DriverChoice::Overlay => Ok(Driver::Overlay),
        DriverChoice::FuseOverlayfs => fuse(config),
        DriverChoice::Auto => {
            if native_works(config, namespace)? {
                return Ok(Driver::Overlay);
            }
            fuse(config).map_err(|why| Error::None { data: config.data.clone(), fuse: Box::new(why) })
        }
    }
}

fn fuse(config: &Config) -> Result<Driver, Error> {
    let program = config.find_program("fuse-overlayfs").ok_or(Error::NoFuseOverlayfs)?;
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    device.map_err(Error::NoFuseDevice)?;
    Ok(Driver::FuseOverlayfs(program))
}

fn native_works(config: &Config, namespace: BorrowedFd<'_>) -> Result<bool, Error> {
    let file = config.runtime.join("driver.json");
    let known = std::fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Remembered>(&json).ok());
    if let Some(known) = known
        && known.data == config.data
        && known.boot_id == boot_id()
    {
        return Ok(known.native);
    }
    let data = config.data.to_string_lossy();
    let pid = spawn_role(ROLE, &[&data], &[(namespace, NAMESPACE)]).map_err(Error::Trial)?;
    let native = wait_for(pid).map_err(Error::Trial)? == Ended::Exited(0);
    let record = Remembered { data: config.data.clone(), boot_id: boot_id(), native };
    // Only a shortcut: without the file the trial is made again.
    let _ = serde_json::to_vec(&record).map(|json| std::fs::write(&file, json));
    Ok(native)
}

/// The trial. An error means that the kernel refuses.
pub fn probe(data: &Path) -> sys::Result<()> {
    let namespace = adopt_fd(NAMESPACE)?;
    join(&namespace, CloneFlags::CLONE_NEWUSER)?;
    set_ids(0, 0, None)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let place = data.join("staging").join(format!("probe-{}", std::process::id()));
    let names = ["lower", "upper", "work", "root"];
    let tried = names
        .iter()
        .try_for_each(|name| std::fs::create_dir_all(place.join(name)))
        .map_err(|_| sys::Error::last("mkdir", format!("{place:?}")))
        .and_then(|()| {
            let overlay = Overlay {
                base: place.clone(),
                layers: vec!["lower".into()],
                upper: "upper".into(),
                work: "work".into(),
                target: "root".into(),
                volatile: true,
            };
            overlay.mount_native()?;
            // A file system may take the mount and still refuse what an overlay writes.
            std::fs::write(place.join("root/file"), "x").map_err(|_| sys::Error::last("write", "overlay"))
        });
    let _ = nix::mount::umount2(&place.join("root"), nix::mount::MntFlags::MNT_DETACH);
    let _ = std::fs::remove_dir_all(&place);
    tried
}
