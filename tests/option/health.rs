//! `--health-*`, `--no-healthcheck`, and the `HEALTHCHECK` of images.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::fake_registry::FakeRegistry;
use crate::harness::tar::{archive, busybox_entries};
use crate::harness::{Env, PATIENCE, eventually, image, machine};

/// A container `c1` of the small image that is checked by `check` ten times a second.
fn checked(env: &Env, check: &str, options: &[&str]) {
    let mut line = vec!["run", "-d", "--name", "c1", "--network", "none", "--health-cmd", check];
    line.extend(["--health-interval", "100ms"]);
    line.extend(options);
    line.extend(["tiny", "sleep", "1000"]);
    env.coracle(line).success();
}

fn health(env: &Env) -> Value {
    env.inspect("c1", "/State/Health")
}

fn wait_for(env: &Env, status: &str) {
    let there = eventually(PATIENCE, || health(env)["Status"] == status);
    assert!(there, "never {status}: {:#}", health(env));
}

/// Waits for so many results.
fn wait_for_results(env: &Env, count: usize) -> Vec<Value> {
    let log = || health(env)["Log"].as_array().cloned().unwrap_or_default();
    assert!(eventually(PATIENCE, || log().len() >= count), "{:#}", health(env));
    log()
}

/// The status column of `ps -a`.
fn shown(env: &Env) -> String {
    env.coracle(["ps", "-a", "--format", "{{.Status}}"]).success().line().to_owned()
}

