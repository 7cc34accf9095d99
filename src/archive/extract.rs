//! Extracts a tar stream into a directory that is in use, by docker's rules for `cp`.
//!
//! Runs in the files worker for a directory of a container, and in the client for one of its own. Names are
//! cleaned as text (`..` stops at the top) and resolved by the kernel below the directory's descriptor
//! (openat2 RESOLVE_IN_ROOT); the last component is never followed. What somebody changes meanwhile can
//! spoil the copy, but nothing outside the directory is written.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags};
use serde::{Deserialize, Serialize};

use super::FailedCall;
use super::attributes::{Applier, mode_bits};
use super::entry::{Attributes, Entry, Kind, SparseMap};
use super::members::Members;
use super::tree::{failed, system};
use super::unpack::{self, Note, NoteKind, Options, Owners, Whiteouts, file_error, shown};
use crate::sys;
use crate::sys::path::Root;

/// Whom the files belong to afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Whoever extracts; nothing is given away.
    Caller,
    /// root of the container.
    Root,
    /// The ids in the archive.
    Archive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    pub ownership: Ownership,
    /// How owners are kept where the files go.
    pub owners: Owners,
    /// The process's umask is 0.
    pub umask_is_zero: bool,
}

/// Why an archive was not extracted to its end. What was extracted until then stays, as with docker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("cannot overwrite directory {path:?} with non-directory {destination:?}")]
    OverDirectory { path: String, destination: String },
    #[error("cannot overwrite non-directory {path:?} with directory {destination:?}")]
    OverFile { path: String, destination: String },
    #[error("hard link {path:?} points to {target:?}, which is no file of the archive's directory")]
    LinkTarget { path: String, target: String },
    #[error("cannot replace {path:?}")]
    Replace {
        path: String,
        #[source]
        source: FailedCall,
    },
    #[error(transparent)]
    Archive(#[from] unpack::Error),
}

/// Extracts the archive from `source` (a pipe) below `directory`, which messages call `shown_as`. Bytes that
/// were read are counted in `done`. Returns what could not be kept.
pub fn extract(
    source: &File,
    directory: Root,
    shown_as: &str,
    rules: Rules,
    done: &AtomicU64,
) -> Result<Vec<Note>, Error> {
    let mut members = Members::new(source, done);
    let options =
        Options { owners: rules.owners, whiteouts: Whiteouts::Device, umask_is_zero: rules.umask_is_zero };
    let mut extractor = Extractor {
        root: directory,
        shown_as: shown_as.to_owned(),
        rules,
        apply: Applier::new(options),
        parent: None,
        directories: Vec::new(),
    };
    while let Some(mut entry) = members.next()? {
        extractor.own(&mut entry.attributes);
        extractor.member(&entry, &mut members)?;
    }
    extractor.finish()?;
    members.rest()?;
    Ok(extractor.apply.notes.into_vec())
}

/// A directory whose owner, mode and time are given when all is in it.
struct Pending {
    path: Vec<u8>,
    /// Device and inode: if somebody puts something else there meanwhile, that is left alone.
    identity: (u64, u64),
    attributes: Attributes,
}

struct Extractor {
    root: Root,
    shown_as: String,
    rules: Rules,
    apply: Applier,
    /// The parent of the last member, as the archive spells it; the next one mostly shares it.
    parent: Option<(Vec<u8>, OwnedFd)>,
    directories: Vec<Pending>,
}

const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

impl Extractor {
    fn own(&self, attributes: &mut Attributes) {
        if self.rules.ownership != Ownership::Archive {
            (attributes.uid, attributes.gid) = (0, 0);
        }
    }

