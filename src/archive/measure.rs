//! How much the files of a directory tree hold. By descriptors, never through a symbolic link.
//!
//! Runs in the id worker, where every file of a container may be looked at.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;

use crate::sys::error::{Context, Error, Result};

/// The bytes of all regular files below `directory`. What goes away meanwhile does not count.
pub fn bytes_below(directory: OwnedFd) -> Result<u64> {
    let at = |name: &CStr| format!("{name:?}");
    let copy = directory.try_clone().call("fcntl", || "F_DUPFD_CLOEXEC".to_owned())?;
    let mut stream = Dir::from_fd(copy).call("fdopendir", String::new)?;
    let mut bytes = 0;
    for entry in stream.iter() {
        let entry = entry.call("getdents64", String::new)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            Some(Type::Directory) => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                match nix::fcntl::openat(directory.as_fd(), name, flags, Mode::empty()) {
                    Ok(below) => bytes += bytes_below(below)?,
                    Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(Error::new("openat", at(name), errno)),
                }
            }
            Some(Type::File) => {
                match nix::sys::stat::fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(status) => bytes += u64::try_from(status.st_size).unwrap_or(0),
                    Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(Error::new("newfstatat", at(name), errno)),
                }
            }
            _ => {}
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_regular_files_of_the_tree_count() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/one"), "12345").unwrap();
        fs::write(at("a/b/c/two"), "678").unwrap();
        fs::write(at("other"), "x").unwrap();
        std::os::unix::fs::symlink("/", at("a/b/link")).unwrap();
        let tree = |name: &str| bytes_below(fs::File::open(at(name)).unwrap().into()).unwrap();
        assert_eq!((tree("a"), tree("a/b/c"), tree(".")), (8, 3, 9));
    }
}
