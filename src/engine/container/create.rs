//! Planning a container: what the user asked for and what the image says become one immutable
//! record. Pure but for [`CidFile`]. Runs in the client.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::spec::container::{
    ContainerRecord, ImageUse, NetworkMode, Options, ProcessSpec, RECORD_VERSION, Seccomp,
};
use crate::spec::digest::Digest;
use crate::spec::env::{self, EnvChange};
use crate::spec::health;
use crate::spec::id::ContainerId;
use crate::spec::image::RunConfig;
use crate::spec::log::{InvalidLog, LogConfig};
use crate::spec::mount::{BindMount, TmpfsMount};
use crate::spec::name::ContainerName;
use crate::spec::platform::Platform;
use crate::spec::port::PublishedPort;
use crate::spec::restart::RestartPolicy;
use crate::spec::signal;
use crate::spec::user::{InvalidUser, UserSpec};

/// What a process gets as `PATH` when neither the image nor the user sets it; docker's value.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What `run host` starts when no command is given.
const HOST_COMMAND: &str = "/bin/sh";

/// When the image is fetched before the container is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    #[default]
    Missing,
    Never,
}

/// Everything a user can ask for at `create` and `run`.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// As typed: a reference, an image id or a prefix of one.
    pub image: String,
    /// Replaces the image's command when not empty.
    pub command: Vec<String>,
    /// `None`: a random one.
    pub name: Option<ContainerName>,
    pub pull: PullPolicy,
    /// No progress of an implicit pull.
    pub quiet: bool,
    pub platform: Option<Platform>,
    pub tty: bool,
    /// Keep stdin open.
    pub interactive: bool,
    /// The caller's streams stay connected (`run` without `-d`, `create`).
    pub attached: bool,
    /// Changes to the image's environment; later ones win.
    pub env: Vec<EnvChange>,
    /// Empty: the image's.
    pub workdir: String,
    /// `user[:group]`; empty: the image's.
    pub user: String,
    /// `Some("")` clears the image's entry point.
    pub entrypoint: Option<String>,
    pub hostname: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub network: NetworkMode,
    pub ports: Vec<PublishedPort>,
    pub binds: Vec<BindMount>,
    pub tmpfs: Vec<TmpfsMount>,
    pub read_only: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub init: bool,
    /// A name or a number; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    pub auto_remove: bool,
    pub restart: RestartPolicy,
    pub log: LogConfig,
    pub cidfile: Option<PathBuf>,
    /// `None`: the image's.
    pub health: Option<health::Config>,
}

