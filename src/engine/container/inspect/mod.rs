//! A container in docker's JSON shape. Pure; runs in the client.
//!
//! Key names, order and types are docker's (API 1.51). What coracle cannot set yet has docker's
//! value for "not set", so that scripts find every path. Keys of our own: `Lost`.

mod host_config;
mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::list::{Sizes, image_name};
use crate::spec::container::{ImageUse, Status};
use crate::spec::health::{self, Outcome};
use crate::spec::log::Driver;
use crate::store::containers::Container;

use host_config::HostConfig;
use network::NetworkSettings;

/// docker's "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// An object whose keys are data: `{"80/tcp": {}}`.
type Set = BTreeMap<String, Empty>;

#[derive(Debug, Clone, Default, Serialize)]
struct Empty {}

/// Where a container's files are on the host; what has no place yet stays empty.
#[derive(Debug, Clone, Default)]
pub struct Places {
    pub log: PathBuf,
    pub resolv_conf: PathBuf,
    pub hostname: PathBuf,
    pub hosts: PathBuf,
    /// Lowest first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub merged: PathBuf,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    id: String,
    created: String,
    path: String,
    args: Vec<String>,
    state: State,
    image: String,
    resolv_conf_path: PathBuf,
    hostname_path: PathBuf,
    hosts_path: PathBuf,
    log_path: PathBuf,
    name: String,
    restart_count: u32,
    driver: String,
    platform: &'static str,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<String>>,
    host_config: HostConfig,
    graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    mounts: Vec<Mount>,
    config: Config,
    network_settings: NetworkSettings,
    /// Isolation or features this host could not give, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: i32,
    error: String,
    started_at: String,
    finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: &'static str,
    failing_streak: u32,
    log: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: Option<Layers>,
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layers {
    #[serde(rename = "ID")]
    id: String,
    lower_dir: String,
    merged_dir: PathBuf,
    upper_dir: PathBuf,
    work_dir: PathBuf,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type")]
    kind: &'static str,
    source: PathBuf,
    destination: PathBuf,
    mode: &'static str,
    #[serde(rename = "RW")]
    writable: bool,
    propagation: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    hostname: String,
    domainname: &'static str,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: Set,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Vec<String>,
    cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<health::Config>,
    image: String,
    volumes: Option<Set>,
    working_dir: String,
    entrypoint: Option<Vec<String>>,
    on_build: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
}

/// Describes a container. `sizes` are given when the user asked for them.
pub fn describe(container: &Container, places: &Places, sizes: Option<Sizes>) -> Inspected {
    let Container { record, name, state, .. } = container;
    let (path, args) = record.process.argv.split_first().map_or_else(
        || (String::new(), Vec::new()),
        |(program, arguments)| (program.clone(), arguments.to_vec()),
    );
    Inspected {
        id: record.id.to_string(),
        created: record.created.clone(),
        path,
        args,
        state: describe_state(container),
        image: image_id(&record.image),
        resolv_conf_path: places.resolv_conf.clone(),
        hostname_path: places.hostname.clone(),
        hosts_path: places.hosts.clone(),
        log_path: match record.options.log.driver {
            Driver::JsonFile => places.log.clone(),
            Driver::None | Driver::Journald => PathBuf::new(),
        },
        name: format!("/{name}"),
        restart_count: state.restart_count,
        driver: state.driver.clone(),
        platform: "linux",
        mount_label: "",
        process_label: "",
        app_armor_profile: "",
        exec_ids: None,
        host_config: host_config::describe(
            &record.options,
            container.resources(),
            container.restart_policy(),
        ),
        graph_driver: graph_driver(container, places),
        size_rw: sizes.map(|s| s.writable),
        size_root_fs: sizes.map(|s| s.root),
        mounts: mounts(container),
        config: describe_config(container),
        network_settings: network::describe(container),
        lost: state.lost.clone(),
    }
}

fn describe_state(container: &Container) -> State {
    let state = &container.state;
    let moment = |text: &str| if text.is_empty() { NEVER.to_owned() } else { text.to_owned() };
    State {
        status: state.status.name(),
        running: state.status.is_alive(),
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: false,
        dead: false,
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: moment(&state.started_at),
        finished_at: moment(&state.finished_at),
        health: container.health.as_ref().map(|health| Health {
            status: health.status.name(),
            failing_streak: health.failing_streak,
            log: health.log.clone(),
        }),
    }
}

fn image_id(image: &ImageUse) -> String {
    match image {
        ImageUse::Stored { id, .. } => id.to_string(),
        ImageUse::Host => "host".to_owned(),
    }
}

fn graph_driver(container: &Container, places: &Places) -> GraphDriver {
    let known = !places.upper.as_os_str().is_empty();
    // overlayfs and docker name the highest layer first.
    let lower: Vec<String> = places.lower.iter().rev().map(|path| path.display().to_string()).collect();
    let data = known.then(|| Layers {
        id: container.record.id.to_string(),
        lower_dir: lower.join(":"),
        merged_dir: places.merged.clone(),
        upper_dir: places.upper.clone(),
        work_dir: places.work.clone(),
    });
    GraphDriver { data, name: container.state.driver.clone() }
}

fn mounts(container: &Container) -> Vec<Mount> {
    let binds = container.record.options.binds.iter();
    binds
        .map(|bind| Mount {
            kind: "bind",
            source: bind.source.clone(),
            destination: bind.target.clone(),
            mode: if bind.read_only { "ro" } else { "" },
            writable: !bind.read_only,
            propagation: "rprivate",
        })
        .collect()
}

fn describe_config(container: &Container) -> Config {
    let (process, options) = (&container.record.process, &container.record.options);
    let set = |keys: &[String]| -> Set { keys.iter().map(|key| (key.clone(), Empty {})).collect() };
    Config {
        hostname: options.hostname.clone(),
        domainname: "",
        user: process.user.clone(),
        attach_stdin: options.attached && process.open_stdin,
        attach_stdout: options.attached,
        attach_stderr: options.attached,
        exposed_ports: set(&options.exposed_ports),
        tty: process.tty,
        open_stdin: process.open_stdin,
        stdin_once: options.attached && process.open_stdin,
        env: options.env.clone(),
        cmd: options.cmd.clone(),
        healthcheck: options.health.clone(),
        image: image_name(&container.record.image),
        volumes: (!options.volumes.is_empty()).then(|| set(&options.volumes)),
        working_dir: options.working_dir.clone(),
        entrypoint: options.entrypoint.clone(),
        on_build: None,
        labels: options.labels.clone(),
        stop_signal: options.stop_signal_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::container::sample;

    fn inspected(container: &Container) -> serde_json::Value {
        serde_json::to_value(describe(container, &Places::default(), None)).unwrap()
    }

    /// The paths that scripts read (docker's reference), with the kind of value each must have.
    #[test]
    fn every_path_scripts_read_is_there() {
        let mut container = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        container.record.options.ports = crate::spec::port::parse_publish("8080:80").unwrap();
        container.state.ports = container.record.options.ports.clone();
        container.record.options.exposed_ports = vec!["80/tcp".into()];
        let json = inspected(&container);
        let strings = "/Id /Name /Created /Path /Image /LogPath /Driver /Platform /State/Status /State/Error \
            /State/StartedAt /State/FinishedAt /HostConfig/NetworkMode /HostConfig/RestartPolicy/Name \
            /HostConfig/LogConfig/Type /Config/Hostname /Config/User /Config/Image /Config/WorkingDir \
            /NetworkSettings/IPAddress /NetworkSettings/Gateway /NetworkSettings/MacAddress \
            /NetworkSettings/Ports/80~1tcp/0/HostIp /NetworkSettings/Ports/80~1tcp/0/HostPort \
            /HostConfig/PortBindings/80~1tcp/0/HostPort /GraphDriver/Name";
        for path in strings.split_whitespace() {
            assert!(json.pointer(path).is_some_and(|v| v.is_string()), "{path}");
        }
        let numbers = "/RestartCount /State/Pid /State/ExitCode /HostConfig/Memory /HostConfig/NanoCpus \
            /HostConfig/CpuShares /HostConfig/ShmSize /HostConfig/RestartPolicy/MaximumRetryCount";
        for path in numbers.split_whitespace() {
            assert!(json.pointer(path).is_some_and(|v| v.is_number()), "{path}");
        }
        let booleans = "/State/Running /State/Paused /State/Restarting /State/OOMKilled /State/Dead \
            /HostConfig/AutoRemove /HostConfig/Privileged /Config/Tty /Config/OpenStdin";
        for path in booleans.split_whitespace() {
            assert!(json.pointer(path).is_some_and(|v| v.is_boolean()), "{path}");
        }
        for path in ["/Args", "/Mounts", "/Config/Env", "/Config/Cmd"] {
            assert!(json.pointer(path).is_some_and(|v| v.is_array()), "{path}");
        }
        for path in ["/Config/Labels", "/Config/ExposedPorts", "/NetworkSettings/Networks"] {
            assert!(json.pointer(path).is_some_and(|v| v.is_object()), "{path}");
        }
    }

    #[test]
    fn names_and_times_are_dockers() {
        let container = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        let json = inspected(&container);
        assert_eq!(json["Name"], "/web");
        assert_eq!(json["Path"], "redis-server");
        assert_eq!(json["Args"], serde_json::json!(["--port", "1"]));
        assert_eq!(json["State"]["FinishedAt"], NEVER);
        assert_eq!(json["State"]["Status"], "running");
        assert_eq!(json.get("SizeRw"), None);
        assert_eq!(json.get("Lost"), None);
    }

    #[test]
    fn health_appears_where_it_is_checked() {
        let mut container = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        let json = inspected(&container);
        assert_eq!((json["State"].get("Health"), json["Config"].get("Healthcheck")), (None, None));
        let check =
            health::Config { test: vec!["CMD".into(), "true".into()], retries: 2, ..Default::default() };
        container.record.options.health = Some(check);
        let outcome = Outcome { start: "s".into(), end: "e".into(), exit_code: 1, output: "no".into() };
        let found =
            health::Health { status: health::Status::Starting, failing_streak: 1, log: vec![outcome] };
        container.health = Some(found);
        let json = inspected(&container);
        assert_eq!(json["Config"]["Healthcheck"], serde_json::json!({"Test": ["CMD", "true"], "Retries": 2}));
        let expected = serde_json::json!({"Status": "starting", "FailingStreak": 1,
            "Log": [{"Start": "s", "End": "e", "ExitCode": 1, "Output": "no"}]});
        assert_eq!(json["State"]["Health"], expected);
    }

    #[test]
    fn sizes_and_losses_appear_when_there() {
        let mut container = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        container.state.lost = vec!["no network: pasta and slirp4netns are missing".into()];
        let sizes = Some(Sizes { writable: 5, root: 10 });
        let json = serde_json::to_value(describe(&container, &Places::default(), sizes)).unwrap();
        assert_eq!((&json["SizeRw"], &json["SizeRootFs"]), (&5.into(), &10.into()));
        assert_eq!(json["Lost"][0], "no network: pasta and slirp4netns are missing");
    }

    #[test]
    fn binds_are_mounts() {
        let mut container = sample::container("web", "2026-01-01T00:00:01Z", Status::Created);
        container.record.options.binds =
            vec![crate::spec::mount::parse_volume("/a:/b:ro", std::path::Path::new("/")).unwrap()];
        let json = inspected(&container);
        let expected = serde_json::json!([{"Type": "bind", "Source": "/a", "Destination": "/b",
            "Mode": "ro", "RW": false, "Propagation": "rprivate"}]);
        assert_eq!(json["Mounts"], expected);
        assert_eq!(json["HostConfig"]["Binds"], serde_json::json!(["/a:/b:ro"]));
    }
}
