//! `coracle pause`.

use crate::harness::{Env, PATIENCE, eventually};

/// The states of all processes of a container, as ps shows them.
fn states(env: &Env, name: &str) -> Vec<String> {
    let output = env.coracle(["top", name, "-o", "pid,stat"]).success();
    output
        .stdout()
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned()))
        .collect()
}

#[test]
fn stops_every_process_there_is() {
    let env = Env::with_tiny();
    // New processes all the time, of two users, and one that had been stopped already.
    let script = "sleep 1000 & kill -STOP $!; while :; do true & true; wait $!; echo on; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.coracle(["exec", "-d", "-u", "1000", "c1", "sh", "-c", "while :; do sleep 0.01; done"]).success();
    env.wait_for_log("c1", "on");
    assert!(eventually(PATIENCE, || states(&env, "c1").len() >= 3));
    env.coracle(["pause", "c1"]).success().says("c1\n").stderr_has("paused by stopping its processes");
    assert_eq!(env.status("c1"), "paused");
    assert_eq!(env.inspect("c1", "/State/Running"), true);
    assert_eq!(env.inspect("c1", "/State/Paused"), true);
    let paused = states(&env, "c1");
    assert!(paused.len() >= 3 && paused.iter().all(|state| state.starts_with(['T', 'Z'])), "{paused:?}");
    let before = env.coracle(["logs", "c1"]).success().stdout().len();
    env.coracle(["unpause", "c1"]).success().says("c1\n");
    assert_eq!(env.status("c1"), "running");
    let goes_on = || env.coracle(["logs", "c1"]).success().stdout().len() > before;
    assert!(eventually(PATIENCE, goes_on));
}

#[test]
fn stops_what_is_in_a_pid_namespace_below() {
    let env = Env::with_tiny();
    let script = "unshare -p -f sleep 1000";
    env.coracle(["run", "-d", "--name", "c1", "--privileged", "tiny", "sh", "-c", script]).success();
    assert!(eventually(PATIENCE, || states(&env, "c1").len() >= 2));
    env.coracle(["pause", "c1"]).success();
    let paused = states(&env, "c1");
    assert!(paused.iter().all(|state| state.starts_with('T')), "{paused:?}");
}

#[test]
fn is_seen_and_refused_where_docker_does() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["create", "--name", "c2", "tiny", "true"]).success();
    env.coracle(["pause", "c1"]).success();
    let shown =
        env.coracle(["ps", "--filter", "status=paused", "--format", "{{.State}} {{.Status}}"]).success();
    assert!(shown.stdout().starts_with("paused Up ") && shown.stdout().ends_with(" (Paused)\n"), "{shown:?}");
    env.coracle(["ps", "-q", "--filter", "status=running"]).success().no_stdout();
    let info = env.coracle(["info", "--format", "{{.ContainersRunning}} {{.ContainersPaused}}"]).success();
    assert_eq!(info.stdout(), "0 1\n");
    for (words, message) in [
        (&["pause", "c1"][..], "is already paused"),
        (&["pause", "c2"], "is not running"),
        (&["pause", "nobody"], "No such container: nobody"),
        (&["start", "c1"], "cannot start a paused container, try unpause instead"),
        (&["exec", "c1", "true"], "Container c1 is paused, unpause the container before exec"),
        (&["attach", "c1"], "You cannot attach to a paused container, unpause it first"),
        (&["rm", "c1"], "container is paused and must be unpaused first"),
    ] {
        env.coracle(words).code(1).no_stdout().stderr_has(message);
    }
    assert_eq!(env.status("c1"), "paused");
}

#[test]
fn ends_with_the_container() {
    let env = Env::with_tiny();
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "tiny",
        "sh",
        "-c",
        "trap 'exit 5' TERM; while :; do sleep 0.01; done",
    ])
    .success();
    env.coracle(["pause", "c1"]).success();
    env.coracle(["stop", "-t", "60", "c1"]).success();
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 5);
    for words in [&["kill", "c1"][..], &["rm", "-f", "c1"]] {
        env.coracle(["start", "c1"]).success();
        env.coracle(["pause", "c1"]).success();
        env.coracle(words).success().says("c1\n");
    }
    env.coracle(["inspect", "c1"]).code(1);
    env.coracle(["run", "-d", "--name", "c2", "tiny", "sleep", "1000"]).success();
    env.coracle(["pause", "c2"]).success();
    env.coracle(["restart", "-t", "0", "c2"]).success();
    assert_eq!(env.status("c2"), "running");
}

#[test]
fn a_signal_ends_it_unless_another_one_is_for_the_end() {
    let env = Env::with_tiny();
    let script = "trap 'echo one' USR1; trap 'exit 5' USR2; echo up; while :; do sleep 0.01; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.coracle(["run", "-d", "--name", "c2", "--stop-signal", "USR2", "tiny", "sh", "-c", script]).success();
    for name in ["c1", "c2"] {
        env.wait_for_log(name, "up");
        env.coracle(["pause", name]).success();
        env.coracle(["kill", "-s", "USR1", name]).success();
    }
    env.wait_for_log("c1", "one");
    assert_eq!(env.status("c1"), "running");
    assert_eq!(env.status("c2"), "paused");
    env.coracle(["kill", "-s", "USR2", "c2"]).success();
    env.coracle(["wait", "c2"]).success().says("5\n");
    let events =
        ["events", "--since", "1h", "--until", "0s", "-f", "container=c2", "--format", "{{.Action}}"];
    env.coracle(events).success().says("create\nstart\npause\nkill\nkill\nunpause\ndie\n");
}