    /// A new file belongs to this process's ids, unless its directory passes its group on.
    fn settle_owner(&self, fd: &OwnedFd, path: &[u8]) -> Result<(), Error> {
        if self.rules.ownership == Ownership::Caller {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(0)), Some(Gid::from_raw(0)));
        nix::unistd::fchown(fd, uid, gid).map_err(|errno| failed(path, "fchown", "0, 0", errno).into())
    }

    fn member(&mut self, entry: &Entry, members: &mut Members<'_>) -> Result<(), Error> {
        // The directory itself: docker leaves it as it is.
        if entry.path.is_empty() {
            return self.skip(entry, members);
        }
        let (lexical, name) = split(&entry.path);
        self.open_parent(lexical, &entry.path)?;
        let is_directory = entry.kind == Kind::Directory;
        let existing = self.existing(name, &entry.path)?;
        if let Some(stat) = &existing {
            let there = kind_of(stat) == SFlag::S_IFDIR;
            let (path, destination) = (shown(&entry.path), self.shown_as.clone());
            match (there, is_directory) {
                (true, false) => return Err(Error::OverDirectory { path, destination }),
                (false, true) => return Err(Error::OverFile { path, destination }),
                (true, true) => {}
                (false, false) => {
                    if self.links_to_itself(entry, stat) {
                        return Ok(());
                    }
                    self.unlink(name, &entry.path)?;
                }
            }
        }
        match &entry.kind {
            Kind::Directory => self.directory(entry, name, existing.is_some()),
            Kind::File => {
                let file = self.create(entry, name)?;
                members.payload(entry.data, &entry.path, &file)?;
                members.pad(entry.data)?;
                Ok(self.apply.file(&file, &entry.path, &entry.attributes)?)
            }
            Kind::Sparse(map) => self.sparse(entry, name, map, members),
            Kind::Symlink(target) => {
                nix::unistd::symlinkat(target.as_slice(), self.here(), name)
                    .map_err(|errno| failed(&entry.path, "symlinkat", "", errno))?;
                self.settle_link(entry, name)
            }
            Kind::HardLink(target) => self.hard_link(entry, name, target),
            Kind::Fifo => {
                let mode = mode_bits(entry.attributes.mode & 0o777);
                nix::sys::stat::mknodat(self.here(), name, SFlag::S_IFIFO, mode, 0)
                    .map_err(|errno| failed(&entry.path, "mknodat", "S_IFIFO", errno))?;
                self.settle_link(entry, name)
            }
            Kind::Device => {
                self.apply.notes.add(NoteKind::DeviceSkipped, &entry.path);
                Ok(())
            }
        }
    }

    fn here(&self) -> &OwnedFd {
        &self.parent.as_ref().expect("opened before").1
    }

    /// Takes the payload of a member that is not wanted.
    fn skip(&mut self, entry: &Entry, members: &mut Members<'_>) -> Result<(), Error> {
        if entry.data > 0 {
            let detail = "the directory that is copied to can only be a directory".to_owned();
            return Err(unpack::Error::Member { path: "/".to_owned(), detail }.into());
        }
        Ok(members.pad(entry.data)?)
    }

    fn existing(&self, name: &[u8], path: &[u8]) -> Result<Option<FileStat>, Error> {
        match fstatat(self.here(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(path, "fstatat", "", errno).into()),
        }
    }

    /// A hard link to the file that is there already must not remove it.
    fn links_to_itself(&self, entry: &Entry, stat: &FileStat) -> bool {
        let Kind::HardLink(target) = &entry.kind else { return false };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let target = super::entry::normalise(target);
        self.root
            .resolve(as_path(&target), flags, Mode::empty())
            .ok()
            .and_then(|fd| fstat(&fd).ok())
            .is_some_and(|other| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino))
    }

    fn unlink(&self, name: &[u8], path: &[u8]) -> Result<(), Error> {
        match nix::unistd::unlinkat(self.here(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::Replace {
                path: shown(path),
                source: sys::Error::new("unlinkat", shown(path), errno).into(),
            }),
        }
    }

    /// Opens the directory a member goes to, making what is missing.
    fn open_parent(&mut self, lexical: &[u8], member: &[u8]) -> Result<(), Error> {
        if self.parent.as_ref().is_some_and(|(path, _)| path == lexical) {
            return Ok(());
        }
        let open =
            |path: &[u8]| self.root.resolve(as_path(path), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
        let fd = match open(lexical) {
            Err(error) if error.is(Errno::ENOENT) => {
                let mut walked: Vec<u8> = Vec::new();
                let mut parent = open(b"").map_err(|error| system(member, error))?;
                for component in lexical.split(|&b| b == b'/') {
                    if !walked.is_empty() {
                        walked.push(b'/');
                    }
                    walked.extend_from_slice(component);
                    parent = match open(&walked) {
                        Err(error) if error.is(Errno::ENOENT) => {
                            nix::sys::stat::mkdirat(&parent, component, mode_bits(0o755))
                                .map_err(|errno| failed(&walked, "mkdirat", "0755", errno))?;
                            open(&walked).map_err(|error| system(&walked, error))?
                        }
                        result => result.map_err(|error| system(&walked, error))?,
                    };
                }
                parent
            }
            result => result.map_err(|error| system(member, error))?,
        };
        self.parent = Some((lexical.to_vec(), fd));
        Ok(())
    }

    fn create(&self, entry: &Entry, name: &[u8]) -> Result<File, Error> {
        let mode = mode_bits(entry.attributes.mode & 0o777);
        let fd = nix::fcntl::openat(self.here(), name, NEW_FILE, mode)
            .map_err(|errno| failed(&entry.path, "openat", "O_WRONLY|O_CREAT|O_EXCL", errno))?;
        self.settle_owner(&fd, &entry.path)?;
        Ok(File::from(fd))
    }

    fn sparse(
        &mut self,
        entry: &Entry,
        name: &[u8],
        map: &SparseMap,
        members: &mut Members<'_>,
    ) -> Result<(), Error> {
        let file = self.create(entry, name)?;
        for &(start, length) in &map.regions {
            std::io::Seek::seek(&mut &file, std::io::SeekFrom::Start(start))
                .map_err(|error| file_error(&entry.path, "lseek", start, &error))?;
            members.payload(length, &entry.path, &file)?;
        }
        file.set_len(map.file_size)
            .map_err(|error| file_error(&entry.path, "ftruncate", map.file_size, &error))?;
        members.pad(entry.data)?;
        Ok(self.apply.file(&file, &entry.path, &entry.attributes)?)
    }

    fn directory(&mut self, entry: &Entry, name: &[u8], exists: bool) -> Result<(), Error> {
        if !exists {
            // Open for us until all is in it.
            let mode = mode_bits(entry.attributes.mode & 0o777 | 0o700);
            nix::sys::stat::mkdirat(self.here(), name, mode)
                .map_err(|errno| failed(&entry.path, "mkdirat", "", errno))?;
        }
        let fd = nix::fcntl::openat(self.here(), name, DIRECTORY, Mode::empty())
            .map_err(|errno| failed(&entry.path, "openat", "O_PATH|O_DIRECTORY", errno))?;
        let stat = fstat(&fd).map_err(|errno| failed(&entry.path, "fstat", "", errno))?;
        self.directories.push(Pending {
            path: entry.path.clone(),
            identity: (stat.st_dev, stat.st_ino),
            attributes: entry.attributes.clone(),
        });
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, name: &[u8], target: &[u8]) -> Result<(), Error> {
        let no_target = || Error::LinkTarget { path: shown(&entry.path), target: shown(target) };
        let target = super::entry::normalise(target);
        let (parent, file) = split(&target);
        if file.is_empty() {
            return Err(no_target());
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let from = self.root.resolve(as_path(parent), flags, Mode::empty()).map_err(|_| no_target())?;
        match nix::unistd::linkat(&from, file, self.here(), name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => Err(no_target()),
            Err(errno) => Err(failed(&entry.path, "linkat", &shown(&target), errno).into()),
        }
    }

    /// Owner and time of a symbolic link or fifo that was just made.
    fn settle_link(&mut self, entry: &Entry, name: &[u8]) -> Result<(), Error> {
        let parent = &self.parent.as_ref().expect("opened before").1;
        // Attributes of what is no file or directory could only be set by its path.
        let attributes = Attributes { xattrs: Vec::new(), ..entry.attributes.clone() };
        if self.rules.ownership == Ownership::Caller {
            return match entry.kind {
                Kind::Fifo => self.apply.special(parent, name, &entry.path, &attributes),
                _ => self.apply.symlink(parent, name, &entry.path, &attributes),
            }
            .map_err(Error::from);
        }
        let (uid, gid) = (Some(Uid::from_raw(0)), Some(Gid::from_raw(0)));
        nix::unistd::fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(&entry.path, "fchownat", "0, 0", errno))?;
        // A fifo got its mode when it was made: whoever owns the directory could put a link there by now.
        Ok(self.apply.symlink(parent, name, &entry.path, &attributes)?)
    }

    /// Owner, mode and time of directories, the deepest first.
    fn finish(&mut self) -> Result<(), Error> {
        for pending in std::mem::take(&mut self.directories).into_iter().rev() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            let Ok(fd) = self.root.resolve(as_path(&pending.path), flags, Mode::empty()) else { continue };
            let stat = fstat(fd.as_fd()).map_err(|errno| failed(&pending.path, "fstat", "", errno))?;
            if (stat.st_dev, stat.st_ino) != pending.identity {
                continue;
            }
            self.settle_owner(&fd, &pending.path)?;
            self.apply.directory(&fd, &pending.path, Some(&pending.attributes))?;
        }
        Ok(())
    }
}
