//! Builds the clone from its parts. Runs in the container's init, before it changes its root.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmodat, fstat, mkdirat, umask};
use nix::unistd::{AccessFlags, eaccess, faccessat, symlinkat};

use super::{Error, Options, Part, ROOT, skeleton, upper};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::mount::{self, Attributes, FileSystem};
use crate::sys::path::{Root, fd_path};
use crate::sys::xattr;

/// Builds the clone in `root`, a directory that is empty or was filled by an earlier start of the same container.
///
/// The caller must be single-threaded (the umask is changed meanwhile), root of its user and mount namespace, and
/// see the host's `/` and `/proc`. Returns what a user should be told is missing from the clone, a sentence each.
pub fn apply(parts: &[Part], root: BorrowedFd<'_>, options: &Options<'_>) -> Result<Vec<String>, Error> {
    let inspect = |source| Error::Inspect { path: "/".into(), source };
    let device = fs::metadata("/").call("stat", || "/".to_owned()).map_err(inspect)?.dev();
    let root = root.try_clone_to_owned().call("dup", || "new root".to_owned()).map_err(inspect)?;
    let _umask = Umask::clear();
    let mut notes = Vec::new();
    let skeleton = match skeleton::ready(options.skeleton) {
        Ok(tree) => Some(tree),
        Err(e) => {
            notes.push(format!(
                "most directories of the host's root are read-only: {:?}: {e}",
                options.skeleton
            ));
            None
        }
    };
    let mut builder = Builder { root: Root::from_fd(root), options, device, skeleton, notes };
    for part in parts {
        builder.part(part)?;
    }
    Ok(builder.notes)
}

/// Puts `scratch` into memory, with a directory [`ROOT`] that may become the container's root: a clone on disk
/// costs some 300 directories at its start and again at its end. False where the kernel cannot (before Linux 6.6
/// such a file system refuses the attributes that overlays need).
pub fn in_memory(scratch: &Path) -> Result<bool, Error> {
    let error = |source| Error::Target { path: scratch.to_owned(), source };
    let fs = FileSystem::open("tmpfs").map_err(error)?;
    fs.set("mode", b"755").map_err(error)?;
    let mount = fs.mount(Attributes::NONE).map_err(error)?;
    let directory = fs::File::open(fd_path(&mount)).call("open", || "tmpfs".to_owned()).map_err(error)?;
    if xattr::set(&directory, c"user.overlay.opaque", b"n").is_err() {
        return Ok(false);
    }
    mkdirat(&mount, ROOT, Mode::from_bits_truncate(0o755))
        .call("mkdirat", || ROOT.to_owned())
        .map_err(error)?;
    Root::open(scratch).and_then(|target| mount::attach(&mount, target)).map_err(error)?;
    Ok(true)
}

/// Lets directories have exactly the modes asked for, until dropped.
struct Umask(Mode);

impl Umask {
    fn clear() -> Umask {
        Umask(umask(Mode::empty()))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

struct Builder<'a> {
    root: Root,
    options: &'a Options<'a>,
    /// The device of the host's `/`.
    device: u64,
    /// The directories that are the container's.
    skeleton: Option<PathBuf>,
    notes: Vec<String>,
}

impl Builder<'_> {
    fn part(&mut self, part: &Part) -> Result<(), Error> {
        match part {
            Part::Overlay { path } => self.overlay(path),
            Part::Directory { path } => {
                let mode = fs::metadata(path)
                    .call("stat", || format!("{path:?}"))
                    .map_err(|source| Error::Inspect { path: path.clone(), source })?
                    .mode();
                self.directory(path, mode)
            }
            Part::Empty { path, mode } => self.directory(path, *mode),
            Part::Symlink { path, target } => self.make(path, |dir, name| {
                symlinkat(target, dir, name).call("symlinkat", || format!("{target:?}, {name:?}"))
            }),
            Part::File { path } => self.file(path),
        }
    }

