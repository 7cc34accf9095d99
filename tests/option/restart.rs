//! `--restart`: what starts a container again, how often, and what ends it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Env, eventually, free_port, machine};

const PATIENCE: Duration = Duration::from_secs(20);

fn count(env: &Env, name: &str) -> u64 {
    env.inspect(name, "/RestartCount").as_u64().unwrap()
}

fn reaches(env: &Env, name: &str, status: &str) {
    assert!(
        eventually(PATIENCE, || env.status(name) == status),
        "{name} is {}, not {status}",
        env.status(name)
    );
}

#[test]
fn on_failure_gives_up_after_its_count() {
    let env = Env::with_tiny();
    let script = "echo run; exit 5";
    let flags = ["run", "-d", "--name", "c1", "--restart", "on-failure:2", "tiny", "sh", "-c", script];
    env.coracle(flags).success();
    reaches(&env, "c1", "exited");
    assert_eq!(count(&env, "c1"), 2);
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 5);
    assert_eq!(env.coracle(["logs", "c1"]).success().stdout(), "run\nrun\nrun\n");
    assert_eq!(env.inspect("c1", "/HostConfig/RestartPolicy/Name"), "on-failure");
    assert_eq!(env.inspect("c1", "/HostConfig/RestartPolicy/MaximumRetryCount"), 2);
    let actions = env
        .coracle([
            "events",
            "--since",
            "1m",
            "--until",
            "0s",
            "--filter",
            "type=container",
            "--format",
            "{{.Action}}",
        ])
        .success();
    assert_eq!(actions.stdout(), "create\nstart\ndie\nstart\ndie\nstart\ndie\n");
    // A start by hand begins to count anew.
    env.coracle(["start", "c1"]).success();
    reaches(&env, "c1", "exited");
    assert_eq!(count(&env, "c1"), 2);
}

#[test]
fn on_failure_leaves_success_alone() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "--restart", "on-failure", "tiny", "true"]).success();
    reaches(&env, "c1", "exited");
    assert_eq!(count(&env, "c1"), 0);
}

#[test]
fn always_goes_on_until_it_is_stopped() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "--restart", "always", "tiny", "sh", "-c", "echo run"])
        .success();
    env.wait_for_log("c1", "run\nrun\nrun\n");
    reaches(&env, "c1", "restarting");
    let row = env.coracle(["ps", "--format", "{{.Names}} {{.State}} {{.Status}}"]).success();
    row.stdout_has("c1 restarting Restarting (0) ");
    assert_eq!(env.inspect("c1", "/State/Running"), true);
    assert_eq!(env.inspect("c1", "/State/Pid"), 0);
    let restarting = "is restarting, wait until the container is running";
    // The back-off has grown to a second and more by the time of these.
    assert!(eventually(PATIENCE, || count(&env, "c1") >= 5 && env.status("c1") == "restarting"));
    env.coracle(["exec", "c1", "true"]).code(1).stderr_has(restarting);
    env.coracle(["top", "c1"]).code(1).stderr_has(restarting);
    env.coracle(["attach", "c1"]).code(1).stderr_has("You cannot attach to a restarting container");
    env.coracle(["rm", "c1"]).code(1).stderr_has("container is restarting: stop the container");
    env.coracle(["start", "c1"]).success().says("c1\n");
    let began = Instant::now();
    env.coracle(["stop", "c1"]).success();
    assert!(began.elapsed() < Duration::from_secs(5), "stop waits for nothing");
    assert_eq!(env.status("c1"), "exited");
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 0);
    assert!(env.processes().into_iter().all(machine::is_home));
}

#[test]
fn a_run_that_is_stopped_or_killed_is_the_last() {
    let env = Env::with_tiny();
    for (index, verb) in [&["stop", "-t", "0"][..], &["kill"], &["kill", "-s", "INT"]].iter().enumerate() {
        let name = format!("c{index}");
        let script = "trap 'exit 3' INT; echo up; while :; do sleep 0.05; done";
        env.coracle([
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "unless-stopped",
            "tiny",
            "sh",
            "-c",
            script,
        ])
        .success();
        env.wait_for_log(&name, "up");
        env.coracle(verb.iter().copied().chain([name.as_str()])).success();
        reaches(&env, &name, "exited");
        assert_eq!(count(&env, &name), 0, "{verb:?}");
    }
}

