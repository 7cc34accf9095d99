//! Locks on files: flock(2), held by an open descriptor and gone with the process.
//!
//! A lock never says that an object exists, only that somebody is at work on it. Lock order: an
//! image-index lock before layer locks; a staging lock is never waited for.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Error, IoContext};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl Lock {
    /// Waits for the exclusive lock on a lock file, which is made when missing.
    pub fn exclusive(path: &Path) -> Result<Lock, Error> {
        let file = open(path, true)?;
        Flock::lock(file, FlockArg::LockExclusive).map(Lock).map_err(|(_, errno)| errno).at("lock", path)
    }

    /// The exclusive lock on a file that exists and is not locked; `None` when it is locked or gone.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>, Error> {
        Lock::existing(path, FlockArg::LockExclusiveNonblock)
    }

    /// Waits for the exclusive lock on a file that exists; `None` when it is gone.
    pub fn exclusive_existing(path: &Path) -> Result<Option<Lock>, Error> {
        Lock::existing(path, FlockArg::LockExclusive)
    }

    /// Waits for a shared lock on a file that exists; `None` when it is gone.
    pub fn shared(path: &Path) -> Result<Option<Lock>, Error> {
        Lock::existing(path, FlockArg::LockShared)
    }

    /// Locks a file that this process just made and nobody can have locked yet.
    pub(super) fn fresh(file: File, kind: FlockArg, path: &Path) -> Result<Lock, Error> {
        Flock::lock(file, kind).map(Lock).map_err(|(_, errno)| errno).at("lock", path)
    }

    /// The locked file.
    pub fn file(&self) -> &File {
        &self.0
    }

    fn existing(path: &Path, kind: FlockArg) -> Result<Option<Lock>, Error> {
        let file = match open(path, false) {
            Ok(file) => file,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match Flock::lock(file, kind) {
            // Between open and lock the file may have been moved away with what it stands for.
            Ok(lock) => Ok(is_still_at(&lock, path)?.then_some(Lock(lock))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno).at("lock", path),
        }
    }
}

/// Whether the path still names the open file.
pub(super) fn is_still_at(file: &File, path: &Path) -> Result<bool, Error> {
    let here = file.metadata().at("look at", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("look at", path),
    }
}

/// Network file systems lock only what is open for writing.
fn open(path: &Path, create: bool) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false).mode(0o600);
    options.open(path).at("open", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_lock_excludes_and_ends_with_its_guard() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).expect("locked");
        assert!(Lock::try_exclusive(&path).expect("no error").is_none());
        drop(held);
        assert!(Lock::try_exclusive(&path).expect("no error").is_some());
    }

    #[test]
    fn shared_locks_share_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("lock");
        assert!(Lock::shared(&path).expect("no error").is_none());
        std::fs::write(&path, "").expect("write");
        let _one = Lock::shared(&path).expect("no error").expect("held");
        let _two = Lock::shared(&path).expect("no error").expect("held");
        assert!(Lock::try_exclusive(&path).expect("no error").is_none());
    }
}
