//! What is written down about a container: an immutable record made at create, and the state its
//! monitor writes. Both carry a version; `docs/storage.md` describes the files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::health;
use super::id::ContainerId;
use super::log::LogConfig;
use super::mount::{BindMount, TmpfsMount};
use super::port::PublishedPort;
use super::restart::RestartPolicy;

pub const RECORD_VERSION: u32 = 1;
pub const STATE_VERSION: u32 = 1;

/// `containers/<id>/record.json`: everything decided at create. Never rewritten.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub version: u32,
    pub id: ContainerId,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    pub image: ImageUse,
    pub process: ProcessSpec,
    pub options: Options,
}

/// The root file system a container starts from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ImageUse {
    /// Layers of a stored image, lowest first.
    Stored {
        /// As the user typed it; what `ps` shows.
        reference: String,
        /// The image id: digest of its configuration.
        id: Digest,
        layers: Vec<Digest>,
    },
    /// The built-in image `host`: the host's own files below a throw-away layer.
    Host,
}

/// The container's first process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Entry point followed by command; never empty.
    pub argv: Vec<String>,
    /// `KEY=value`, complete: nothing is taken from the host at start.
    pub env: Vec<String>,
    /// Absolute; made when missing, as docker does.
    pub cwd: String,
    /// `user[:group]`, names resolved in the image; empty is root.
    pub user: String,
    pub tty: bool,
    pub open_stdin: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The best user-mode stack present, else none with a warning.
    #[default]
    Default,
    None,
    Host,
    Slirp4netns,
    Pasta,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// docker's default profile.
    #[default]
    Default,
    Unconfined,
    /// A profile in docker's JSON, as read at create.
    Profile(String),
}

/// The rest of `create`'s options, after defaults and the image's configuration were merged in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Options {
    pub hostname: String,
    pub labels: BTreeMap<String, String>,
    /// `--entrypoint` and the image's, for `inspect`.
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    /// `-e`, `--env-file` and the image's variables, for `inspect`; a `KEY` alone removes.
    pub env: Vec<String>,
    /// `-w` or the image's, for `inspect`; empty when neither gives one.
    pub working_dir: String,
    /// Paths the image declares as volumes, for `inspect`.
    pub volumes: Vec<String>,
    /// Whether the caller's streams were attached at create, for `inspect`.
    pub attached: bool,
    /// `80/tcp` and the like, from the image.
    pub exposed_ports: Vec<String>,
    pub binds: Vec<BindMount>,
    pub tmpfs: Vec<TmpfsMount>,
    pub network: NetworkMode,
    pub ports: Vec<PublishedPort>,
    pub read_only: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// Run our own init as pid 1.
    pub init: bool,
    /// Signal number `stop` sends first.
    pub stop_signal: i32,
    /// `--stop-signal` or the image's as written, for `inspect`.
    pub stop_signal_name: Option<String>,
    pub auto_remove: bool,
    /// As created; `update` may have changed it (see `Container::restart_policy`).
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default)]
    pub log: LogConfig,
    pub cidfile: Option<PathBuf>,
    /// The user's and the image's.
    #[serde(default)]
    pub health: Option<health::Config>,
    /// What the image runs lines of shell with.
    #[serde(default)]
    pub shell: Vec<String>,
}

impl Options {
    /// The command that tells whether the container is well.
    pub fn health_command(&self) -> Option<Vec<String>> {
        self.health.as_ref()?.command(&self.shell)
    }

    /// Whether there is one.
    pub fn has_health_check(&self) -> bool {
        self.health.is_some() && self.health_command().is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    /// Frozen or stopped; otherwise as good as running.
    Paused,
    /// Between two runs: the monitor waits before it starts the next one.
    Restarting,
    Exited,
}

impl Status {
    pub const ALL: [Status; 5] =
        [Status::Created, Status::Running, Status::Paused, Status::Restarting, Status::Exited];

    /// A monitor is there, as docker's `.State.Running` means it: also between two runs.
    pub fn is_alive(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }

    /// Its first process is there, whether or not it may do anything.
    pub fn has_process(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }

    /// docker's word for it, as in `.State.Status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Restarting => "restarting",
            Status::Paused => "paused",
            Status::Exited => "exited",
        }
    }
}

/// `containers/<id>/state.json`, written by the container's monitor alone. "Running" is only
/// believed while the monitor holds the container's lock (see `store::containers`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    pub version: u32,
    pub status: Status,
    /// Host pid of the container's first process; 0 when not running.
    pub pid: i32,
    /// `/proc/PID/stat` field 22 of that process, in clock ticks since boot.
    pub pid_start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` at start.
    pub boot_id: String,
    /// Host pid of the monitor.
    pub monitor_pid: i32,
    /// RFC 3339 with nanoseconds, UTC; empty: never.
    pub started_at: String,
    pub finished_at: String,
    pub exit_code: i32,
    /// How often the restart policy has started it since somebody did.
    #[serde(default)]
    pub restart_count: u32,
    /// Why the last start failed, or what ended the monitor; empty when all went well.
    pub error: String,
    /// Ports as bound, with the random ones filled in.
    pub ports: Vec<PublishedPort>,
    /// The network stack that was chosen: `none`, `host`, `slirp4netns`, `pasta`.
    pub network: String,
    /// The storage driver in use: `overlay`, `fuse-overlayfs`.
    pub driver: String,
    /// Isolation or features that this host could not give, one sentence each.
    pub lost: Vec<String>,
    /// The directory of the container's own cgroup; empty where the host gives none.
    #[serde(default)]
    pub cgroup: String,
}

impl ContainerState {
    /// Of a container that was never started.
    pub fn created() -> ContainerState {
        ContainerState {
            version: STATE_VERSION,
            status: Status::Created,
            pid: 0,
            pid_start_time: 0,
            boot_id: String::new(),
            monitor_pid: 0,
            started_at: String::new(),
            finished_at: String::new(),
            exit_code: 0,
            restart_count: 0,
            error: String::new(),
            ports: Vec::new(),
            network: String::new(),
            driver: String::new(),
            lost: Vec::new(),
            cgroup: String::new(),
        }
    }
}