/// What the plan needs to know of the image.
#[derive(Debug, Clone)]
pub enum ImageView {
    Stored {
        reference: String,
        id: Digest,
        layers: Vec<Digest>,
        config: Box<RunConfig>,
    },
    /// The built-in image: the host's own files below a throw-away layer.
    Host,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no command specified: the image has none, give one after its name")]
    NoCommand,
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    RelativeWorkdir(String),
    #[error(transparent)]
    StopSignal(#[from] signal::InvalidSignal),
    #[error(transparent)]
    User(#[from] InvalidUser),
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(PathBuf),
    #[error("invalid {option}: unknown capability: \"{name}\"")]
    Capability { option: &'static str, name: String },
    #[error("container ID file found, make sure the other container isn't running or delete {0}")]
    CidFileExists(PathBuf),
    #[error(transparent)]
    Log(#[from] InvalidLog),
    #[error(transparent)]
    Health(#[from] health::Invalid),
    #[error("the image's health check is malformed")]
    ImageHealth(#[source] serde_json::Error),
    #[error("the image's shell is malformed")]
    ImageShell(#[source] serde_json::Error),
    #[error("failed to create the container ID file: open {path}")]
    CidFile { path: PathBuf, source: std::io::Error },
}

/// Merges the request and the image's configuration as docker does.
///
/// `now` is RFC 3339 in UTC; `host_name` is what a container in the host's network is called.
///
/// # Errors
/// When nothing is left to execute, or a value is out of its range.
pub fn plan(
    request: &Request,
    image: &ImageView,
    id: ContainerId,
    now: String,
    host_name: &str,
) -> Result<ContainerRecord, Error> {
    let host_config;
    let (image_use, config) = match image {
        ImageView::Stored { reference, id, layers, config } => {
            let (reference, id, layers) = (reference.clone(), id.clone(), layers.clone());
            (ImageUse::Stored { reference, id, layers }, config.as_ref())
        }
        ImageView::Host => {
            host_config = RunConfig { cmd: Some(vec![HOST_COMMAND.to_owned()]), ..RunConfig::default() };
            (ImageUse::Host, &host_config)
        }
    };
    let (entrypoint, cmd) = command(request, config);
    let argv: Vec<String> = entrypoint.iter().chain(&cmd).flatten().cloned().collect();
    if argv.is_empty() {
        return Err(Error::NoCommand);
    }
    let working_dir = working_dir(request, config)?;
    let hostname = match (&request.hostname, &request.network) {
        (Some(name), _) if !name.is_empty() => name.clone(),
        (_, NetworkMode::Host) => host_name.to_owned(),
        _ => id.short().to_owned(),
    };
    let user = if request.user.is_empty() { &config.user } else { &request.user };
    user.parse::<UserSpec>()?;
    let changes = configured_env(&request.env, config.env.as_deref().unwrap_or_default());
    let process = ProcessSpec {
        argv,
        env: process_env(&changes, &hostname, request.tty),
        cwd: if working_dir.is_empty() { "/".to_owned() } else { working_dir.clone() },
        user: user.clone(),
        tty: request.tty,
        open_stdin: request.interactive,
    };
    let env = changes.iter().map(env_text).collect();
    let options = Options { hostname, entrypoint, cmd, env, working_dir, ..options(request, config)? };
    Ok(ContainerRecord { version: RECORD_VERSION, id, created: now, image: image_use, process, options })
}

/// Entry point and command. One given by the user clears the image's command; an empty one clears
/// the image's entry point and its command too.
fn command(request: &Request, config: &RunConfig) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let own_command = (!request.command.is_empty()).then(|| request.command.clone());
    let not_empty = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    match request.entrypoint.as_deref() {
        Some("") => (None, own_command),
        Some(program) => (Some(vec![program.to_owned()]), own_command),
        None => (not_empty(&config.entrypoint), own_command.or_else(|| not_empty(&config.cmd))),
    }
}

/// The working directory without `.`, `..` and double slashes; empty when nobody gives one.
fn working_dir(request: &Request, config: &RunConfig) -> Result<String, Error> {
    let given = if request.workdir.is_empty() { &config.working_dir } else { &request.workdir };
    if given.is_empty() {
        return Ok(String::new());
    }
    if !given.starts_with('/') {
        return Err(Error::RelativeWorkdir(given.clone()));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(given).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

fn key_of(change: &EnvChange) -> &str {
    match change {
        EnvChange::Set { key, .. } | EnvChange::Unset { key } => key,
    }
}

/// As docker writes a change down: `KEY=value`, or `KEY` alone for one that removes.
fn env_text(change: &EnvChange) -> String {
    match change {
        EnvChange::Set { key, value } => format!("{key}={value}"),
        EnvChange::Unset { key } => key.clone(),
    }
}

/// The user's variables, then those of the image that the user did not mention.
fn configured_env(own: &[EnvChange], image: &[String]) -> Vec<EnvChange> {
    let mentioned: BTreeSet<&str> = own.iter().map(key_of).collect();
    let image = image.iter().filter_map(|variable| variable.split_once('='));
    let rest = image.filter(|(key, _)| !key.is_empty() && !mentioned.contains(key));
    let rest = rest.map(|(key, value)| EnvChange::Set { key: key.to_owned(), value: value.to_owned() });
    own.iter().cloned().chain(rest).collect()
}

/// The complete environment: docker's defaults, replaced, extended and reduced by the configured
/// variables. `HOME` is added at start, when the user's entry in the image can be read.
fn process_env(configured: &[EnvChange], hostname: &str, tty: bool) -> Vec<String> {
    let mut defaults = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    defaults.extend(tty.then(|| "TERM=xterm".to_owned()));
    env::merge(&defaults, configured)
}

fn options(request: &Request, config: &RunConfig) -> Result<Options, Error> {
    let mut labels = config.labels.clone().unwrap_or_default();
    labels.extend(request.labels.clone());
    let image_ports = config.exposed_ports.iter().flat_map(BTreeMap::keys).cloned();
    let own_ports = request.ports.iter().map(PublishedPort::target);
    let exposed_ports: BTreeSet<String> =
        image_ports.map(|port| with_protocol(&port)).chain(own_ports).collect();
    let stop_signal_name =
        request.stop_signal.clone().filter(|name| !name.is_empty()).or_else(|| config.stop_signal.clone());
    let stop_signal = match &stop_signal_name {
        Some(name) => signal::parse(name)?,
        None => signal::SIGTERM,
    };
    refuse_duplicates(request)?;
    request.log.settings()?;
    Ok(Options {
        labels,
        exposed_ports: exposed_ports.into_iter().collect(),
        volumes: config.volumes.iter().flat_map(BTreeMap::keys).cloned().collect(),
        attached: request.attached,
        binds: request.binds.clone(),
        tmpfs: request.tmpfs.clone(),
        network: request.network.clone(),
        ports: request.ports.clone(),
        read_only: request.read_only,
        cap_add: capabilities(&request.cap_add, "CapAdd")?,
        cap_drop: capabilities(&request.cap_drop, "CapDrop")?,
        privileged: request.privileged,
        no_new_privileges: request.no_new_privileges,
        seccomp: request.seccomp.clone(),
        init: request.init,
        stop_signal,
        stop_signal_name,
        auto_remove: request.auto_remove,
        restart: request.restart,
        log: request.log.clone(),
        cidfile: request.cidfile.clone(),
        health: health_check(request, config)?,
        shell: from_image(config, "Shell").map_err(Error::ImageShell)?.unwrap_or_default(),
        ..Options::default()
    })
}

/// The user's words, completed by the image's.
fn health_check(request: &Request, config: &RunConfig) -> Result<Option<health::Config>, Error> {
    let image: Option<health::Config> = from_image(config, "Healthcheck").map_err(Error::ImageHealth)?;
    let Some(own) = request.health.clone() else { return Ok(image) };
    own.check()?;
    Ok(Some(own.merge(image.unwrap_or_default())))
}

/// A value that docker's images have beyond the OCI's.
fn from_image<T: serde::de::DeserializeOwned>(
    config: &RunConfig,
    key: &str,
) -> Result<Option<T>, serde_json::Error> {
    config.other.get(key).map_or(Ok(None), Option::deserialize)
}

/// An image may declare `80` where `80/tcp` is meant.
fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn refuse_duplicates(request: &Request) -> Result<(), Error> {
    let binds = request.binds.iter().map(|bind| &bind.target);
    let mut seen = BTreeSet::new();
    for target in binds.chain(request.tmpfs.iter().map(|tmpfs| &tmpfs.target)) {
        if !seen.insert(target) {
            return Err(Error::DuplicateMount(target.clone()));
        }
    }
    Ok(())
}

/// Capability names as docker writes them down: sorted, upper case, with `CAP_`, or `ALL`.
fn capabilities(names: &[String], option: &'static str) -> Result<Vec<String>, Error> {
    let names: Result<BTreeSet<String>, Error> = names
        .iter()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            match crate::security::caps::number(&full).is_some() {
                true => Ok(full),
                false => Err(Error::Capability { option, name: full }),
            }
        })
        .collect();
    Ok(names?.into_iter().collect())
}

/// `--cidfile`: reserved before the container is made, so that two runs never share one; removed
/// again unless the id was written.
#[derive(Debug)]
pub struct CidFile {
    path: PathBuf,
    file: Option<File>,
}

impl CidFile {
    /// Creates the file, which must not exist.
    pub fn reserve(path: &Path) -> Result<CidFile, Error> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(CidFile { path: path.to_owned(), file: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::CidFileExists(path.to_owned()))
            }
            Err(source) => Err(Error::CidFile { path: path.to_owned(), source }),
        }
    }

    /// Writes the id, without a newline as docker does, and keeps the file.
    pub fn write(mut self, id: &ContainerId) -> Result<(), Error> {
        let mut file = self.file.take().expect("only write takes the file");
        file.write_all(id.as_str().as_bytes()).map_err(|source| {
            let _ = std::fs::remove_file(&self.path);
            Error::CidFile { path: self.path.clone(), source }
        })
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Nothing was written: the next try must find the path free.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