/// What has happened, as far as a filter of `events` lets it through.
fn actions(env: &Env, filter: &str) -> Vec<String> {
    let line = ["events", "--since", "1", "--until", "0s", "--format", "{{.Action}}", "--filter", filter];
    env.coracle(line).success().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn failures_make_a_container_unhealthy_and_a_success_healthy() {
    let env = Env::with_tiny();
    checked(&env, "echo looked; test -e /tmp/ok", &["--health-retries", "2"]);
    wait_for(&env, "unhealthy");
    assert!(health(&env)["FailingStreak"].as_i64() >= Some(2), "{:#}", health(&env));
    assert!(shown(&env).ends_with(" (unhealthy)"), "{}", shown(&env));
    env.coracle(["ps", "-q", "--no-trunc", "--filter", "health=healthy"]).success().says("");
    env.coracle(["exec", "c1", "touch", "/tmp/ok"]).success();
    wait_for(&env, "healthy");
    assert!(shown(&env).ends_with(" (healthy)"), "{}", shown(&env));
    env.coracle(["ps", "--format", "{{.Names}}", "--filter", "health=healthy"]).success().says("c1\n");
    let told = ["health_status: unhealthy", "health_status: healthy"];
    assert!(eventually(PATIENCE, || actions(&env, "event=health_status") == told));
    wait_for_results(&env, 5);
    let found = health(&env);
    assert_eq!(found["FailingStreak"], 0);
    let log = found["Log"].as_array().unwrap();
    assert_eq!(log.len(), 5, "{found:#}");
    assert_eq!((&log[4]["ExitCode"], &log[4]["Output"]), (&json!(0), &json!("looked\n")));
    let times: Vec<&str> =
        log.iter().flat_map(|one| [&one["Start"], &one["End"]]).flat_map(Value::as_str).collect();
    assert!(times.len() == 10 && times.is_sorted(), "{times:?}");
}

#[test]
fn a_start_begins_anew() {
    let env = Env::with_tiny();
    let line =
        ["run", "-d", "--name", "c1", "--network", "none", "--health-cmd", "true", "tiny", "sleep", "1000"];
    env.coracle(line).success();
    // The first check comes after half a minute.
    assert_eq!(health(&env), json!({"Status": "starting", "FailingStreak": 0, "Log": []}));
    assert!(shown(&env).ends_with(" (health: starting)"), "{}", shown(&env));
    env.coracle(["ps", "--format", "{{.Names}}", "--filter", "health=starting"]).success().says("c1\n");
    env.coracle(["ps", "-a", "--format", "{{.Names}}", "--filter", "health=none"]).success().says("");
    env.coracle(["inspect", "-f", "{{.State.Health.Status}}", "c1"]).success().says("starting\n");
    assert_eq!(env.inspect("c1", "/Config/Healthcheck"), json!({"Test": ["CMD-SHELL", "true"]}));
    env.coracle(["rm", "-f", "c1"]).success();
    // A check that succeeds in the first run only, and is never reached in the second.
    let name = "--health-start-interval";
    checked(&env, "true", &["--health-start-period", "1h", name, "100ms", "--health-interval", "1h"]);
    wait_for(&env, "healthy");
    env.coracle(["restart", "-t", "0", "c1"]).success();
    wait_for(&env, "healthy");
    assert!(wait_for_results(&env, 2).len() == 2, "{:#}", health(&env));
    env.coracle(["stop", "-t", "0", "c1"]).success();
    assert!(shown(&env).starts_with("Exited (137)") && !shown(&env).contains("health"), "{}", shown(&env));
    assert_eq!(health(&env)["Status"], "unhealthy");
}

#[test]
fn a_check_runs_as_the_container_does() {
    let env = Env::with_tiny();
    let check = "echo $K $(id -un) $(pwd) $(hostname); cat /proc/1/comm; readlink /proc/self/fd/0";
    checked(&env, check, &["-e", "K=V", "-u", "sailor", "-w", "/tmp", "-h", "mast"]);
    let log = wait_for_results(&env, 1);
    assert_eq!(log[0]["Output"], "V sailor /tmp mast\nsleep\n/dev/null\n");
    assert_eq!(actions(&env, "event=exec_create")[0], format!("exec_create: /bin/sh -c {check}"));
    assert!(eventually(PATIENCE, || !actions(&env, "event=health_status").is_empty()));
    let all = actions(&env, "type=container");
    let words: Vec<&str> = all.iter().flat_map(|action| action.split(':').next()).collect();
    let expected = ["create", "start", "exec_create", "exec_start", "exec_die", "health_status"];
    assert_eq!(words[..6], expected, "{all:?}");
}

#[test]
fn a_check_that_takes_too_long_is_ended() {
    let env = Env::with_tiny();
    checked(&env, "echo slow; exec sleep 1234", &["--health-timeout", "200ms", "--health-retries", "1"]);
    wait_for(&env, "unhealthy");
    // What it says in time is kept.
    let said = || {
        wait_for_results(&env, 2)
            .iter()
            .any(|one| one["Output"].as_str().unwrap().ends_with("(200ms): slow\n"))
    };
    assert!(eventually(PATIENCE, said));
    for one in wait_for_results(&env, 2) {
        assert_eq!(one["ExitCode"], -1);
        assert!(
            one["Output"].as_str().unwrap().starts_with("Health check exceeded timeout (200ms)"),
            "{one:#}"
        );
    }
    // They come one after the other, and none stays.
    let top = env.coracle(["top", "c1"]).success();
    assert!(top.stdout().matches("sleep 1234").count() <= 1, "{top:?}");
}

#[test]
fn long_output_is_cut() {
    let env = Env::with_tiny();
    checked(&env, "yes | head -c 400000; echo err >&2; exit 7", &[]);
    let log = wait_for_results(&env, 1);
    assert_eq!(log[0]["ExitCode"], 7);
    assert_eq!(log[0]["Output"], format!("{}...", "y\n".repeat(2048)));
}

#[test]
fn failures_of_the_start_period_do_not_count() {
    let env = Env::with_tiny();
    let period = ["--health-start-period", "1h", "--health-start-interval", "50ms"];
    let rest = ["--health-interval", "1h", "--health-retries", "1"];
    checked(&env, "test -e /tmp/ok", &[&period[..], &rest].concat());
    wait_for_results(&env, 3);
    assert_eq!((&health(&env)["Status"], &health(&env)["FailingStreak"]), (&json!("starting"), &json!(0)));
    env.coracle(["exec", "c1", "touch", "/tmp/ok"]).success();
    wait_for(&env, "healthy");
}

#[test]
fn the_images_check_is_run_unless_another_is_asked_for() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let check = json!({"Test": ["CMD", "sh", "-c", "echo $0 $1", "one two", "three"],
        "Interval": 100_000_000, "Timeout": 60_000_000_000_i64, "Retries": 4});
    let config = json!({"Cmd": ["busybox", "sleep", "1000"], "Env": ["PATH=/bin"], "Healthcheck": check});
    let name = registry.push_config("app", &archive(&busybox_entries()), &config);
    env.coracle(["pull", "-q", &name]).success();
    assert_eq!(env.inspect(&name, "/Config/Healthcheck"), check);
    let run = |options: &[&str]| {
        let start = ["run", "-d", "--name", "c1", "--network", "none"];
        env.coracle([&start[..], options, &[name.as_str()]].concat()).success();
    };
    run(&[]);
    assert_eq!(env.inspect("c1", "/Config/Healthcheck"), check);
    wait_for(&env, "healthy");
    assert_eq!(wait_for_results(&env, 1)[0]["Output"], "one two three\n");
    env.coracle(["rm", "-f", "c1"]).success();

    run(&["--health-retries", "7", "--health-cmd", "no-such-program", "--health-timeout", "1m"]);
    let merged = json!({"Test": ["CMD-SHELL", "no-such-program"], "Interval": 100_000_000,
        "Timeout": 60_000_000_000_i64, "Retries": 7});
    assert_eq!(env.inspect("c1", "/Config/Healthcheck"), merged);
    assert_eq!(wait_for_results(&env, 1)[0]["ExitCode"], 127);
    env.coracle(["rm", "-f", "c1"]).success();

    run(&["--no-healthcheck"]);
    assert_eq!(env.inspect("c1", "/Config/Healthcheck/Test"), json!(["NONE"]));
    assert_eq!(env.inspect("c1", "/State").get("Health"), None);
    assert!(!shown(&env).contains('('), "{}", shown(&env));
    env.coracle(["ps", "--format", "{{.Names}}", "--filter", "health=none"]).success().says("c1\n");
}

