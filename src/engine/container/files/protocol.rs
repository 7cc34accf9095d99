//! What client and files worker say to each other: one JSON packet each, descriptors beside it. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::archive::extract::{self, Ownership};
use crate::archive::unpack::Note;
use crate::archive::{FailedCall, pack};
use crate::rootfs::driver::Driver;
use crate::runtime::usage::Usage;
use crate::spec::id::ContainerId;

/// `argv[1]` of the worker's role.
pub const ROLE: &str = "__files";
/// Descriptors the role inherits.
pub const CONTROL: i32 = 3;
/// A pidfd of the container's first process, or home's user namespace.
pub const NAMESPACE: i32 = 4;
/// A letter with the [`Order`] as JSON.
pub const ORDER: i32 = 5;
/// The lock of a container that does not run.
pub const LOCK: i32 = 6;

/// Where the worker works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub data: PathBuf,
    pub runtime: PathBuf,
    pub id: ContainerId,
    pub place: Place,
    pub single_id: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Place {
    /// In the files of a running container.
    Running,
    /// In the files of one that does not run, whose lock comes with the order.
    Stopped { driver: Driver },
    /// In the user's mapped namespace, with the host's files.
    Home,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Stat {
        path: String,
    },
    /// Packs into the pipe that comes with it. `called` is the name in the archive; docker's when not given.
    Pack {
        path: String,
        called: Option<String>,
    },
    /// Extracts from the pipe that comes with it.
    Extract {
        path: String,
        ownership: Ownership,
    },
    /// What the container changed; `lower` are the layers' trees, the topmost first.
    Changes {
        upper: PathBuf,
        lower: Vec<PathBuf>,
    },
    /// The processes in the pid namespace of a process.
    Processes {
        of: i32,
    },
    /// What they have used.
    Usage {
        of: i32,
    },
}

/// What is at a path; docker's PathStat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    pub name: String,
    pub size: u64,
    /// As in stat(2), with the type.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Where a symbolic link leads in the end, from the container's root; empty for anything else.
    pub link_target: String,
}

impl PathStat {
    pub fn kind(&self) -> nix::sys::stat::SFlag {
        nix::sys::stat::SFlag::from_bits_truncate(self.mode) & nix::sys::stat::SFlag::S_IFMT
    }

    pub fn is_directory(&self) -> bool {
        self.kind() == nix::sys::stat::SFlag::S_IFDIR
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The place is entered.
    Ready,
    Stat(PathStat),
    Done(Vec<Note>),
    Changes(Vec<super::changes::Change>),
    Processes(Vec<i32>),
    Usage(Usage),
    Refused(Refusal),
}

/// Why the worker did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Nothing is at the path; who asked knows the container's name.
    #[error("could not find the file {0}")]
    NotFound(String),
    #[error("lstat {0}: not a directory")]
    NotDirectory(String),
    #[error("extraction point is not a directory")]
    ExtractionPoint,
    #[error("container rootfs is marked read-only")]
    ReadOnlyRoot,
    #[error("mounted volume is marked read-only")]
    ReadOnlyVolume,
    #[error("cannot look at {path:?}")]
    Look {
        path: String,
        #[source]
        source: FailedCall,
    },
    #[error(transparent)]
    Pack(pack::Error),
    #[error(transparent)]
    Extract(extract::Error),
    /// With its causes.
    #[error("{0}")]
    Place(String),
    #[error("the files worker does not understand the request: {0}")]
    Malformed(String),
}
