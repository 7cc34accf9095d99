//! What a container changed: its writable layer beside the layers below.
//!
//! Runs in the files worker, for files belong to subordinate ids. A name is new, gone or changed; something changed
//! when its mode, owner, size or time differ (of a directory: mode and owner), or something in it did. Both drivers'
//! marks are understood: character devices 0:0 and `.wh.` files for what is gone, and directories that hide all below.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use serde::{Deserialize, Serialize};

use crate::sys;
use crate::sys::error::Context;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Changed,
    Added,
    Deleted,
}

impl Kind {
    /// docker's letter.
    pub fn letter(self) -> char {
        match self {
            Kind::Changed => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: Kind,
    /// From the container's root; bytes that are no UTF-8 are replaced.
    pub path: String,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot compare the container's layer with its image")]
pub struct Error(#[from] sys::Error);

/// Places that a start makes where the image has none. What is mounted there is not the container's change.
const OWN: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
const MARK: &[u8] = b".wh.";
const OPAQUE_MARK: &CStr = c".wh..wh..opq";
const OPAQUE: [&CStr; 2] = [c"user.overlay.opaque", c"user.fuseoverlayfs.opaque"];

/// The changes, parents before what is in them, by name. `lower` are the trees below, the topmost first.
pub fn between(upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>, Error> {
    let upper = open_at(nix::fcntl::AT_FDCWD, upper)?;
    let mut below = Vec::new();
    for path in lower {
        below.push(open_at(nix::fcntl::AT_FDCWD, path)?);
    }
    let mut changes = Vec::new();
    directory(&upper, &below, false, "", &mut changes)?;
    Ok(changes)
}

/// What the layers below have at a name.
enum Below {
    Nothing,
    Other(FileStat),
    Directory(FileStat, Vec<OwnedFd>),
}

fn directory(
    upper: &OwnedFd,
    lower: &[OwnedFd],
    hides: bool,
    path: &str,
    changes: &mut Vec<Change>,
) -> sys::Result<()> {
    let hides = hides || is_opaque(upper);
    let own = names(upper)?;
    let mut all: BTreeSet<CString> =
        own.iter().map(|name| unmarked(name)).filter(|name| name.as_c_str() != OPAQUE_MARK).collect();
    if hides {
        for layer in lower {
            all.extend(names(layer)?.iter().map(|name| unmarked(name)));
        }
    }
    for name in all {
        let path = format!("{path}/{}", name.to_string_lossy());
        entry(upper, lower, hides, &name, path, changes)?;
    }
    Ok(())
}

fn entry(
    upper: &OwnedFd,
    lower: &[OwnedFd],
    hides: bool,
    name: &CStr,
    path: String,
    changes: &mut Vec<Change>,
) -> sys::Result<()> {
    let below = below(lower, name)?;
    let here = look(upper, name)?.filter(|stat| !is_whiteout(stat));
    let exists_below = !matches!(below, Below::Nothing);
    let Some(stat) = here else {
        // Hidden by the layer: by a mark of the name, or of the whole directory.
        if exists_below {
            changes.push(Change { kind: Kind::Deleted, path });
        }
        return Ok(());
    };
    if !exists_below && OWN.contains(&path.as_str()) {
        return Ok(());
    }
    if kind_of(&stat) != SFlag::S_IFDIR {
        match below {
            Below::Nothing => changes.push(Change { kind: Kind::Added, path }),
            Below::Other(old) if !differs(&old, &stat) => {}
            Below::Other(_) | Below::Directory(..) => changes.push(Change { kind: Kind::Changed, path }),
        }
        return Ok(());
    }
    let here = open_at(upper.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())))?;
    let mut inside = Vec::new();
    let (kind, shown) = match below {
        Below::Nothing => {
            directory(&here, &[], false, &path, &mut inside)?;
            // Made by a start for its own files alone.
            let ours = path == "/etc" && inside.is_empty() && !names(&here)?.is_empty();
            (Kind::Added, !ours)
        }
        Below::Other(_) => {
            directory(&here, &[], false, &path, &mut inside)?;
            (Kind::Changed, true)
        }
        Below::Directory(old, lower) => {
            directory(&here, &lower, hides, &path, &mut inside)?;
            (Kind::Changed, !inside.is_empty() || differs(&old, &stat))
        }
    };
    if shown {
        changes.push(Change { kind, path });
        changes.append(&mut inside);
    }
    Ok(())
}

/// What the layers below show together at a name.
fn below(lower: &[OwnedFd], name: &CStr) -> sys::Result<Below> {
    let mut found: Option<(FileStat, Vec<OwnedFd>)> = None;
    for layer in lower {
        match look(layer, name)? {
            None if is_marked(layer, name)? => break,
            None => {}
            Some(stat) if is_whiteout(&stat) => break,
            Some(stat) if kind_of(&stat) == SFlag::S_IFDIR => {
                let fd = open_at(layer.as_fd(), Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())))?;
                let last = is_opaque(&fd);
                found.get_or_insert_with(|| (stat, Vec::new())).1.push(fd);
                if last {
                    break;
                }
            }
            Some(stat) => {
                if found.is_none() {
                    return Ok(Below::Other(stat));
                }
                break;
            }
        }
        if is_opaque(layer) {
            break;
        }
    }
    Ok(found.map_or(Below::Nothing, |(stat, layers)| Below::Directory(stat, layers)))
}

fn look(directory: &OwnedFd, name: &CStr) -> sys::Result<Option<FileStat>> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(sys::Error::new("fstatat", format!("{name:?}"), errno)),
    }
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn is_whiteout(stat: &FileStat) -> bool {
    kind_of(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Whether a `.wh.` file says that the name is gone.
fn is_marked(directory: &OwnedFd, name: &CStr) -> sys::Result<bool> {
    let Ok(mark) = CString::new([MARK, name.to_bytes()].concat()) else { return Ok(false) };
    // Longer than a name can be: it cannot be there.
    match look(directory, &mark) {
        Err(error) if error.is(Errno::ENAMETOOLONG) => Ok(false),
        result => Ok(result?.is_some()),
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let by_attribute =
        |name: &&CStr| matches!(sys::xattr::get(directory, name), Ok(Some(value)) if value == b"y");
    OPAQUE.iter().any(by_attribute) || look(directory, OPAQUE_MARK).is_ok_and(|mark| mark.is_some())
}

/// The name that a `.wh.` file is about; any other name as it is.
fn unmarked(name: &CStr) -> CString {
    match name.to_bytes().strip_prefix(MARK) {
        Some(hidden) if !hidden.is_empty() && name != OPAQUE_MARK => {
            CString::new(hidden).expect("part of a C string")
        }
        _ => name.to_owned(),
    }
}

fn differs(old: &FileStat, new: &FileStat) -> bool {
    let meta = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &FileStat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    meta(old) != meta(new) || kind_of(new) != SFlag::S_IFDIR && content(old) != content(new)
}

fn open_at(directory: std::os::fd::BorrowedFd<'_>, path: &Path) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(directory, path, flags, Mode::empty()).call("openat", || format!("{path:?}"))
}

fn names(directory: &OwnedFd) -> sys::Result<Vec<CString>> {
    let copy = nix::fcntl::openat(
        directory,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .call("openat", || ".".into())?;
    let mut found = Vec::new();
    for entry in Dir::from_fd(copy).call("fdopendir", String::new)?.iter() {
        let entry = entry.call("getdents64", String::new)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes files (`a/b=text`) and directories (`a/`).
    fn layer(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temp dir");
        for name in names {
            let (path, text) = name.split_once('=').unwrap_or((name, ""));
            let target = dir.path().join(path);
            if path.ends_with('/') {
                fs::create_dir_all(&target).expect("mkdir");
                continue;
            }
            fs::create_dir_all(target.parent().expect("below")).expect("mkdir");
            let file = fs::File::create(&target).expect("create");
            fs::write(&target, text).expect("write");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("time");
        }
        dir
    }

    fn changes(upper: &tempfile::TempDir, lower: &[&tempfile::TempDir]) -> Vec<String> {
        let lower: Vec<PathBuf> = lower.iter().map(|dir| dir.path().to_owned()).collect();
        let changes = between(upper.path(), &lower).expect("compared");
        changes.iter().map(|change| format!("{} {}", change.kind.letter(), change.path)).collect()
    }

    #[test]
    fn added_changed_deleted() {
        let low = layer(&["etc/passwd=1", "etc/group=1", "bin/ls=1", "same/file=1"]);
        let up = layer(&["etc/passwd=22", "etc/new=1", "bin/.wh.ls", "same/file=1", "new/deep/file=1"]);
        let expected = [
            "C /bin",
            "D /bin/ls",
            "C /etc",
            "A /etc/new",
            "C /etc/passwd",
            "A /new",
            "A /new/deep",
            "A /new/deep/file",
        ];
        assert_eq!(changes(&up, &[&low]), expected);
    }

    #[test]
    fn a_directory_that_hides_all_below() {
        let low = layer(&["srv/keep/f=1", "srv/sub/old=1", "srv/same=1"]);
        let up = layer(&["srv/.wh..wh..opq", "srv/same=1", "srv/sub/new=1"]);
        let expected = ["C /srv", "D /srv/keep", "C /srv/sub", "A /srv/sub/new", "D /srv/sub/old"];
        assert_eq!(changes(&up, &[&low]), expected);
    }

    #[test]
    fn layers_hide_each_other() {
        let bottom = layer(&["a/x=1", "a/y=1", "b=1", "c/z=1"]);
        let middle = layer(&["a/.wh.x", ".wh.b", "c/.wh..wh..opq"]);
        let up = layer(&["a/x=1", "a/y=2", "b=1", "c/z=1", ".wh.gone"]);
        let expected = ["C /a", "A /a/x", "A /b", "C /c", "A /c/z"];
        let mut got = changes(&up, &[&middle, &bottom]);
        got.retain(|line| line != "C /a/y");
        assert_eq!(got, expected);
    }

    #[test]
    fn places_of_ours_are_not_shown() {
        let up = layer(&["dev/", "proc/", "sys/", "etc/hosts", "etc/hostname", "etc/resolv.conf", "vol/"]);
        assert_eq!(changes(&up, &[&layer(&["bin/x"])]), ["A /vol"]);
        assert_eq!(changes(&up, &[&layer(&["etc/x"])]), ["A /vol"]);
    }

    #[test]
    fn kinds_that_change() {
        let low = layer(&["f=1", "d/x=1"]);
        let up = layer(&["f/in=1", "d=1"]);
        assert_eq!(changes(&up, &[&low]), ["C /d", "C /f", "A /f/in"]);
    }
}
