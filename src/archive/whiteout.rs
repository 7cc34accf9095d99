//! The names by which a layer says "gone" (image-spec layer.md, "Whiteouts"), and what they become on
//! disk so that native overlay understands them.
//!
//! Runs in the id worker.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::sys::time::TimeSpec;
use nix::unistd::UnlinkatFlags;

use crate::sys;
use crate::sys::error::Context;
use crate::sys::path::Root;

/// What a member's name means for the layers below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// An ordinary member.
    None,
    /// `.wh.NAME`: hides NAME of the lower layers.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: hides all that lower layers have in this directory.
    Opaque,
    /// Bookkeeping of aufs, without meaning here.
    Ignored,
    /// `.wh.` with no name, or with one that cannot be a name.
    Invalid,
}

pub(super) const PREFIX: &[u8] = b".wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Classifies a normalised member path.
pub(super) fn classify(path: &[u8]) -> Marker<'_> {
    if !path.starts_with(PREFIX) && !contains_marker(path) {
        return Marker::None;
    }
    let (parents, name) = match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    for parent in parents.split(|&b| b == b'/') {
        if parent.starts_with(AUFS_PREFIX) {
            return Marker::Ignored;
        }
        if parent.starts_with(PREFIX) {
            return Marker::Invalid;
        }
    }
    match name.strip_prefix(PREFIX) {
        None => Marker::None,
        Some(_) if name == OPAQUE => Marker::Opaque,
        Some(_) if name.starts_with(AUFS_PREFIX) => Marker::Ignored,
        Some(b"" | b"." | b"..") => Marker::Invalid,
        Some(hidden) => Marker::Whiteout(hidden),
    }
}

fn contains_marker(path: &[u8]) -> bool {
    path.windows(PREFIX.len() + 1).any(|window| window == b"/.wh.")
}

/// By which native overlay in a user namespace knows an opaque directory (mount option `userxattr`).
pub(super) const OPAQUE_ATTRIBUTE: &CStr = c"user.overlay.opaque";
/// And by which fuse-overlayfs marks its own.
const FUSE_OPAQUE_ATTRIBUTE: &CStr = c"user.fuseoverlayfs.opaque";

/// Makes of every marker file below `tree` what native overlay and fuse-overlayfs both understand: of
/// `.wh.NAME` a character device 0:0, of `.wh..wh..opq` an attribute of its directory.
///
/// May be broken off and done again at any time: a marker goes after what replaces it is there. Times
/// of directories stay. Fails where the kernel or the file system refuses devices or attributes.
pub fn show(tree: OwnedFd) -> sys::Result<()> {
    let root = Root::from_fd(tree);
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let fd = root.resolve_plain(Path::new(OsStr::from_bytes(&path)), flags, Mode::empty())?;
        let (markers, below) = list(&fd)?;
        for name in below {
            ahead.push([&path, b"/".as_slice(), &name].concat().split_off(usize::from(path.is_empty())));
        }
        let is_marked = match sys::xattr::get(&fd, FUSE_OPAQUE_ATTRIBUTE) {
            Err(error) if error.is(Errno::ENOTSUP) => false,
            found => found?.is_some_and(|value| value == b"y"),
        };
        if is_marked || !markers.is_empty() {
            show_in(fd.as_fd(), &markers, is_marked)?;
        }
    }
    Ok(())
}

type Names = Vec<Vec<u8>>;

/// The names of a directory's markers and of its directories.
fn list(directory: &OwnedFd) -> sys::Result<(Names, Names)> {
    let (mut markers, mut directories) = (Vec::new(), Vec::new());
    let mut listing = nix::dir::Dir::openat(
        directory,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .call("openat", || "\".\", O_RDONLY|O_DIRECTORY".to_owned())?;
    for entry in listing.iter() {
        let entry = entry.call("getdents64", String::new)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            Some(kind) => kind == nix::dir::Type::Directory,
            // Some file systems leave the type out.
            None => {
                let stat = nix::sys::stat::fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .call("fstatat", || name.escape_ascii().to_string())?;
                stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
            }
        };
        if is_directory {
            directories.push(name.to_vec());
        } else if name.starts_with(PREFIX) {
            markers.push(name.to_vec());
        }
    }
    Ok((markers, directories))
}

fn show_in(directory: BorrowedFd<'_>, markers: &[Vec<u8>], is_opaque: bool) -> sys::Result<()> {
    let stat = nix::sys::stat::fstat(directory).call("fstat", String::new)?;
    if is_opaque || markers.iter().any(|name| name == OPAQUE) {
        sys::xattr::set(directory, OPAQUE_ATTRIBUTE, b"y")?;
    }
    for marker in markers {
        let shown = || marker.escape_ascii().to_string();
        if let Marker::Whiteout(hidden) = classify(marker) {
            match nix::sys::stat::mknodat(directory, hidden, SFlag::S_IFCHR, Mode::empty(), 0) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => {
                    return Err(sys::Error::new("mknodat", format!("{}, S_IFCHR, 0:0", shown()), errno));
                }
            }
        }
        match nix::unistd::unlinkat(directory, marker.as_slice(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(sys::Error::new("unlinkat", shown(), errno)),
        }
    }
    let times = [(stat.st_atime, stat.st_atime_nsec), (stat.st_mtime, stat.st_mtime_nsec)];
    let [accessed, modified] = times.map(|(seconds, nanoseconds)| TimeSpec::new(seconds, nanoseconds));
    nix::sys::stat::futimens(directory, &accessed, &modified).call("futimens", String::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let table: [(&[u8], Marker); 13] = [
            (b"a/b", Marker::None),
            (b"a/x.wh.b", Marker::None),
            (b".wh.b", Marker::Whiteout(b"b")),
            (b"a/.wh.b", Marker::Whiteout(b"b")),
            (b"a/.wh..b", Marker::Whiteout(b".b")),
            (b".wh..wh..opq", Marker::Opaque),
            (b"a/.wh..wh..opq", Marker::Opaque),
            (b".wh..wh.aufs", Marker::Ignored),
            (b".wh..wh.plnk/42.7", Marker::Ignored),
            (b"a/.wh.", Marker::Invalid),
            (b"a/.wh..", Marker::Invalid),
            (b"a/.wh...", Marker::Invalid),
            (b".wh.a/b", Marker::Invalid),
        ];
        for (path, marker) in table {
            assert_eq!(classify(path), marker, "{}", path.escape_ascii());
        }
    }
}
