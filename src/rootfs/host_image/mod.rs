//! The built-in image `host`: a throw-away clone of the host's own files. Runs in the container's init, which is
//! root of a new user namespace and of a mount namespace that is a copy of the host's.
//!
//! All mounts of that copy are locked together, so one overlay over `/` is refused. The clone is therefore put
//! together from parts: an overlay for each directory that has no mount below it, and plain directories where
//! mounts lie deeper. [`plan()`] decides, [`apply()`] does. All writes land below `scratch`:
//!
//! ```text
//! scratch/upper/<path>   what the container wrote below <path>
//! scratch/work/<path>    the overlay's own
//! scratch/root           the container's root, when all of this is in memory
//! ```
//!
//! A clone that is thrown away has `scratch` in memory. Between the host's files and the upper layer lies a tree of
//! empty directories that all clones share ([`skeleton`]): it makes the host's directories the container's.
//!
//! What is lost against a real root file system:
//! - The host's root is not mapped in the container, so its files belong to `nobody` there. They can be replaced,
//!   renamed and removed, but not changed in place. The user's own files can be changed freely.
//! - Directories beyond [`skeleton`]'s limit are as closed as they are to the user on the host.
//! - What the user cannot read is empty or refused.
//! - Beside a mount: sockets, fifos and devices are left out, larger files are read-only.

mod apply;
mod plan;
mod skeleton;
mod upper;

use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

pub use apply::{apply, in_memory};
pub use plan::{host_entries, plan};

/// The directory that becomes the container's root when all of the clone is in memory.
pub const ROOT: &str = "root";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list the host's {path:?}")]
    List { path: PathBuf, source: io::Error },
    #[error("cannot make {path:?} in the container's root")]
    Target { path: PathBuf, source: sys::error::Error },
    #[error("cannot prepare the container's own layer {path:?}")]
    Scratch { path: PathBuf, source: io::Error },
    #[error("cannot look at the host's {path:?}")]
    Inspect { path: PathBuf, source: sys::error::Error },
    #[error("cannot copy the host's {path:?}")]
    Copy { path: PathBuf, source: io::Error },
    #[error("cannot bind the host's {path:?} read-only")]
    Bind { path: PathBuf, source: sys::error::Error },
    #[error(
        "cannot lay a writable layer over the host's {path:?}; the image `host` needs a kernel that lets users \
         mount overlays, as Linux does from 5.11 on unless its builder forbade it"
    )]
    Overlay { path: PathBuf, source: sys::error::Error },
}

/// What a name in a host directory is; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    Directory,
    File,
    /// With what it points to.
    Symlink(PathBuf),
    Other,
}

/// One piece of the clone. Paths are absolute, on the host and in the container alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A writable view of the host's directory.
    Overlay {
        path: PathBuf,
    },
    /// A directory that later parts fill; it has the mode of the host's.
    Directory {
        path: PathBuf,
    },
    /// A directory that stays empty.
    Empty {
        path: PathBuf,
        mode: u32,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    /// A regular file beside a mount: copied when small, else bound read-only.
    File {
        path: PathBuf,
    },
}

/// How [`apply()`] works.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// A directory of the container, by a trusted path, on a file system that can hold an overlay's upper layer.
    /// It may hold what an earlier start of the same container left; that stays.
    pub scratch: &'a Path,
    /// Where the directories that every clone shares are kept, in a directory of the user's own.
    pub skeleton: &'a Path,
    /// Whether the overlays may skip syncing (mount option `volatile`).
    pub volatile: bool,
    /// Whether the container will be able to remount (CAP_SYS_ADMIN). Large files which the user may write are
    /// then left out instead of bound read-only, because the container could undo the read-only.
    pub can_remount: bool,
}
