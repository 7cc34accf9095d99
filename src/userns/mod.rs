//! The user's mapped user namespace: found when `home` lives, made otherwise.
//!
//! Mapping subordinate ids takes two setuid programs and 2-3 ms, joining a namespace that has the
//! map takes 0.1 ms. So a small process (`home`) keeps one; each container's own namespace is made
//! inside it by writing the map directly. Nothing depends on home for correctness: when it is gone
//! the next command makes another.

pub mod home;
pub mod map;
pub mod subid;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::sys;
use crate::sys::process::{Pid, boot_id, start_time};
use map::IdMaps;

/// The mapped namespace, ready to be joined.
#[derive(Debug)]
pub struct Mapped {
    namespace: OwnedFd,
    maps: IdMaps,
    /// What the user should be told once, when it could not be had in full.
    pub warning: Option<String>,
}

impl Mapped {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Whether only one id is mapped, so that files cannot belong to anybody else.
    pub fn is_single(&self) -> bool {
        self.maps.is_single()
    }

    pub fn maps(&self) -> &IdMaps {
        &self.maps
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot prepare {path:?}")]
    Runtime {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("this host gives you no user namespace; an administrator can allow it: {advice}")]
    NoUserNamespaces {
        advice: &'static str,
        #[source]
        source: sys::Error,
    },
    #[error("the process that keeps the user namespace could not be started")]
    Home(#[source] sys::Error),
    #[error("the process that keeps the user namespace ended before it was ready: {0}")]
    HomeEnded(String),
    #[error("cannot write the id map of the user namespace")]
    Map(#[source] sys::Error),
}

/// `<runtime>/home.json`: who keeps the namespace.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HomeRecord {
    version: u32,
    pid: Pid,
    start_time: u64,
    boot_id: String,
    maps: IdMaps,
    warning: Option<String>,
}

const HOME_VERSION: u32 = 1;

/// The user's mapped namespace.
pub fn mapped(config: &Config) -> Result<Mapped, Error> {
    let wanted = map::wanted(config);
    let file = config.runtime.join("home.json");
    if let Some(found) = find(&file, &wanted) {
        return Ok(found);
    }
    make_directory(&config.runtime)?;
    let lock_path = config.runtime.join("home.lock");
    let runtime_error = |source| Error::Runtime { path: lock_path.clone(), source };
    let lock = File::create(&lock_path).map_err(runtime_error)?;
    let _lock =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| runtime_error(errno.into()))?;
    // Somebody else may have made it while we waited.
    if let Some(found) = find(&file, &wanted) {
        return Ok(found);
    }
    make(config, wanted, &file)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Runtime { path: path.to_owned(), source })
}

/// Opens the namespace of a living home whose maps are still the wanted ones.
fn find(file: &Path, wanted: &map::Wanted) -> Option<Mapped> {
    let record: HomeRecord = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    if record.version != HOME_VERSION || !wanted.accepts(&record.maps) {
        return None;
    }
    let namespace = File::open(format!("/proc/{}/ns/user", record.pid)).ok()?;
    // Looked at after opening: if it is the recorded process now, it was it then.
    if start_time(record.pid) != Some(record.start_time) || record.boot_id != boot_id() {
        return None;
    }
    // Home leaves when nobody has touched this file for a while.
    let _ = File::open(file).and_then(|f| f.set_modified(SystemTime::now()));
    Some(Mapped { namespace: namespace.into(), maps: record.maps, warning: record.warning })
}

fn make(config: &Config, wanted: map::Wanted, file: &Path) -> Result<Mapped, Error> {
    let (home, maps, warning) = match wanted {
        map::Wanted::Ranges(maps) => {
            let home = home::start(config)?;
            match map::write_mapped(config, home.pid, &maps) {
                Ok(()) => (home, maps, None),
                Err(reason) => {
                    drop(home);
                    let maps = IdMaps::single();
                    let home = home::start(config)?;
                    map::write_single(home.pid).map_err(Error::Map)?;
                    (home, maps, Some(map::single_warning(&reason)))
                }
            }
        }
        map::Wanted::Single(reason) => {
            let home = home::start(config)?;
            map::write_single(home.pid).map_err(Error::Map)?;
            (home, IdMaps::single(), reason.map(|reason| map::single_warning(&reason)))
        }
    };
    let pid = home.pid;
    home.release(maps.is_single())?;
    let namespace = File::open(format!("/proc/{pid}/ns/user"))
        .map_err(|source| Error::Runtime { path: format!("/proc/{pid}/ns/user").into(), source })?;
    let record = HomeRecord {
        version: HOME_VERSION,
        pid,
        start_time: start_time(pid).unwrap_or(0),
        boot_id: boot_id(),
        maps,
        warning,
    };
    let json = serde_json::to_vec(&record).expect("plain data always serialises");
    let fresh = file.with_extension("json.new");
    let written = std::fs::write(&fresh, json).and_then(|()| std::fs::rename(&fresh, file));
    written.map_err(|source| Error::Runtime { path: file.to_owned(), source })?;
    Ok(Mapped { namespace: namespace.into(), maps: record.maps, warning: record.warning })
}
