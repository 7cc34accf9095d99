//! Sudden ends: of the client, of the monitor, of everything. Afterwards `ps` tells the truth,
//! `start` works, and the store is whole.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::fake_registry::{FakeRegistry, blob_path};
use crate::harness::tar::{Entry, archive, busybox_entries};
use crate::harness::{Env, eventually, image, machine};

fn monitor(env: &Env, name: &str) -> i32 {
    let pid = env.pid(name);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim().parse().unwrap()
}

#[test]
fn a_killed_client_loses_nothing() {
    let env = Env::with_tiny();
    let script = "echo one; sleep 1; echo two; exit 6";
    let mut client = env.command(["run", "--name", "c1", "tiny", "sh", "-c", script]).spawn();
    client.wait_for("one");
    client.signal(Signal::SIGKILL);
    drop(client.finish().killed_by(Signal::SIGKILL));
    assert_eq!(env.status("c1"), "running");
    env.coracle(["wait", "c1"]).success().says("6\n");
    env.coracle(["logs", "c1"]).success().says("one\ntwo\n");
}

#[test]
fn a_detached_container_writes_on_after_its_client_was_killed() {
    let env = Env::with_tiny();
    for _ in 0..5 {
        let client = env.command(["run", "-d", "tiny", "sh", "-c", "sleep 0.3; echo done"]).spawn();
        std::thread::sleep(Duration::from_millis(3));
        client.signal(Signal::SIGKILL);
    }
    // Each container is whole, or was never there.
    let all_ended = || env.coracle(["ps", "-q"]).success().stdout().is_empty();
    assert!(eventually(Duration::from_secs(20), all_ended));
    for id in env.coracle(["ps", "-aq"]).success().stdout().split_whitespace() {
        match env.status(id).as_str() {
            "exited" => drop(env.coracle(["logs", id]).success().says("done\n")),
            "created" => drop(env.coracle(["start", "-a", id]).success().says("done\n")),
            other => panic!("{id} is {other}"),
        }
    }
}

#[test]
fn a_killed_monitor_ends_the_container_and_it_can_be_started_again() {
    let env = Env::with_tiny();
    let port = crate::harness::free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let line = ["run", "-d", "--name", "c1", "-p", &publish, "tiny", "sh", "-c"];
    env.coracle(line.into_iter().chain(["echo up; sleep 1000"])).success();
    env.wait_for_log("c1", "up");
    let pid = env.pid("c1");
    machine::kill(monitor(&env, "c1"), Signal::SIGKILL);
    assert!(
        eventually(Duration::from_secs(5), || !machine::alive(pid)),
        "the container runs on without its monitor"
    );
    env.coracle(["ps", "-q"]).success().says("");
    assert_eq!(env.status("c1"), "exited");
    // docker's number for an end that nobody saw.
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 255);
    let shown = env.coracle(["ps", "-a"]).success();
    assert!(shown.stdout().contains("Exited (255)"), "{shown:?}");
    env.coracle(["wait", "c1"]).success().says("255\n");
    env.coracle(["start", "c1"]).success();
    env.wait_for_log("c1", "up\nup\n");
    env.coracle(["rm", "-f", "c1"]).success();
}

#[test]
fn an_attached_client_learns_of_its_monitors_death() {
    let env = Env::with_tiny();
    let mut client = env.command(["run", "--name", "c1", "tiny", "sh", "-c", "echo up; sleep 1000"]).spawn();
    client.wait_for("up");
    machine::kill(monitor(&env, "c1"), Signal::SIGKILL);
    client.finish().code(125).stderr_has("monitor was killed");
}

#[test]
fn after_a_power_cut_everything_is_whole() {
    let env = Env::with_tiny();
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "tiny",
        "sh",
        "-c",
        "echo up >> /count; cat /count; sleep 1000",
    ])
    .success();
    env.coracle(["run", "-d", "--rm", "--name", "c2", "tiny", "sleep", "1000"]).success();
    env.wait_for_log("c1", "up");
    env.kill_all();
    // What a reboot clears.
    machine::walk(&env.root.join("run"), &mut |_| {});
    std::fs::remove_dir_all(env.root.join("run")).unwrap();
    env.folder("run", 0o700);
    env.coracle(["ps", "-q"]).success().says("");
    assert_eq!(env.status("c1"), "exited");
    env.coracle(["start", "c1"]).success();
    env.wait_for_log("c1", "up\nup\n");
    // --rm holds even then: the first command that looks sweeps it.
    let gone = || !env.coracle(["ps", "-a"]).success().stdout().contains(" c2\n");
    assert!(eventually(Duration::from_secs(5), gone));
    env.coracle(["run", "--rm", "--name", "c2", "tiny", "true"]).success();
}

