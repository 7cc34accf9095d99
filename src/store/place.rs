//! Reading one container: its record, its state and what became of it. By every process, without a lock.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};

use super::containers::{Container, Error};
use super::{health, updated};
use crate::spec::container::{ContainerRecord, ContainerState, Status};
use crate::spec::health::Health;
use crate::spec::id::ContainerId;
use crate::spec::update::Updated;

/// Where a container's files are: below the open directory of all, or by an absolute path.
pub(super) struct Place<'a> {
    pub(super) all: Option<BorrowedFd<'a>>,
    pub(super) directory: PathBuf,
}

/// More than most records and all states have, in bytes.
const SMALL: usize = 4096;

impl Place<'_> {
    pub(super) fn of(directory: &Path) -> Place<'static> {
        Place { all: None, directory: directory.to_owned() }
    }

    fn open(&self, name: &str) -> std::io::Result<File> {
        let path = self.directory.join(name);
        match self.all {
            Some(all) => Ok(openat(all, &path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into()),
            None => File::open(path),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let path = self.directory.join(name);
        match self.all {
            Some(all) => faccessat(all, &path, AccessFlags::F_OK, AtFlags::empty()).is_ok(),
            None => path.exists(),
        }
    }

    /// A file that is replaced whole, never written to: what is shorter than asked for is all of it.
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        let mut file = self.open(name)?;
        let mut bytes = vec![0; SMALL];
        let count = file.read(&mut bytes)?;
        bytes.truncate(count);
        if count == SMALL {
            file.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

pub(super) fn read_container(place: &Place<'_>, id: &ContainerId) -> Result<Container, Error> {
    let bad = |reason: String| Error::BadRecord { id: id.to_string(), reason };
    let bytes = match place.read("record.json") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoSuch(id.to_string()));
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    let record: ContainerRecord = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let name = place.read("name").ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let state = read_state(place)?;
    let updated = match place.read(updated::FILE) {
        Ok(bytes) => updated::parse(&bytes, &place.directory).map_err(|error| bad(error.to_string()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Updated::default(),
        Err(error) => return Err(bad(error.to_string())),
    };
    let health = match record.options.has_health_check() {
        true => Health::of(&state, place.read(health::FILE).ok().and_then(|bytes| health::parse(&bytes))),
        false => None,
    };
    Ok(Container { record, name, state, health, updated })
}

/// Whether somebody holds the container's lock.
fn is_held(place: &Place<'_>) -> bool {
    let Ok(file) = place.open("lock") else { return false };
    let mut asked = whole(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).is_ok() && asked.l_type != libc::F_UNLCK as libc::c_short
}

pub(super) fn read_state_file(place: &Place<'_>) -> Result<Option<ContainerState>, Error> {
    match place.read("state.json") {
        // An empty or torn file is what a power cut may leave of an unsynced one: never started.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(super::Error::io("read", &place.directory.join("state.json"), error).into()),
    }
}

/// What docker reports for a container whose end nobody saw.
const LOST_EXIT_CODE: i32 = 255;

fn read_state(place: &Place<'_>) -> Result<ContainerState, Error> {
    let Some(state) = read_state_file(place)? else { return Ok(ContainerState::created()) };
    if !state.status.is_alive() || is_held(place) {
        return Ok(state);
    }
    // The monitor may have written its last word between our two looks.
    let state = read_state_file(place)?.unwrap_or(state);
    Ok(if state.status.is_alive() { lost(state) } else { state })
}

/// The state of a run whose end nobody saw.
pub(super) fn lost(mut state: ContainerState) -> ContainerState {
    // Between two runs the end of the last one is known.
    if state.status != Status::Restarting {
        state.exit_code = LOST_EXIT_CODE;
        state.finished_at = state.started_at.clone();
    }
    state.status = Status::Exited;
    state.pid = 0;
    state.error =
        "the monitor ended without recording the exit status (killed, or the host went down)".into();
    state
}

pub(super) fn whole(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
