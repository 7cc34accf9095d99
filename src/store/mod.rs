//! Every byte coracle keeps on disk: layers, images and (by the same means) containers.
//!
//! Used by the client; files with foreign owners are touched by the id worker alone (`worker`).
//! The layout, the locks and what survives a crash are described in `docs/storage.md`. The rules:
//! what is durable appears by staging, syncing and one rename; readers take no locks and see every
//! object whole or not at all; records carry a version and no absolute path.

pub mod containers;
pub mod events;
pub mod gc;
mod health;
pub mod held;
pub mod images;
pub mod layers;
mod layout;
pub mod lock;
mod place;
pub mod staging;
mod updated;
pub mod worker;

#[cfg(test)]
mod layers_tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use layout::Layout;

/// A store below one directory. Cheap to open: nothing is read or made until it is needed.
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
}

/// What can go wrong with the store's own files, whatever they hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {path:?}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path:?} is damaged: it is not a valid record")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{path:?} was written by a newer coracle (record version {found}, known is {known}): use that one"
    )]
    Version { path: PathBuf, found: u32, known: u32 },
}

impl Error {
    /// A failed file operation.
    fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { action, path: path.to_owned(), source: source.into() }
    }
}

impl Store {
    /// The store below `root`, which is made (0700) with the first thing put into it.
    pub fn open(root: PathBuf) -> Store {
        Store { layout: Layout::new(root) }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Names the action and the path of a failed file operation.
trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::io(action, path, error))
    }
}

impl<T> IoContext<T> for nix::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|errno| Error::io(action, path, errno))
    }
}

/// The part that every record starts with.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a JSON record of at most version `known`; `None` when there is none.
pub fn read_record<T: DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => parse_record(&bytes, path, known).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

fn parse_record<T: DeserializeOwned>(bytes: &[u8], path: &Path, known: u32) -> Result<T, Error> {
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > known {
        return Err(Error::Version { path: path.to_owned(), found: version, known });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// The bytes of a JSON record, ending in a newline.
pub fn record_bytes<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(record).expect("records have string keys and no failing values");
    bytes.push(b'\n');
    bytes
}