#[test]
fn a_killed_process_is_started_again_with_its_port() {
    let env = Env::with_tiny();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let flags = ["run", "-d", "--name", "c1", "--restart", "always", "-p", &publish];
    env.coracle(flags.iter().chain(&["tiny", "httpd", "-f", "-h", "/srv"])).success();
    let first = env.pid("c1");
    machine::kill(first, Signal::SIGKILL);
    assert!(eventually(PATIENCE, || count(&env, "c1") == 1 && env.status("c1") == "running"));
    assert_ne!(env.pid("c1"), first);
    let url = format!("http://127.0.0.1:{port}/hello");
    let fetch = ["-sS", "--retry", "20", "--retry-delay", "1", "--retry-all-errors", &url];
    env.program("curl", fetch).output().success().says("hello from tiny\n");
    env.coracle(["exec", "c1", "true"]).success();
}

#[test]
fn clients_hear_of_each_end() {
    let env = Env::with_tiny();
    let script = "sleep 0.2; echo over; exit 4";
    env.coracle(["run", "--name", "c1", "--restart", "always", "tiny", "sh", "-c", script])
        .code(4)
        .says("over\n");
    env.coracle(["wait", "c1"]).success().says("4\n");
    let mut follower = env.command(["logs", "-f", "--tail", "0", "c1"]).spawn();
    follower.wait_for("over\nover\n");
    env.coracle(["rm", "-f", "c1"]).success();
    follower.finish().success();
    env.coracle(["inspect", "c1"]).code(1);
}

#[test]
fn a_killed_monitor_between_two_runs_leaves_the_last_status() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "--restart", "always", "tiny", "sh", "-c", "exit 6"]).success();
    assert!(eventually(PATIENCE, || count(&env, "c1") >= 4 && env.status("c1") == "restarting"));
    env.kill_all();
    assert_eq!(env.status("c1"), "exited");
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 6);
    env.coracle(["start", "c1"]).success();
    assert!(eventually(PATIENCE, || count(&env, "c1") >= 1));
    env.coracle(["rm", "-f", "c1"]).success();
}

#[test]
fn a_restart_that_fails_is_the_end() {
    let env = Env::with_tiny();
    let folder = env.folder("shared", 0o755);
    let volume = format!("{}:/shared", folder.display());
    let script = "until test -e /shared/go; do sleep 0.02; done; exit 7";
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "--restart",
        "always",
        "-v",
        &volume,
        "tiny",
        "sh",
        "-c",
        script,
    ])
    .success();
    // The next run has nothing to mount.
    let waiting = env.command(["wait", "c1"]).spawn();
    std::fs::write(folder.join("go"), "").unwrap();
    std::fs::rename(&folder, folder.with_extension("away")).unwrap();
    waiting.finish().success();
    reaches(&env, "c1", "exited");
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 7);
    let error = env.inspect("c1", "/State/Error");
    assert!(error.as_str().is_some_and(|error| error.contains("shared")), "{error}");
    assert!(env.processes().into_iter().all(machine::is_home));
}

#[test]
fn nonsense_is_refused() {
    let env = Env::with_tiny();
    let cases = [
        ("bogus", 125, "unknown policy 'bogus'"),
        ("always:3", 125, "maximum retry count can only be used with 'on-failure'"),
        ("on-failure:-1", 125, "maximum retry count cannot be negative"),
        ("on-failure:x", 125, "maximum retry count must be an integer"),
    ];
    for (policy, code, words) in cases {
        env.coracle(["run", "--restart", policy, "tiny", "true"]).code(code).stderr_has(words);
    }
    env.coracle(["run", "--rm", "--restart", "always", "tiny", "true"])
        .code(125)
        .stderr_has("cannot specify both --restart and --rm");
    env.coracle(["run", "--rm", "--restart", "no", "tiny", "true"]).success();
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn update_changes_the_policy_of_a_running_container() {
    let env = Env::with_tiny();
    let script = "trap 'exit 3' USR1; echo up; while :; do sleep 0.05; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "up");
    env.coracle(["update", "--restart", "on-failure:4", "c1"]).success().says("c1\n").no_stderr();
    assert_eq!(env.inspect("c1", "/HostConfig/RestartPolicy/MaximumRetryCount"), 4);
    machine::kill(env.pid("c1"), Signal::SIGKILL);
    assert!(eventually(PATIENCE, || count(&env, "c1") == 1 && env.status("c1") == "running"));
    env.coracle(["update", "--restart=no", "c1"]).success();
    machine::kill(env.pid("c1"), Signal::SIGKILL);
    reaches(&env, "c1", "exited");
    assert_eq!(count(&env, "c1"), 1);
    env.coracle(["run", "-d", "--rm", "--name", "c2", "tiny", "sleep", "100"]).success();
    let words = "Restart policy cannot be updated because AutoRemove is enabled";
    env.coracle(["update", "--restart", "always", "c2"]).code(1).stderr_has(words);
    env.coracle(["update", "--restart", "x", "c2"]).code(1).stderr_has("unknown policy 'x'");
}
