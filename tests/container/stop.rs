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
    env.coracle(["run", "-d", "--name", "a", "tiny", "sh", "-c", &obeys("TERM", 9)]).success();
    env.wait_for_log("a", "ready");
    let began = Instant::now();
    env.coracle(["stop", "a"]).success().says("a\n");
    assert!(began.elapsed() < Duration::from_secs(5), "waits although the container ended");
    assert_eq!(env.status("a"), "exited");
    assert_eq!(env.inspect("a", "/State/ExitCode"), 9);
    env.coracle(["logs", "a"]).success().says("ready\ngot TERM\n");
}

#[test]
fn kills_after_the_time_given() {
    let env = Env::with_tiny();
    env.coracle([
        "run",
        "-d",
        "--name",
        "a",
        "tiny",
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    ])
    .success();
    env.wait_for_log("a", "ready");
    let began = Instant::now();
    env.coracle(["stop", "-t", "1", "a"]).success();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(env.inspect("a", "/State/ExitCode"), 137);
}

#[test]
fn the_signal_is_the_containers_or_the_images() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "a", "--stop-signal", "USR2", "tiny", "sh", "-c", &obeys("USR2", 3)])
        .success();
    env.wait_for_log("a", "ready");
    env.coracle(["stop", "a"]).success();
    assert_eq!(env.inspect("a", "/State/ExitCode"), 3);
    // The image odd has STOPSIGNAL SIGINT.
    env.coracle(["run", "-d", "--name", "b", &image("odd"), &obeys("INT", 4)]).success();
    env.wait_for_log("b", "ready");
    env.coracle(["stop", "b"]).success();
    assert_eq!(env.inspect("b", "/State/ExitCode"), 4);
}

#[test]
fn a_stopped_container_is_stopped_already() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "a", "tiny", "true"]).success();
    env.coracle(["stop", "a"]).success().says("a\n");
    env.coracle(["stop", "a", "nobody"]).code(1).says("a\n").stderr_has("No such container: nobody");
}

#[test]
fn everything_in_the_container_ends_with_it() {
    let env = Env::with_tiny();
    let script = "setsid sleep 1000 & (setsid sleep 1001 &); echo ready; wait";
    env.coracle(["run", "-d", "--name", "a", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("a", "ready");
    env.coracle(["stop", "-t", "0", "a"]).success();
    assert_eq!(env.status("a"), "exited");
}