#[test]
fn the_name_of_a_lost_container_of_rm_is_free() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--rm", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.kill_all();
    env.coracle(["run", "--rm", "--name", "c1", "tiny", "echo", "fine"]).success().says("fine\n");
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn a_boot_id_of_another_boot_means_not_running() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let id = env.inspect("c1", "/Id").as_str().unwrap().to_owned();
    env.kill_all();
    // The pid is used by somebody else now: this test.
    let states: Vec<_> = env
        .listing(&env.store())
        .into_iter()
        .filter(|p| p.contains(&id) && p.ends_with("state.json"))
        .collect();
    assert_eq!(states.len(), 1, "{states:?}");
    let path = env.store().join(&states[0]);
    let mut state: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    state["boot_id"] = "another".into();
    state["pid"] = std::process::id().into();
    std::fs::write(&path, state.to_string()).unwrap();
    assert_eq!(env.status("c1"), "exited");
    env.coracle(["kill", "c1"]).code(1).stderr_has("is not running");
    env.coracle(["rm", "c1"]).success();
}

#[test]
fn a_pull_that_is_killed_leaves_no_half_image() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let filler = archive(&[Entry::file("filler", vec![7; 3_000_000])]);
    let pushed = registry.push("app", "latest", &[archive(&busybox_entries()), filler]);
    let path = blob_path("app", &pushed.layers[1].digest);
    registry.change(&path, |reply| {
        reply.cut_at = Some(reply.body.len() / 2);
        reply.pause = Some(Duration::from_secs(2));
    });
    let pull = env.command(["pull", &registry.image("app")]).spawn();
    assert!(eventually(Duration::from_secs(20), || registry.fetched(&path) > 0));
    std::thread::sleep(Duration::from_millis(200));
    env.kill_all();
    drop(pull.finish().killed_by(Signal::SIGKILL));
    env.coracle(["images", "-aq"]).success().says("");
    registry.change(&path, |reply| (reply.cut_at, reply.pause) = (None, None));
    env.coracle([
        "run",
        "--rm",
        "-q",
        &registry.image("app"),
        "sh",
        "-c",
        "ls -l /filler | tr -s ' ' | cut -d' ' -f5",
    ])
    .success()
    .says("3000000\n");
    let half = || env.listing(&env.store()).into_iter().filter(|path| path.starts_with("staging/")).count();
    assert!(
        eventually(Duration::from_secs(5), || half() == 0),
        "{:?}",
        env.listing(&env.store().join("staging"))
    );
}

#[test]
fn kills_at_any_moment_of_a_pull() {
    let env = Env::new();
    let name = image("odd");
    for delay in [5, 10, 20, 30, 45, 60, 80, 100] {
        let pull = env.command(["pull", "-q", &name]).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        env.kill_all();
        drop(pull);
        let listed = env.coracle(["images", "-q"]).success().stdout().lines().count();
        if listed > 0 {
            env.coracle(["run", "--rm", "--pull=never", &name, "cat /odd/replaced"])
                .success()
                .says("second\n");
            env.coracle(["rmi", "-f", &name]).success();
        }
    }
    env.coracle(["run", "--rm", "-q", &name]).success().says("second\n");
}

#[test]
fn kills_at_any_moment_of_a_run() {
    let env = Env::with_tiny();
    for delay in [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30] {
        let run = env.command(["run", "--rm", "--name", "c1", "tiny", "true"]).spawn();
        std::thread::sleep(Duration::from_millis(delay));
        env.kill_all();
        // It may have been too young to be seen; what it started meanwhile goes after it.
        run.signal(Signal::SIGKILL);
        run.finish().parts();
        env.kill_all();
        // The next command finds a store that works; a container that is still listed can be removed.
        env.coracle(["ps", "-a"]).success();
        env.coracle(["rm", "-f", "c1"]).success();
        env.coracle(["run", "--rm", "--name", "c1", "tiny", "echo", "fine"]).success().says("fine\n");
    }
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn a_killed_home_hurts_nobody() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "while :; do echo tick; sleep 0.1; done"])
        .success();
    env.wait_for_log("c1", "tick");
    for pid in env.processes().into_iter().filter(|pid| machine::is_home(*pid)) {
        machine::kill(pid, Signal::SIGKILL);
    }
    assert_eq!(env.status("c1"), "running");
    env.coracle(["exec", "c1", "echo", "fine"]).success().says("fine\n");
    env.coracle(["run", "--rm", "tiny", "echo", "fine"]).success().says("fine\n");
    env.coracle(["restart", "-t", "0", "c1"]).success();
    env.coracle(["rm", "-f", "c1"]).success();
}
