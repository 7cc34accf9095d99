//! A container's lock, held: by its monitor, or by a client that copies from it or removes it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::IoContext;
use super::containers::Error;
use super::place::{Place, lost, read_state_file};
use crate::spec::container::ContainerState;
use crate::spec::id::ContainerId;

/// A container whose lock is ours.
#[derive(Debug)]
pub struct Held {
    /// Keeps the lock: it lives while any copy of this descriptor does.
    pub(super) lock: File,
    pub(super) directory: PathBuf,
    pub(super) id: ContainerId,
}

impl Held {
    /// Writes the state; readers see the old or the new one, whole.
    pub fn write_state(&self, state: &ContainerState, durable: bool) -> Result<(), Error> {
        self.state_writer().write(state, durable)
    }

    /// What writes the state, for that part of this process which does not have the lock at hand.
    pub fn state_writer(&self) -> StateWriter {
        StateWriter { directory: self.directory.clone() }
    }

    /// The state as the last monitor left it.
    pub fn last_state(&self) -> Result<ContainerState, Error> {
        Ok(read_state_file(&Place::of(&self.directory))?.unwrap_or_else(ContainerState::created))
    }

    /// The lock itself, for a process that shall hold it, too.
    pub fn lock(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(&self.lock)
    }

    /// Writes down the end of a run whose monitor was killed: a state that says "running" beside a lock
    /// that is held for another reason would be believed.
    pub fn settle(&self) -> Result<(), Error> {
        match read_state_file(&Place::of(&self.directory))? {
            Some(state) if state.status.is_alive() => self.write_state(&lost(state), false),
            _ => Ok(()),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Writes the state of a container whose lock this process holds.
#[derive(Debug, Clone)]
pub struct StateWriter {
    directory: PathBuf,
}

impl StateWriter {
    /// As [`Held::write_state`].
    pub fn write(&self, state: &ContainerState, durable: bool) -> Result<(), Error> {
        let fresh = self.directory.join("state.json.new");
        let json = serde_json::to_vec(state).expect("plain data always serialises");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .at("create", &fresh)?;
        file.write_all(&json).at("write", &fresh)?;
        if durable {
            file.sync_data().at("sync", &fresh)?;
        }
        let path = self.directory.join("state.json");
        std::fs::rename(&fresh, &path).at("publish", &path)?;
        Ok(())
    }
}
