//! Staging: where everything durable is put together before one rename makes it appear.
//!
//! A staging place is `staging/NAME/` with the lock file `staging/NAME.lock` beside it. The lock is
//! made and held before the directory appears and goes after it, so a directory whose lock can be
//! taken is a leftover of a process that died; `gc` removes those.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FlockArg, RenameFlags};

use super::layout::make_directory;
use super::lock::{Lock, is_still_at};
use super::{Error, IoContext, Store};

/// A live staging place. Dropping it removes what is left in it, as far as the user's own id can.
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    lock_path: PathBuf,
    lock: Lock,
}

impl Store {
    /// Makes an empty staging place.
    pub fn stage(&self) -> Result<Staging, Error> {
        let staging = self.layout.staging();
        loop {
            // Collisions are met by trying again.
            let random = crate::sys::process::random::<8>().map_err(std::io::Error::from);
            let name = format!("{:016x}", u64::from_ne_bytes(random.at("choose a name in", &staging)?));
            let lock_path = staging.join(format!("{name}.lock"));
            let file =
                match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&lock_path)
                {
                    Ok(file) => file,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        make_directory(&staging)?;
                        continue;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(error).at("create", &lock_path),
                };
            let lock = Lock::fresh(file, FlockArg::LockExclusive, &lock_path)?;
            // A sweep may have taken the lock first, and the file with it.
            if !is_still_at(lock.file(), &lock_path)? {
                continue;
            }
            let directory = staging.join(name);
            make_directory(&directory)?;
            return Ok(Staging { directory, lock_path, lock });
        }
    }
}

impl Staging {
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Another holder of the same lock: the place stays live until both are gone.
    pub fn share_lock(&self) -> Result<File, Error> {
        self.lock.file().try_clone().at("duplicate", &self.lock_path)
    }

    /// Writes a file into the place.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).at("create", &path)?;
        file.write_all(bytes).at("write", &path)
    }

    /// Brings all that was staged to the disk (syncfs(2)); to be done before the first `publish`.
    pub fn sync(&self) -> Result<(), Error> {
        let directory = File::open(&self.directory).at("open", &self.directory)?;
        nix::unistd::syncfs(&directory).at("sync", &self.directory)
    }

    /// Moves a staged file or directory to where it is to be. An old file there is replaced.
    pub fn publish(&self, name: &str, destination: &Path) -> Result<(), Error> {
        self.rename(name, destination, RenameFlags::empty()).at("publish", destination)
    }

    /// Moves it unless something is there; false when there was.
    pub fn publish_new(&self, name: &str, destination: &Path) -> Result<bool, Error> {
        match self.rename(name, destination, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            // NFS and old FUSE know no flags. For directories plain rename(2) is as good, because a
            // published one is never empty; files are published this way under a lock only.
            Err(Errno::EINVAL) => match self.rename(name, destination, RenameFlags::empty()) {
                Ok(()) => Ok(true),
                Err(Errno::EEXIST | Errno::ENOTEMPTY) => Ok(false),
                Err(errno) => Err(errno).at("publish", destination),
            },
            Err(errno) => Err(errno).at("publish", destination),
        }
    }

    /// Takes something published away into the staging place: it disappears at once and whole.
    /// False when it was not there.
    pub fn withdraw(&self, published: &Path, name: &str) -> Result<bool, Error> {
        match std::fs::rename(published, self.directory.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("remove", published),
        }
    }

    fn rename(&self, name: &str, destination: &Path, flags: RenameFlags) -> nix::Result<()> {
        use nix::fcntl::{AT_FDCWD, renameat2};
        let source = self.directory.join(name);
        let result = renameat2(AT_FDCWD, &source, AT_FDCWD, destination, flags);
        if result != Err(Errno::ENOENT) {
            return result;
        }
        let parent = destination.parent().ok_or(Errno::ENOENT)?;
        make_directory(parent).map_err(|_| Errno::ENOENT)?;
        renameat2(AT_FDCWD, &source, AT_FDCWD, destination, flags)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed here (files of other ids) is swept later, when the lock is free.
        if std::fs::remove_dir_all(&self.directory).is_ok() {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_whole_things_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = Store::open(dir.path().join("store"));
        let staging = store.stage().expect("staged");
        staging.write("a", b"one").expect("written");
        staging.write("b", b"two").expect("written");
        staging.sync().expect("synced");
        let destination = store.layout().images().join("x");
        assert!(staging.publish_new("a", &destination).expect("published"));
        assert!(!staging.publish_new("b", &destination).expect("refused"));
        assert_eq!(std::fs::read(&destination).expect("read"), b"one");
        staging.publish("b", &destination).expect("replaced");
        assert_eq!(std::fs::read(&destination).expect("read"), b"two");
        drop(staging);
        assert_eq!(std::fs::read_dir(store.layout().staging()).expect("listing").count(), 0);
    }

    #[test]
    fn withdraws_at_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = Store::open(dir.path().to_owned());
        let staging = store.stage().expect("staged");
        let published = dir.path().join("thing");
        std::fs::write(&published, "x").expect("write");
        assert!(staging.withdraw(&published, "old").expect("withdrawn"));
        assert!(!published.exists());
        assert!(!staging.withdraw(&published, "old").expect("nothing there"));
    }
}
