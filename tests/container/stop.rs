//! `coracle stop`.

use std::time::{Duration, Instant};

use crate::harness::{Env, image};

/// Ends at once on `signal`, with `code`.
fn obeys(signal: &str, code: u8) -> String {
    format!("trap 'echo got {signal}; exit {code}' {signal}; echo ready; while :; do sleep 0.05; done")
}

#[test]
fn asks_with_sigterm() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", &obeys("TERM", 9)]).success();
    env.wait_for_log("c1", "ready");
    let began = Instant::now();
    env.coracle(["stop", "c1"]).success().says("c1\n");
    assert!(began.elapsed() < Duration::from_secs(5), "waits although the container ended");
    assert_eq!(env.status("c1"), "exited");
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 9);
    env.coracle(["logs", "c1"]).success().says("ready\ngot TERM\n");
}

#[test]
fn kills_after_the_time_given() {
    let env = Env::with_tiny();
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "tiny",
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    ])
    .success();
    env.wait_for_log("c1", "ready");
    let began = Instant::now();
    env.coracle(["stop", "-t", "1", "c1"]).success();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 137);
}

#[test]
fn the_signal_is_the_containers_or_the_images() {
    let env = Env::with_tiny();
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "--stop-signal",
        "USR2",
        "tiny",
        "sh",
        "-c",
        &obeys("USR2", 3),
    ])
    .success();
    env.wait_for_log("c1", "ready");
    env.coracle(["stop", "c1"]).success();
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 3);
    // The image odd has STOPSIGNAL SIGINT.
    env.coracle(["run", "-d", "--name", "c2", &image("odd"), &obeys("INT", 4)]).success();
    env.wait_for_log("c2", "ready");
    env.coracle(["stop", "c2"]).success();
    assert_eq!(env.inspect("c2", "/State/ExitCode"), 4);
}

#[test]
fn a_stopped_container_is_stopped_already() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "true"]).success();
    env.coracle(["stop", "c1"]).success().says("c1\n");
    env.coracle(["stop", "c1", "nobody"]).code(1).says("c1\n").stderr_has("No such container: nobody");
}

#[test]
fn everything_in_the_container_ends_with_it() {
    let env = Env::with_tiny();
    let script = "setsid sleep 1000 & (setsid sleep 1001 &); echo ready; wait";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "ready");
    env.coracle(["stop", "-t", "0", "c1"]).success();
    assert_eq!(env.status("c1"), "exited");
}