#[test]
fn a_check_that_cannot_be_started_has_failed() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let config = json!({"Cmd": ["busybox", "sleep", "1000"], "Env": ["PATH=/bin"],
        "Healthcheck": {"Test": ["CMD", "no-such-program"], "Interval": 100_000_000, "Retries": 1}});
    let name = registry.push_config("app", &archive(&busybox_entries()), &config);
    env.coracle(["run", "-d", "--name", "c1", "--network", "none", &name]).success();
    wait_for(&env, "unhealthy");
    let log = wait_for_results(&env, 1);
    assert_eq!(log[0]["ExitCode"], -1);
    assert!(log[0]["Output"].as_str().unwrap().contains("no-such-program"), "{log:#?}");
}

#[test]
fn a_container_ends_with_the_check_that_runs() {
    let env = Env::with_tiny();
    checked(&env, "(sleep 1234 &); sleep 1234", &[]);
    let probing = || env.coracle(["top", "c1"]).success().stdout().matches("sleep 1234").count() >= 2;
    assert!(eventually(PATIENCE, probing));
    env.coracle(["stop", "-t", "0", "c1"]).success();
    let strangers = || env.processes().into_iter().filter(|pid| !machine::is_home(*pid)).count();
    assert!(eventually(Duration::from_secs(10), || strangers() == 0));
    assert_eq!(health(&env), json!({"Status": "unhealthy", "FailingStreak": 0, "Log": []}));
    env.coracle(["start", "c1"]).success();
    assert!(eventually(PATIENCE, probing));
    assert_eq!(health(&env)["Status"], "starting");
}

#[test]
fn nothing_is_checked_without_a_monitor() {
    let env = Env::with_tiny();
    checked(&env, "sleep 0.05", &[]);
    wait_for(&env, "healthy");
    let parent = std::fs::read_to_string(format!("/proc/{}/status", env.pid("c1"))).unwrap();
    let parent = parent.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    machine::kill(parent.trim().parse().unwrap(), Signal::SIGKILL);
    let strangers = || env.processes().into_iter().filter(|pid| !machine::is_home(*pid)).count();
    assert!(eventually(Duration::from_secs(10), || strangers() == 0));
    assert_eq!((env.status("c1").as_str(), &health(&env)["Status"]), ("exited", &json!("unhealthy")));
    env.coracle(["start", "c1"]).success();
    wait_for(&env, "healthy");
}

#[test]
fn a_container_of_one_id_is_checked_too() {
    let mut env = Env::new();
    env.set_var("CORACLE_SINGLE_ID", "1");
    env.coracle(["pull", "-q", &image("tiny")]).success();
    env.coracle(["tag", &image("tiny"), "tiny"]).success();
    checked(&env, "id -u", &[]);
    wait_for(&env, "healthy");
    assert_eq!(wait_for_results(&env, 1)[0]["Output"], "0\n");
}

#[test]
fn wrong_values_are_refused() {
    let env = Env::with_tiny();
    let cases: [(&[&str], &str); 5] = [
        (
            &["--no-healthcheck", "--health-retries", "1"],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (&["--health-interval", "5"], "time: missing unit in duration \"5\""),
        (&["--health-timeout", "-5s"], "--health-timeout cannot be negative"),
        (&["--health-retries", "-1"], "--health-retries cannot be negative"),
        (&["--health-start-period", "1us"], "StartPeriod in Healthcheck cannot be less than 1ms"),
    ];
    for (flags, why) in cases {
        let line = [&["run", "--rm"], flags, &["tiny", "true"]].concat();
        env.coracle(line).code(125).no_stdout().stderr_has(why);
    }
    env.coracle(["ps", "-aq"]).success().says("");
}
