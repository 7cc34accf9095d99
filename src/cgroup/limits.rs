//! docker's limits as files of a cgroup (v2). The plan is pure; clients and the monitor carry it out.

use std::fs;
use std::path::Path;

use super::put;
use crate::spec::resources::Resources;

/// docker's and the kernel's length of a period, in microseconds.
const PERIOD: i64 = 100_000;

/// One file to write.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// What the user asked for.
    flag: &'static str,
    controller: &'static str,
    file: &'static str,
    value: String,
}

/// Limits that do not hold, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unapplied {
    /// docker's flags.
    pub flags: Vec<&'static str>,
    pub reasons: Vec<String>,
}

impl Unapplied {
    fn add(&mut self, flag: &'static str, reason: String) {
        self.flags.push(flag);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// One sentence; `None` when all limits hold.
    pub fn sentence(&self) -> Option<String> {
        (!self.flags.is_empty()).then(|| {
            format!("limits that do not hold: {} ({})", self.flags.join(", "), self.reasons.join("; "))
        })
    }
}

/// Sets the limits of a cgroup; without one none holds. What is not limited is left as it is.
pub fn apply(leaf: Option<&Path>, resources: &Resources) -> Unapplied {
    let mut unapplied = Unapplied::default();
    let settings = plan(resources);
    let Some(leaf) = leaf else {
        for setting in settings {
            unapplied.add(setting.flag, "no cgroup v2 is delegated to this user".to_owned());
        }
        return unapplied;
    };
    if settings.is_empty() {
        return unapplied;
    }
    let controllers = fs::read_to_string(leaf.join("cgroup.controllers")).unwrap_or_default();
    for Setting { flag, controller, file, value } in settings {
        if !controllers.split_whitespace().any(|name| name == controller) {
            unapplied.add(flag, format!("the controller {controller} is not delegated to this user"));
        } else if let Err(error) = put(leaf, file, &value) {
            unapplied.add(flag, error.to_string());
        }
    }
    unapplied
}

fn plan(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |flag, controller, file, value: Option<String>| {
        settings.extend(value.map(|value| Setting { flag, controller, file, value }));
    };
    let text = |value: Option<i64>| value.map(|value| value.to_string());
    set("--memory", "memory", "memory.max", text(resources.memory));
    set("--memory-reservation", "memory", "memory.low", text(resources.memory_reservation));
    set("--memory-swap", "memory", "memory.swap.max", swap(resources));
    let (flag, time) = processor_time(resources);
    set(flag, "cpu", "cpu.max", time);
    set("--cpu-shares", "cpu", "cpu.weight", resources.cpu_shares.map(|shares| weight(shares).to_string()));
    set("--cpuset-cpus", "cpuset", "cpuset.cpus", resources.cpuset_cpus.clone());
    set("--cpuset-mems", "cpuset", "cpuset.mems", resources.cpuset_mems.clone());
    let most = |limit: i64| if limit > 0 { limit.to_string() } else { "max".to_owned() };
    set("--pids-limit", "pids", "pids.max", resources.pids_limit.map(most));
    let io = |weight: u16| format!("default {}", 1 + (i64::from(weight) - 10) * 9999 / 990);
    set("--blkio-weight", "io", "io.weight", resources.blkio_weight.map(io));
    settings
}

/// Swap alone: docker counts memory in.
fn swap(resources: &Resources) -> Option<String> {
    match resources.memory_swap? {
        ..0 => Some("max".to_owned()),
        both => Some((both - resources.memory.unwrap_or(0)).max(0).to_string()),
    }
}

fn processor_time(resources: &Resources) -> (&'static str, Option<String>) {
    let Resources { nano_cpus, cpu_period, cpu_quota, .. } = resources;
    match (nano_cpus, cpu_quota, cpu_period) {
        (Some(nano), _, _) => ("--cpus", Some(format!("{} {PERIOD}", nano * PERIOD / 1_000_000_000))),
        (None, None, None) => ("--cpu-quota", None),
        (None, Some(quota), period) if *quota > 0 => {
            ("--cpu-quota", Some(format!("{quota} {}", period.unwrap_or(PERIOD))))
        }
        (None, Some(_), None) => ("--cpu-quota", Some(format!("max {PERIOD}"))),
        (None, _, Some(period)) => ("--cpu-period", Some(format!("max {period}"))),
    }
}

/// 2 to 262144 as 1 to 10000, as runc converts it.
fn weight(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(resources: &Resources) -> Vec<(&'static str, String)> {
        plan(resources).into_iter().map(|setting| (setting.file, setting.value)).collect()
    }

    #[test]
    fn dockers_numbers_become_the_kernels() {
        assert!(files(&Resources::default()).is_empty());
        let all = Resources {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            memory_swap: Some(96 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids_limit: Some(50),
            blkio_weight: Some(1000),
            ..Resources::default()
        };
        let expected = [
            ("memory.max", "67108864"),
            ("memory.low", "33554432"),
            ("memory.swap.max", "33554432"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "39"),
            ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"),
            ("pids.max", "50"),
            ("io.weight", "default 10000"),
        ];
        assert_eq!(files(&all), expected.map(|(file, value)| (file, value.to_owned())));
    }

    #[test]
    fn no_limit_is_a_limit_too() {
        let of = |resources| files(&resources).pop().map(|(_, value)| value);
        let none = Resources::default;
        assert_eq!(of(Resources { memory_swap: Some(-1), ..none() }).as_deref(), Some("max"));
        assert_eq!(of(Resources { pids_limit: Some(0), ..none() }).as_deref(), Some("max"));
        assert_eq!(of(Resources { cpu_quota: Some(-1), ..none() }).as_deref(), Some("max 100000"));
        assert_eq!(of(Resources { cpu_period: Some(5000), ..none() }).as_deref(), Some("max 5000"));
        let both = Resources { cpu_period: Some(5000), cpu_quota: Some(2500), ..none() };
        assert_eq!(of(both).as_deref(), Some("2500 5000"));
        let unlimited = Resources { cpu_period: Some(5000), cpu_quota: Some(-1), ..none() };
        assert_eq!(of(unlimited).as_deref(), Some("max 5000"));
    }

    #[test]
    fn weights_reach_both_ends() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 39, 10_000]);
    }

    #[test]
    fn what_does_not_hold_is_said() {
        let resources = Resources { memory: Some(1), pids_limit: Some(1), ..Resources::default() };
        let said = apply(None, &resources).sentence().expect("said");
        assert_eq!(
            said,
            "limits that do not hold: --memory, --pids-limit (no cgroup v2 is delegated to this user)"
        );
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("cgroup.controllers"), "cpu pids\n").expect("written");
        fs::write(dir.path().join("pids.max"), "").expect("written");
        let unapplied = apply(Some(dir.path()), &resources);
        assert_eq!(unapplied.flags, ["--memory"]);
        assert_eq!(unapplied.reasons, ["the controller memory is not delegated to this user"]);
        assert_eq!(fs::read_to_string(dir.path().join("pids.max")).expect("read"), "1");
        assert_eq!(apply(None, &Resources::default()).sentence(), None);
    }
}
