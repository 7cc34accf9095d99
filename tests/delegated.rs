//! Containers of a user who has a cgroup v2 of his own: they are frozen and measured by the kernel. Only root
//! can delegate one.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::harness::{Env, PATIENCE, eventually, machine};

fn only_group(env: &Env) -> PathBuf {
    let groups = env.cgroups();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups[0].clone()
}

fn is_in(group: &std::path::Path, pid: i32) -> bool {
    let pids = fs::read_to_string(group.join("cgroup.procs")).expect("its processes");
    pids.lines().any(|line| line == pid.to_string())
}

#[test]
fn pause_freezes() {
    let env = Env::delegated();
    let script = "while :; do true & wait $!; echo on; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.coracle(["exec", "-d", "c1", "sleep", "1000"]).success();
    let group = only_group(&env);
    assert!(is_in(&group, env.pid("c1")));
    let count = || fs::read_to_string(group.join("cgroup.procs")).expect("its processes").lines().count();
    assert!(count() >= 2, "exec is not in it");
    env.wait_for_log("c1", "on");
    env.coracle(["pause", "c1"]).success().says("c1\n").no_stderr();
    assert_eq!(env.status("c1"), "paused");
    let events = fs::read_to_string(group.join("cgroup.events")).expect("its state");
    assert!(events.contains("frozen 1"), "{events}");
    let before = env.coracle(["logs", "c1"]).success().stdout().len();
    env.coracle(["unpause", "c1"]).success();
    assert!(eventually(PATIENCE, || env.coracle(["logs", "c1"]).success().stdout().len() > before));
    env.coracle(["pause", "c1"]).success();
    env.coracle(["stop", "-t", "0", "c1"]).success();
    assert!(eventually(PATIENCE, || env.cgroups().is_empty()));
}

#[test]
fn the_container_sees_its_own_group_as_the_root() {
    let env = Env::delegated();
    let seen = env.coracle(["run", "--rm", "tiny", "cat", "/proc/self/cgroup"]).success();
    assert!(seen.stdout().lines().any(|line| line == "0::/"), "{seen:?}");
}

#[test]
fn what_a_killed_monitor_left_is_taken_away() {
    let env = Env::delegated();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["pause", "c1"]).success();
    let first = env.pid("c1");
    let state =
        env.store().join("containers").join(env.inspect("c1", "/Id").as_str().unwrap()).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(state).unwrap()).unwrap();
    let monitor = state["monitor_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    machine::kill(monitor, Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !machine::alive(first)));
    assert_eq!(env.status("c1"), "exited");
    env.coracle(["start", "c1"]).success();
    assert!(is_in(&only_group(&env), env.pid("c1")));
    assert_eq!(env.status("c1"), "running");
    env.coracle(["rm", "-f", "c1"]).success();
}

#[test]
fn stats_counts_what_the_kernel_counted() {
    let env = Env::delegated();
    // What ends is not lost: nobody in the container waits for what exec added.
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["exec", "-d", "c1", "sh", "-c", "while :; do :; done"]).success();
    let used = || {
        let output = env.coracle(["stats", "--no-stream", "--format", "{{.CPUPerc}}", "c1"]).success();
        output.stdout().trim().trim_end_matches('%').parse::<f64>().expect("a number")
    };
    assert!(eventually(PATIENCE, || used() > 1.0));
}

#[test]
fn limits_without_their_controller_are_told() {
    let env = Env::delegated();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let controllers =
        fs::read_to_string(only_group(&env).join("cgroup.controllers")).expect("its controllers");
    let said = env.coracle(["update", "--pids-limit", "50", "c1"]).success();
    if controllers.contains("pids") {
        said.no_stderr();
    } else {
        said.stderr_has(
            "limits that do not hold: --pids-limit (the controller pids is not delegated to this user)",
        );
    }
}
