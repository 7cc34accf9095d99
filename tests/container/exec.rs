//! `coracle exec`.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Env, eventually};

/// A running container `a` that has an environment, a user and a working folder.
fn ready() -> Env {
    let env = Env::with_tiny();
    let line = ["run", "-d", "--name", "c1", "-e", "K=V", "-w", "/tmp", "-u", "sailor", "-h", "mast", "tiny"];
    env.coracle(line.into_iter().chain(["sleep", "1000"])).success();
    env
}

#[test]
fn runs_in_the_containers_world() {
    let env = ready();
    let script = "echo $K; pwd; id -un; hostname; echo $HOME; cat /proc/1/cmdline | tr '\\0' ' '";
    env.coracle(["exec", "c1", "sh", "-c", script])
        .success()
        .says("V\n/tmp\nsailor\nmast\n/home/sailor\nsleep 1000 ");
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] {
        let link = format!("/proc/{}/ns/{namespace}", env.pid("c1"));
        let container = std::fs::read_link(&link).expect("a namespace").display().to_string();
        let inside = format!("/proc/self/ns/{namespace}");
        env.coracle(["exec", "-u", "root", "c1", "readlink", &inside])
            .success()
            .says(&format!("{container}\n"));
    }
}

#[test]
fn has_the_containers_limits() {
    let env = ready();
    let status = |args: &[&str]| {
        let said = env.coracle(args.iter().copied().chain([
            "grep",
            "-E",
            "^(Cap|Seccomp:|NoNewPrivs)",
            "/proc/self/status",
        ]));
        said.success().stdout().to_owned()
    };
    let inside = status(&["exec", "-u", "root", "c1"]);
    let first = status(&["run", "--rm", "tiny"]);
    assert_eq!(inside, first);
    assert!(inside.contains("Seccomp:\t2"), "{inside}");
}

#[test]
fn gives_the_exit_status() {
    let env = ready();
    env.coracle(["exec", "c1", "sh", "-c", "echo out; echo err >&2; exit 9"])
        .code(9)
        .says("out\n")
        .stderr_has("err");
    env.coracle(["exec", "c1", "sh", "-c", "kill -9 $$"]).code(137);
    env.coracle(["exec", "c1", "no-such-command"]).code(127).stderr_has("no-such-command");
    env.coracle(["exec", "c1", "/etc/not-executable"]).code(126).stderr_has("/etc/not-executable");
    env.coracle(["exec", "c1", "/etc"]).code(126);
    assert_eq!(env.status("c1"), "running");
}

#[test]
fn takes_its_options() {
    let env = ready();
    env.coracle(["exec", "-e", "K=W", "-e", "NEW=1", "c1", "sh", "-c", "echo $K $NEW"])
        .success()
        .says("W 1\n");
    env.coracle(["exec", "-w", "/srv", "c1", "pwd"]).success().says("/srv\n");
    env.coracle(["exec", "-u", "root", "c1", "id", "-u"]).success().says("0\n");
    env.coracle(["exec", "-u", "1000:200", "c1", "sh", "-c", "id -u; id -g"]).success().says("1000\n200\n");
    env.coracle(["exec", "-u", "nosuch", "c1", "true"]).code(1).stderr_has("nosuch");
    env.coracle(["exec", "--no-such-flag", "c1", "true"]).code(125).stderr_has("no-such-flag");
}

#[test]
fn stdin_only_with_i() {
    let env = ready();
    env.command(["exec", "c1", "cat"]).input("ignored").output().success().says("");
    env.command(["exec", "-i", "c1", "cat"]).input("taken").output().success().says("taken");
    let bytes = vec![b'z'; 3 << 20];
    let said = env.command(["exec", "-i", "c1", "cat"]).input(&bytes).output().success();
    assert!(said.stdout_bytes() == bytes, "megabytes come back changed");
}

#[test]
fn detached_goes_on() {
    let env = ready();
    env.coracle(["exec", "-d", "c1", "sh", "-c", "sleep 0.3; echo done > /tmp/mark"]).success().no_stdout();
    let marked = || env.coracle(["exec", "c1", "cat", "/tmp/mark"]).went_well();
    assert!(eventually(Duration::from_secs(10), marked));
    // Its output is not the container's.
    env.coracle(["logs", "c1"]).success().says("");
}

#[test]
fn needs_a_running_container() {
    let env = ready();
    env.coracle(["exec", "nobody", "true"]).code(1).stderr_has("No such container: nobody");
    env.coracle(["kill", "c1"]).success();
    env.coracle(["wait", "c1"]).success();
    env.coracle(["exec", "c1", "true"]).code(1).stderr_has("is not running");
}

#[test]
fn ends_with_the_container() {
    let env = ready();
    let mut session = env.command(["exec", "c1", "sh", "-c", "echo in; sleep 1000"]).spawn();
    session.wait_for("in");
    env.coracle(["kill", "c1"]).success();
    session.finish().code(137);
}

#[test]
fn a_killed_client_takes_no_one_with_it() {
    let env = ready();
    let mut session = env.command(["exec", "-i", "c1", "sh", "-c", "echo in; cat"]).spawn();
    session.wait_for("in");
    session.signal(Signal::SIGKILL);
    drop(session.finish().killed_by(Signal::SIGKILL));
    assert_eq!(env.status("c1"), "running");
    env.coracle(["exec", "c1", "true"]).success();
}

#[test]
fn many_at_once() {
    let env = ready();
    let sessions: Vec<_> = (0..20)
        .map(|i| env.command(["exec", "c1", "sh", "-c", &format!("sleep 0.2; echo {i}")]).spawn())
        .collect();
    for (i, session) in sessions.into_iter().enumerate() {
        session.finish().success().says(&format!("{i}\n"));
    }
}

#[test]
fn what_it_starts_is_the_containers() {
    let env = ready();
    env.coracle(["exec", "c1", "sh", "-c", "setsid sleep 777 >/dev/null 2>&1 &"]).success();
    let said = env.coracle(["exec", "c1", "ps"]).success();
    assert!(said.stdout().contains("sleep 777"), "{said:?}");
    env.coracle(["rm", "-f", "c1"]).success();
}
