//! `.HostConfig`: what the user asked of the host. Pure; runs in the client.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::network::{PortMap, asked, mode_name};
use crate::spec::container::{Options, Seccomp};
use crate::spec::mount::BindMount;
use crate::spec::resources::Resources;
use crate::spec::{log, restart};

/// `/dev/shm`, in bytes; docker's default.
const SHM_SIZE: u64 = 64 << 20;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: PathBuf,
    log_config: LogConfig,
    network_mode: &'static str,
    port_bindings: PortMap,
    restart_policy: RestartPolicy,
    auto_remove: bool,
    volume_driver: &'static str,
    volumes_from: Option<Vec<String>>,
    console_size: [u16; 2],
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    cgroupns_mode: &'static str,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    ipc_mode: &'static str,
    cgroup: &'static str,
    links: Option<Vec<String>>,
    oom_score_adj: i32,
    pid_mode: &'static str,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: &'static str,
    userns_mode: &'static str,
    shm_size: u64,
    runtime: &'static str,
    isolation: &'static str,
    #[serde(flatten)]
    limits: Limits,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: &'static str,
    config: BTreeMap<String, String>,
}

impl From<&log::LogConfig> for LogConfig {
    fn from(log: &log::LogConfig) -> LogConfig {
        LogConfig { kind: log.driver.name(), config: log.options.clone() }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig::from(&log::LogConfig::default())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: &'static str,
    maximum_retry_count: u32,
}

impl Default for RestartPolicy {
    fn default() -> RestartPolicy {
        RestartPolicy::from(restart::RestartPolicy::No)
    }
}

impl From<restart::RestartPolicy> for RestartPolicy {
    fn from(policy: restart::RestartPolicy) -> RestartPolicy {
        RestartPolicy { name: policy.name(), maximum_retry_count: policy.most() }
    }
}

/// Limits, not all of which can be set yet.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits {
    cpu_shares: i64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: &'static str,
    blkio_weight: u16,
    blkio_weight_device: Vec<String>,
    blkio_device_read_bps: Vec<String>,
    blkio_device_write_bps: Vec<String>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Vec<String>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Vec<String>,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_realtime_period: i64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<String>,
    device_cgroup_rules: Option<Vec<String>>,
    device_requests: Option<Vec<String>>,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: bool,
    pids_limit: Option<i64>,
    ulimits: Vec<String>,
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
}

impl From<&Resources> for Limits {
    fn from(set: &Resources) -> Limits {
        let number = |value: Option<i64>| value.unwrap_or(0);
        Limits {
            cpu_shares: number(set.cpu_shares),
            memory: number(set.memory),
            nano_cpus: number(set.nano_cpus),
            blkio_weight: set.blkio_weight.unwrap_or(0),
            cpu_period: number(set.cpu_period),
            cpu_quota: number(set.cpu_quota),
            cpuset_cpus: set.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: set.cpuset_mems.clone().unwrap_or_default(),
            memory_reservation: number(set.memory_reservation),
            memory_swap: number(set.memory_swap),
            pids_limit: set.pids_limit,
            ..Limits::default()
        }
    }
}

pub fn describe(options: &Options, resources: &Resources, restart: restart::RestartPolicy) -> HostConfig {
    let given = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let hidden = |paths: &[&str]| {
        (!options.privileged).then(|| paths.iter().map(|&path| path.to_owned()).collect::<Vec<_>>())
    };
    HostConfig {
        restart_policy: restart.into(),
        binds: (!options.binds.is_empty()).then(|| options.binds.iter().map(bind).collect()),
        container_id_file: options.cidfile.clone().unwrap_or_default(),
        log_config: LogConfig::from(&options.log),
        network_mode: mode_name(&options.network),
        port_bindings: asked(&options.ports),
        auto_remove: options.auto_remove,
        cap_add: given(&options.cap_add),
        cap_drop: given(&options.cap_drop),
        cgroupns_mode: "private",
        ipc_mode: "private",
        privileged: options.privileged,
        readonly_rootfs: options.read_only,
        security_opt: given(&security_options(options)),
        tmpfs: options.tmpfs.iter().map(|t| (t.target.display().to_string(), t.options.clone())).collect(),
        shm_size: SHM_SIZE,
        runtime: "coracle",
        limits: Limits::from(resources),
        masked_paths: hidden(&crate::security::masks::MASKED),
        readonly_paths: hidden(&crate::security::masks::READ_ONLY),
        init: options.init.then_some(true),
        ..HostConfig::default()
    }
}

fn bind(bind: &BindMount) -> String {
    let mode = if bind.read_only { ":ro" } else { "" };
    format!("{}:{}{mode}", bind.source.display(), bind.target.display())
}

/// `--security-opt` as typed; a profile's file name is not kept, its text is.
fn security_options(options: &Options) -> Vec<String> {
    let seccomp = match &options.seccomp {
        Seccomp::Default => None,
        Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
        Seccomp::Profile(text) => Some(format!("seccomp={text}")),
    };
    let no_new_privileges = options.no_new_privileges.then(|| "no-new-privileges".to_owned());
    // docker's way of saying that no label of SELinux keeps a privileged container from anything.
    let label = options.privileged.then(|| "label=disable".to_owned());
    seccomp.into_iter().chain(no_new_privileges).chain(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_looks_like_dockers_nothing() {
        let json = serde_json::to_value(describe(
            &Options::default(),
            &Resources::default(),
            restart::RestartPolicy::No,
        ))
        .unwrap();
        for key in ["Binds", "CapAdd", "CapDrop", "SecurityOpt", "PidsLimit", "VolumesFrom"] {
            assert!(json[key].is_null(), "{key}");
        }
        assert_eq!(json["NetworkMode"], "default");
        assert_eq!(json["RestartPolicy"]["Name"], "no");
        assert_eq!(json["ShmSize"], 67_108_864);
        assert!(json.get("Tmpfs").is_none() && json.get("Init").is_none());
        assert!(json["MaskedPaths"].as_array().is_some_and(|paths| !paths.is_empty()));
    }

    #[test]
    fn limits_are_shown() {
        let resources = Resources {
            memory: Some(64 << 20),
            nano_cpus: Some(1_500_000_000),
            cpuset_cpus: Some("0-1".into()),
            pids_limit: Some(0),
            ..Resources::default()
        };
        let json =
            serde_json::to_value(describe(&Options::default(), &resources, restart::RestartPolicy::No))
                .unwrap();
        assert_eq!((&json["Memory"], &json["NanoCpus"]), (&67_108_864.into(), &1_500_000_000.into()));
        assert_eq!((&json["CpusetCpus"], &json["CpusetMems"]), (&"0-1".into(), &"".into()));
        assert_eq!((&json["PidsLimit"], &json["MemorySwap"]), (&0.into(), &0.into()));
    }

    #[test]
    fn what_was_asked_for_is_shown() {
        let options = Options {
            privileged: true,
            seccomp: Seccomp::Unconfined,
            no_new_privileges: true,
            init: true,
            tmpfs: vec![crate::spec::mount::parse_tmpfs("/run:size=1m").unwrap()],
            ..Options::default()
        };
        let json =
            serde_json::to_value(describe(&options, &Resources::default(), restart::RestartPolicy::No))
                .unwrap();
        assert_eq!(
            json["SecurityOpt"],
            serde_json::json!(["seccomp=unconfined", "no-new-privileges", "label=disable"])
        );
        assert_eq!(json["Tmpfs"]["/run"], "size=1m");
        assert!(json["MaskedPaths"].is_null());
        assert_eq!(json["Init"], true);
    }
}
