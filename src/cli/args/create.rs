//! The flags that `run` and `create` share, and the request they become.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::health::HealthFlags;
use super::{Missing, missing, missing_short};
use crate::cli::error::{CommandError, chain};
use crate::engine::container::create::{PullPolicy, Request};
use crate::spec::container::{NetworkMode, Seccomp};
use crate::spec::env::{self, EnvChange};
use crate::spec::log::LogConfig;
use crate::spec::mount::{BindMount, TmpfsMount};
use crate::spec::name::ContainerName;
use crate::spec::platform::Platform;
use crate::spec::restart::RestartPolicy;
use crate::spec::{mount, port, restart};

#[derive(Debug, clap::Args)]
pub struct CreateFlags {
    /// Give the container this Linux capability, too (a name, or ALL)
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Take this Linux capability from the container (a name, or ALL)
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Write the container's ID to this file, which must not exist
    #[arg(long, value_name = "string")]
    cidfile: Option<String>,
    /// Run this instead of the image's ENTRYPOINT; empty for none
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set an environment variable (KEY=value; KEY alone takes the caller's value)
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Set the environment variables of a file, one a line
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    #[command(flatten)]
    health: HealthFlags,
    /// The container's host name
    #[arg(short = 'h', long, value_name = "string")]
    hostname: Option<String>,
    /// Run an init as process 1 that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Keep stdin open even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Set a label (KEY=value)
    #[arg(short, long, value_name = "list")]
    label: Vec<String>,
    /// How output is kept ("json-file", "journald", "none")
    #[arg(long, value_name = "string")]
    log_driver: Option<String>,
    /// An option of the log driver (max-size=10m, max-file=3, labels=, env=, tag=, mode=)
    #[arg(long, value_name = "list")]
    log_opt: Vec<String>,
    /// The container's name
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// The container's network ("none", "host", "slirp4netns", "pasta")
    #[arg(long, alias = "net", value_name = "network")]
    network: Option<String>,
    /// Take the image for this platform (os[/arch[/variant]])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Give the container all powers inside its user namespace
    #[arg(long)]
    privileged: bool,
    /// Publish a container's port on the host ([ip:][hostPort:]port[/tcp|udp])
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Pull the image first ("always", "missing", "never") (default "missing")
    #[arg(long, value_name = "string")]
    pull: Option<String>,
    /// No progress of a pull
    #[arg(short, long)]
    quiet: bool,
    /// Mount the container's root file system read-only
    #[arg(long)]
    read_only: bool,
    /// What starts the container again when it exits ("no", "always", "unless-stopped", "on-failure[:max-retries]")
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    /// Remove the container when it exits
    #[arg(long)]
    rm: bool,
    /// A security option (seccomp=FILE|unconfined, no-new-privileges)
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// The signal that stops the container
    #[arg(long, value_name = "string")]
    stop_signal: Option<String>,
    /// Mount a tmpfs (DIRECTORY[:options])
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// The user to run as (<name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Bind mount a host's file or folder (source:destination[:ro|rw])
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// The working directory in the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

/// docker's options of `run` and `create` that do not exist yet.
pub const MISSING: &[Missing] = &[
    missing("add-host"),
    missing("annotation"),
    missing_short("attach", 'a'),
    missing("blkio-weight"),
    missing("blkio-weight-device"),
    missing("cgroup-parent"),
    missing("cgroupns"),
    missing("cpu-count"),
    missing("cpu-percent"),
    missing("cpu-period"),
    missing("cpu-quota"),
    missing("cpu-rt-period"),
    missing("cpu-rt-runtime"),
    missing_short("cpu-shares", 'c'),
    missing("cpus"),
    missing("cpuset-cpus"),
    missing("cpuset-mems"),
    missing("device"),
    missing("device-cgroup-rule"),
    missing("device-read-bps"),
    missing("device-read-iops"),
    missing("device-write-bps"),
    missing("device-write-iops"),
    missing("disable-content-trust"),
    missing("dns"),
    missing("dns-opt"),
    missing("dns-option"),
    missing("dns-search"),
    missing("domainname"),
    missing("expose"),
    missing("gpus"),
    missing("group-add"),
    missing("io-maxbandwidth"),
    missing("io-maxiops"),
    missing("ip"),
    missing("ip6"),
    missing("ipc"),
    missing("isolation"),
    missing("kernel-memory"),
    missing("label-file"),
    missing("link"),
    missing("link-local-ip"),
    missing("mac-address"),
    missing_short("memory", 'm'),
    missing("memory-reservation"),
    missing("memory-swap"),
    missing("memory-swappiness"),
    missing("mount"),
    missing("net-alias"),
    missing("network-alias"),
    missing("oom-kill-disable"),
    missing("oom-score-adj"),
    missing("pid"),
    missing("pids-limit"),
    missing_short("publish-all", 'P'),
    missing("runtime"),
    missing("shm-size"),
    missing("stop-timeout"),
    missing("storage-opt"),
    missing("sysctl"),
    missing("ulimit"),
    missing("use-api-socket"),
    missing("userns"),
    missing("uts"),
    missing("volume-driver"),
    missing("volumes-from"),
];

/// `--env-file` and `-e` of this process's caller, as `exec` takes them.
pub fn own_environment(files: &[String], own: &[String]) -> Result<Vec<EnvChange>, CommandError> {
    with_caller(|caller| environment(files, own, caller))
}

/// Hands over what this process knows: its directory, environment and files.
pub fn with_caller<T>(work: impl FnOnce(&Caller<'_>) -> T) -> T {
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let variable = |key: &str| std::env::var(key).ok();
    let read = |path: &Path| std::fs::read(path);
    work(&Caller { cwd: &cwd, variable: &variable, read: &read })
}

/// What the caller's process adds to the flags.
pub struct Caller<'a> {
    /// Relative bind sources start here.
    pub cwd: &'a Path,
    /// Looks up one of the caller's own environment variables.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

impl CreateFlags {
    /// The request, every value checked. `words`: the image, then the command.
    pub fn into_request(self, words: Vec<String>, caller: &Caller<'_>) -> Result<Request, CommandError> {
        let mut words = words.into_iter();
        let image = words.next().expect("at least one word was asked for");
        let (no_new_privileges, seccomp) = security_options(&self.security_opt, caller)?;
        let ports = self.publish.iter().map(|text| port::parse_publish(text));
        let ports: Vec<Vec<_>> = ports.collect::<Result<_, _>>().map_err(CommandError::usage)?;
        Ok(Request {
            image,
            command: words.collect(),
            name: container_name(self.name.as_deref())?,
            pull: pull_policy(self.pull.as_deref())?,
            quiet: self.quiet,
            platform: platform_of(self.platform.as_deref())?,
            tty: self.tty,
            interactive: self.interactive,
            attached: true,
            env: environment(&self.env_file, &self.env, caller)?,
            workdir: self.workdir.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            entrypoint: self.entrypoint,
            hostname: self.hostname,
            labels: labels(&self.label)?,
            network: network_mode(self.network.as_deref())?,
            ports: ports.concat(),
            binds: binds(&self.volume, caller)?,
            tmpfs: tmpfs(&self.tmpfs)?,
            read_only: self.read_only,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            privileged: self.privileged,
            no_new_privileges,
            seccomp,
            init: self.init,
            stop_signal: self.stop_signal,
            auto_remove: self.rm,
            restart: restart_policy(self.restart.as_deref(), self.rm)?,
            log: log_config(self.log_driver.as_deref(), &self.log_opt)?,
            health: self.health.config()?,
            cidfile: self.cidfile.filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

/// The bind mounts; one that is given twice is meant once.
fn binds(texts: &[String], caller: &Caller<'_>) -> Result<Vec<BindMount>, CommandError> {
    let mut binds = Vec::new();
    for text in texts {
        let bind = mount::parse_volume(text, caller.cwd).map_err(|error| match error.is_malformed() {
            true => CommandError::usage(error),
            false => CommandError::failure(error),
        })?;
        if !binds.contains(&bind) {
            binds.push(bind);
        }
    }
    Ok(binds)
}

/// The last one for a place counts.
fn tmpfs(texts: &[String]) -> Result<Vec<TmpfsMount>, CommandError> {
    let mut mounts: Vec<TmpfsMount> = Vec::new();
    for text in texts {
        let mount = mount::parse_tmpfs(text).map_err(CommandError::failure)?;
        mounts.retain(|other| other.target != mount.target);
        mounts.push(mount);
    }
    Ok(mounts)
}

/// An empty name is none, as a script's unset variable gives it.
fn container_name(text: Option<&str>) -> Result<Option<ContainerName>, CommandError> {
    text.filter(|text| !text.is_empty()).map(str::parse).transpose().map_err(CommandError::failure)
}

/// `--platform`, empty for none.
pub fn platform_of(text: Option<&str>) -> Result<Option<Platform>, CommandError> {
    text.filter(|text| !text.is_empty()).map(str::parse).transpose().map_err(CommandError::failure)
}

/// `--restart`, which leaves `--rm` nothing to do.
fn restart_policy(text: Option<&str>, auto_remove: bool) -> Result<RestartPolicy, CommandError> {
    let policy = parse_restart(text.unwrap_or_default())?;
    match policy {
        RestartPolicy::No => Ok(policy),
        _ if auto_remove => {
            Err(CommandError::usage_text("conflicting options: cannot specify both --restart and --rm"))
        }
        _ => Ok(policy),
    }
}

/// A restart policy as the user writes it.
pub fn parse_restart(text: &str) -> Result<RestartPolicy, CommandError> {
    text.parse().map_err(|error: restart::Error| match error.is_malformed() {
        true => CommandError::usage(error),
        false => CommandError::failure(error),
    })
}

fn pull_policy(text: Option<&str>) -> Result<PullPolicy, CommandError> {
    match text {
        None | Some("missing") => Ok(PullPolicy::Missing),
        Some("always") => Ok(PullPolicy::Always),
        Some("never") => Ok(PullPolicy::Never),
        Some(other) => Err(CommandError::usage_text(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

fn network_mode(text: Option<&str>) -> Result<NetworkMode, CommandError> {
    let name = text.unwrap_or("default");
    match name {
        "default" => Ok(NetworkMode::Default),
        "" => Err(CommandError::usage_text("no name set for network")),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "slirp4netns" => Ok(NetworkMode::Slirp4netns),
        "pasta" => Ok(NetworkMode::Pasta),
        _ => Err(CommandError::usage_text(format!(
            "--network {name:?} is not supported yet (none, host, slirp4netns and pasta are; without --network the best of the last two is taken)"
        ))),
    }
}

/// The variables of the files, then those of `-e`: later ones win.
fn environment(
    files: &[String],
    own: &[String],
    caller: &Caller<'_>,
) -> Result<Vec<EnvChange>, CommandError> {
    let mut changes = Vec::new();
    for file in files {
        let content = (caller.read)(Path::new(file)).map_err(|error| {
            let why = chain(&error);
            CommandError::usage_text(match error.kind() {
                std::io::ErrorKind::IsADirectory => format!("invalid env file ({file}): read {file}: {why}"),
                _ => format!("open {file}: {why}"),
            })
        })?;
        changes.extend(env::parse_file(file, &content, caller.variable).map_err(CommandError::usage)?);
    }
    for text in own {
        let change = env::parse(text, caller.variable);
        changes.push(change.map_err(|why| CommandError::flag_value("-e, --env", text, why))?);
    }
    Ok(changes)
}

/// An option without a value is one with an empty value, as docker has it.
fn log_config(driver: Option<&str>, options: &[String]) -> Result<LogConfig, CommandError> {
    let driver = driver.unwrap_or_default().parse().map_err(CommandError::usage)?;
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let config = LogConfig { driver, options: options.iter().map(pair).collect() };
    config.settings().map_err(CommandError::usage)?;
    Ok(config)
}

fn labels(texts: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    texts
        .iter()
        .map(|text| match text.split_once('=').unwrap_or((text, "")) {
            ("", _) => {
                let why = format!("invalid label '{text}': empty name");
                Err(CommandError::flag_value("-l, --label", text, why))
            }
            (key, value) => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

/// `no-new-privileges[=true|false]` and `seccomp=...`; docker also takes `:` for `=`.
fn security_options(texts: &[String], caller: &Caller<'_>) -> Result<(bool, Seccomp), CommandError> {
    let (mut no_new_privileges, mut seccomp) = (false, Seccomp::Default);
    for text in texts {
        let (key, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => no_new_privileges = true,
            ("no-new-privileges", "false") => no_new_privileges = false,
            ("seccomp", "unconfined") => seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => seccomp = Seccomp::Default,
            ("seccomp", file) if !file.is_empty() => seccomp = seccomp_profile(file, caller)?,
            ("apparmor" | "label" | "mask" | "unmask" | "systempaths" | "writable-cgroups", _) => {
                return Err(CommandError::usage_text(format!("--security-opt {key} is not supported yet")));
            }
            _ => return Err(CommandError::usage_text(format!("invalid --security-opt: {text:?}"))),
        }
    }
    Ok((no_new_privileges, seccomp))
}

/// The text of a profile, which must be JSON.
fn seccomp_profile(file: &str, caller: &Caller<'_>) -> Result<Seccomp, CommandError> {
    let fail =
        |why: String| CommandError::usage_text(format!("cannot use the seccomp profile {file}: {why}"));
    let bytes = (caller.read)(Path::new(file)).map_err(|error| {
        let why = chain(&error);
        CommandError::usage_text(format!("opening seccomp profile ({file}) failed: open {file}: {why}"))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| fail(chain(&error)))?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(serde_json::Value::Object(_)) => Ok(Seccomp::Profile(text)),
        Ok(_) => Err(fail("it is not a JSON object".to_owned())),
        Err(error) => Err(fail(error.to_string())),
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
