//! Gives unpacked files their owner, mode, extended attributes and times, in the order that keeps them.
//!
//! Runs in the id worker. Owner first, because chown clears set-id bits and capabilities; then the
//! mode; then attributes; the time last, because all before it would not touch it but a write does.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};

use super::entry::{Attributes, Time};
use super::tree::{failed, system};
use super::unpack::{Error, Note, NoteKind, Options, Owners, shown};
use crate::sys;

/// True owner of a file in single-id mode, as `uid:gid`.
pub(super) const OWNER: &std::ffi::CStr = c"user.coracle.owner";
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// Attributes that belong to the host's storage or to keys it does not have: never taken from a layer.
const SKIPPED: [&[u8]; 6] = [
    b"trusted.",
    b"user.overlay.",
    b"user.fuseoverlayfs.",
    b"user.coracle.",
    b"security.ima",
    b"security.evm",
];

pub(super) struct Applier {
    options: Options,
    pub notes: Notes,
}

impl Applier {
    pub fn new(options: Options) -> Applier {
        Applier { options, notes: Notes(Vec::new()) }
    }

    /// A regular file that was created with its permission bits under the process's umask.
    pub fn file(&mut self, fd: impl AsFd, path: &[u8], attributes: &Attributes) -> Result<(), Error> {
        self.owner(&fd, path, attributes)?;
        if attributes.mode > 0o777 || !self.options.umask_is_zero {
            chmod(&fd, path, attributes.mode)?;
        }
        self.xattrs(path, attributes, |name, value| sys::xattr::set(&fd, name, value))?;
        set_time(&fd, path, attributes.mtime)
    }

    /// A directory; without attributes of its own it is root's, 0755, and its time stays.
    pub fn directory(&mut self, fd: impl AsFd, path: &[u8], own: Option<&Attributes>) -> Result<(), Error> {
        let Some(attributes) = own else { return chmod(fd, path, 0o755) };
        self.owner(&fd, path, attributes)?;
        // Attributes before the mode: setting a user attribute needs the right to write.
        self.xattrs(path, attributes, |name, value| sys::xattr::set(&fd, name, value))?;
        chmod(&fd, path, attributes.mode)?;
        set_time(&fd, path, attributes.mtime)
    }

    pub fn symlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Error> {
        if self.options.owners == Owners::Mapped && (attributes.uid, attributes.gid) != (0, 0) {
            let (uid, gid) = ids(attributes);
            nix::unistd::fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|errno| chown_error(path, attributes, errno))?;
        }
        self.xattrs(path, attributes, |key, value| sys::xattr::set_at(parent, name, key, value))?;
        let time = timespec(attributes.mtime);
        nix::sys::stat::utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
            .map_err(|errno| failed(path, "utimensat", "AT_SYMLINK_NOFOLLOW", errno))
    }

    /// A fifo, just made by us in a directory that nobody else writes to.
    pub fn special(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Error> {
        self.symlink(parent, name, path, attributes)?;
        nix::sys::stat::fchmodat(parent, name, mode_bits(attributes.mode), FchmodatFlags::FollowSymlink)
            .map_err(|errno| failed(path, "fchmodat", "", errno))
    }

    fn owner(&mut self, fd: impl AsFd, path: &[u8], attributes: &Attributes) -> Result<(), Error> {
        if (attributes.uid, attributes.gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = ids(attributes);
        match self.options.owners {
            Owners::Mapped => {
                nix::unistd::fchown(fd, uid, gid).map_err(|errno| chown_error(path, attributes, errno))
            }
            Owners::Recorded => {
                let value = format!("{}:{}", attributes.uid, attributes.gid);
                match sys::xattr::set(fd, OWNER, value.as_bytes()) {
                    Err(error) if error.is(Errno::ENOTSUP) => {
                        self.notes.add(NoteKind::OwnerNotRecorded, path);
                        Ok(())
                    }
                    result => result.map_err(|error| system(path, error)),
                }
            }
        }
    }

    fn xattrs(
        &mut self,
        path: &[u8],
        attributes: &Attributes,
        set: impl Fn(&std::ffi::CStr, &[u8]) -> sys::Result<()>,
    ) -> Result<(), Error> {
        for (name, value) in &attributes.xattrs {
            if SKIPPED.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            // xattr(7): names have at most 255 bytes.
            let c_name =
                CString::new(name.as_slice()).ok().filter(|_| name.len() <= 255).ok_or_else(|| {
                    let detail = "the name of an attribute is too long or holds a NUL byte".to_owned();
                    Error::Member { path: shown(path), detail }
                })?;
            match set(&c_name, value) {
                Ok(()) => {}
                Err(error) if matches!(error.errno, Errno::ENOTSUP | Errno::EPERM | Errno::EACCES) => {
                    let kind = match name.as_slice() {
                        CAPABILITY => NoteKind::CapabilityRefused,
                        name => NoteKind::AttributeRefused(shown(name)),
                    };
                    self.notes.add(kind, path);
                }
                Err(error) => return Err(system(path, error)),
            }
        }
        Ok(())
    }
}

/// One note of each kind, with a count.
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// An archive may name attributes at will; so many kinds of notes are kept.
    const MAX: usize = 32;

    pub fn add(&mut self, kind: NoteKind, path: &[u8]) {
        if let Some(note) = self.0.iter_mut().find(|note| note.kind == kind) {
            note.count += 1;
        } else if self.0.len() < Notes::MAX {
            self.0.push(Note { kind, path: shown(path), count: 1 });
        }
    }

    pub fn into_vec(self) -> Vec<Note> {
        self.0
    }
}

pub(super) fn mode_bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode)
}

fn ids(attributes: &Attributes) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))
}

fn chown_error(path: &[u8], attributes: &Attributes, errno: Errno) -> Error {
    match errno {
        // chown(2), user_namespaces(7): an id without a mapping.
        Errno::EINVAL => Error::Unmapped { path: shown(path), uid: attributes.uid, gid: attributes.gid },
        errno => failed(path, "fchown", &format!("{}, {}", attributes.uid, attributes.gid), errno),
    }
}

fn chmod(fd: impl AsFd, path: &[u8], mode: u32) -> Result<(), Error> {
    nix::sys::stat::fchmod(fd, mode_bits(mode))
        .map_err(|errno| failed(path, "fchmod", &format!("{mode:o}"), errno))
}

fn set_time(fd: impl AsFd, path: &[u8], time: Time) -> Result<(), Error> {
    let time = timespec(time);
    nix::sys::stat::futimens(fd, &time, &time).map_err(|errno| failed(path, "futimens", "", errno))
}

fn timespec(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}