    fn directory(&self, path: &Path, mode: u32) -> Result<(), Error> {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        self.make(path, |dir, name| {
            mkdirat(dir, name, mode).call("mkdirat", || format!("{name:?}, {mode:?}"))?;
            // mkdirat(2) ignores the set-group-ID bit.
            if mode.contains(Mode::S_ISGID) {
                fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink)
                    .call("fchmodat", || format!("{name:?}, {mode:?}"))?;
            }
            Ok(())
        })
    }

    /// Runs `create` with the directory that is to hold `path`, and the name. What is already there stays.
    fn make(
        &self,
        path: &Path,
        create: impl FnOnce(BorrowedFd<'_>, &Path) -> sys::error::Result<()>,
    ) -> Result<(), Error> {
        let parent = relative(path).parent().unwrap_or(Path::new(""));
        let name = Path::new(path.file_name().unwrap_or_default());
        let made = self
            .root
            .resolve_plain(parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
            .and_then(|dir| create(dir.as_fd(), name));
        match made {
            Err(source) if !source.is(Errno::EEXIST) => Err(Error::Target { path: path.to_owned(), source }),
            _ => Ok(()),
        }
    }

    /// Opens what was made at `path`, to mount onto it.
    fn target(&self, path: &Path) -> Result<OwnedFd, Error> {
        self.root
            .resolve_plain(relative(path), OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())
            .map_err(|source| Error::Target { path: path.to_owned(), source })
    }

    fn overlay(&mut self, path: &Path) -> Result<(), Error> {
        let (lower, stat) = match open_readable(path) {
            Ok(opened) => opened,
            Err(e) if e.is(Errno::EACCES) || e.is(Errno::EPERM) => {
                // The user never saw these on the host either.
                if is_top_level(path) && path != Path::new("/root") {
                    self.notes.push(format!("{} cannot be read and is empty", path.display()));
                }
                return self.directory(path, 0o755);
            }
            // Gone since the plan was made.
            Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => return Ok(()),
            Err(source) => return Err(Error::Inspect { path: path.to_owned(), source }),
        };
        self.directory(path, stat.st_mode)?;
        // Nothing to show: the directory just made does as well. (/srv, /mnt, /media, /boot.)
        if fs::read_dir(fd_path(&lower)).is_ok_and(|mut entries| entries.next().is_none()) {
            return Ok(());
        }
        let layers = upper::prepare(self.options.scratch, path, stat.st_mode)
            .map_err(|source| Error::Scratch { path: path.to_owned(), source })?;
        let skeleton = self.skeleton.as_ref().and_then(|tree| Root::open(&tree.join(relative(path))).ok());
        match mount_overlay(&lower, skeleton.as_ref(), &layers, self.options.volatile) {
            Ok(mount) => mount::attach(mount, self.target(path)?)
                .map_err(|source| Error::Target { path: path.to_owned(), source }),
            // Some kinds of file systems cannot be a lower layer (FAT); the kernel alone knows which.
            Err(e) if stat.st_dev != self.device => {
                self.notes.push(format!("{} cannot be layered and is empty: {e}", path.display()));
                Ok(())
            }
            Err(source) => Err(Error::Overlay { path: path.to_owned(), source }),
        }
    }

    fn file(&self, path: &Path) -> Result<(), Error> {
        let copy = |source| Error::Copy { path: path.to_owned(), source };
        let parent = relative(path).parent().unwrap_or(Path::new(""));
        let dir = self
            .root
            .resolve_plain(parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
            .map_err(|source| Error::Target { path: path.to_owned(), source })?;
        let to = Path::new(&fd_path(&dir)).join(path.file_name().unwrap_or_default());
        if upper::copy_small(path, &to).map_err(copy)? {
            return Ok(());
        }
        if self.options.can_remount && eaccess(path, AccessFlags::W_OK).is_ok() {
            return Ok(());
        }
        let bound = match mount::clone_tree(AT_FDCWD, path, false) {
            Ok(mount) => mount,
            Err(e) if e.is(Errno::ENOENT) => return Ok(()),
            Err(source) => return Err(Error::Bind { path: path.to_owned(), source }),
        };
        match fs::OpenOptions::new().write(true).create_new(true).open(&to) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(copy(e)),
            _ => {}
        }
        let target = self.target(path)?;
        mount::set_attributes(&bound, Attributes::READ_ONLY, false)
            .and_then(|()| mount::attach(&bound, target))
            .map_err(|source| Error::Bind { path: path.to_owned(), source })
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn is_top_level(path: &Path) -> bool {
    path.parent() == Some(Path::new("/"))
}

/// Opens a host directory (`O_PATH`) that we may list and enter.
fn open_readable(path: &Path) -> sys::error::Result<(OwnedFd, FileStat)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(path, flags, Mode::empty()).call("open", || format!("{path:?}, O_PATH"))?;
    let wanted = AccessFlags::R_OK | AccessFlags::X_OK;
    faccessat(&fd, ".", wanted, AtFlags::AT_EACCESS).call("faccessat", || format!("{path:?}, {wanted:?}"))?;
    let stat = fstat(&fd).call("fstat", || format!("{path:?}"))?;
    Ok((fd, stat))
}

/// Layers are named by descriptors, because `:`, `,` and `\` have meanings of their own in overlay options.
fn mount_overlay(
    lower: &OwnedFd,
    skeleton: Option<&Root>,
    layers: &upper::Layers,
    volatile: bool,
) -> sys::error::Result<OwnedFd> {
    let upper = Root::open(&layers.upper)?;
    let work = Root::open(&layers.work)?;
    let overlay = FileSystem::open("overlay")?;
    let lower = match skeleton {
        Some(skeleton) => format!("{}:{}", fd_path(skeleton), fd_path(lower)),
        None => fd_path(lower),
    };
    overlay.set("lowerdir", lower.as_bytes())?;
    overlay.set("upperdir", fd_path(&upper).as_bytes())?;
    overlay.set("workdir", fd_path(&work).as_bytes())?;
    overlay.set_flag("userxattr")?;
    if volatile {
        overlay.set_flag("volatile")?;
    }
    overlay.mount(Attributes::NONE)
}
