//! Deletes directory trees by descriptors, never through a symbolic link.
//!
//! Runs in the id worker. Any depth and any modes: a directory that refuses its owner is opened up
//! first, and a tree deeper than the process may hold descriptors is cut into shallow ones.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::sys::error::{Context, Error, Result};

/// Directories opened below each other at the same time.
const MAX_DEPTH: usize = 64;

/// Removes `name` in `parent`, whatever it is, with all below it. Nothing there is no error.
pub fn remove_tree(parent: impl AsFd, name: &CStr) -> Result<()> {
    let mut removal = Removal { top: parent.as_fd(), cut: VecDeque::new(), cuts: 0 };
    removal.remove(parent.as_fd(), name, 0)?;
    while let Some(next) = removal.cut.pop_front() {
        removal.remove(parent.as_fd(), &next, 0)?;
    }
    Ok(())
}

struct Removal<'a> {
    /// Where subtrees that are too deep are moved.
    top: BorrowedFd<'a>,
    cut: VecDeque<CString>,
    cuts: u64,
}

impl Removal<'_> {
    fn remove(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
        match unlink(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(Error::new("unlinkat", format!("{name:?}"), errno)),
        }
        self.remove_directory(parent, name, depth)
    }

    fn remove_directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
        // An empty directory needs no look inside.
        match unlink(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(errno) => return Err(Error::new("unlinkat", format!("{name:?}, AT_REMOVEDIR"), errno)),
        }
        if depth == MAX_DEPTH {
            return self.cut_off(parent, name);
        }
        let directory = open_directory(parent, name)?;
        let mut stream = Dir::from_fd(directory.try_clone().call("fcntl", || "F_DUPFD_CLOEXEC".to_owned())?)
            .call("fdopendir", || format!("{name:?}"))?;
        for entry in stream.iter() {
            let entry = entry.call("getdents64", || format!("{name:?}"))?;
            let child = entry.file_name();
            if child == c"." || child == c".." {
                continue;
            }
            if entry.file_type() == Some(nix::dir::Type::Directory) {
                self.remove_directory(directory.as_fd(), child, depth + 1)?;
            } else {
                self.remove(directory.as_fd(), child, depth + 1)?;
            }
        }
        match unlink(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::new("unlinkat", format!("{name:?}, AT_REMOVEDIR"), errno)),
        }
    }

    /// Moves a subtree beside the top, to be removed on its own.
    fn cut_off(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        loop {
            let place = CString::new(format!(".removing-{}-{}", std::process::id(), self.cuts))
                .expect("digits hold no NUL byte");
            self.cuts += 1;
            let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
            match nix::fcntl::renameat2(parent, name, self.top, place.as_c_str(), flags) {
                Ok(()) => {
                    self.cut.push_back(place);
                    return Ok(());
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::new("renameat2", format!("{name:?}, {place:?}"), errno)),
            }
        }
    }
}

/// unlinkat that opens up the directory when its mode forbids its owner to change it.
fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: UnlinkatFlags) -> nix::Result<()> {
    match nix::unistd::unlinkat(parent, name, flags) {
        Err(Errno::EACCES) if open_up(parent).is_ok() => nix::unistd::unlinkat(parent, name, flags),
        result => result,
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = |flags| nix::fcntl::openat(parent, name, flags, Mode::empty());
    let result = match open(flags) {
        Err(Errno::EACCES) => open(flags | OFlag::O_PATH).and_then(|handle| {
            open_up(handle.as_fd())?;
            open(flags)
        }),
        result => result,
    };
    result.call("openat", || format!("{name:?}, O_RDONLY|O_DIRECTORY|O_NOFOLLOW"))
}

/// Gives the owner all rights on a directory. By its descriptor's link, because that may be `O_PATH`.
fn open_up(directory: BorrowedFd<'_>) -> nix::Result<()> {
    let path = crate::sys::path::fd_path(directory);
    nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        path.as_str(),
        Mode::S_IRWXU,
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).expect("directory").into()
    }

    #[test]
    fn removes_locked_directories_and_keeps_link_targets() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("kept"), "x").expect("write");
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).expect("mkdir");
        fs::write(tree.join("a/b/file"), "x").expect("write");
        symlink(dir.path().join("kept"), tree.join("a/link")).expect("symlink");
        symlink("..", tree.join("a/up")).expect("symlink");
        for path in ["a/b", "a"] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0o000)).expect("chmod");
        }
        remove_tree(open(dir.path()), c"tree").expect("removed");
        assert!(!tree.exists());
        assert!(dir.path().join("kept").exists());
    }

    #[test]
    fn removes_trees_deeper_than_any_path() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut current = open(dir.path());
        for name in std::iter::once("tree").chain(std::iter::repeat_n("a-directory-name", 500)) {
            nix::sys::stat::mkdirat(&current, name, Mode::S_IRWXU).expect("mkdir");
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            current = nix::fcntl::openat(&current, name, flags, Mode::empty()).expect("open");
        }
        remove_tree(open(dir.path()), c"tree").expect("removed");
        assert_eq!(fs::read_dir(dir.path()).expect("listing").count(), 0);
    }

    #[test]
    fn nothing_to_remove_is_fine() {
        let dir = tempfile::tempdir().expect("temp dir");
        remove_tree(open(dir.path()), c"absent").expect("no error");
    }
}
