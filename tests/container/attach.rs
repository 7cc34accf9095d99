//! `attach`, detach keys, and clients that are slow, dead or many.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Env, Terminal, eventually};

const PROMPT: &str = "/ # ";
const CTRL_P: &str = "\u{10}";
const CTRL_Q: &str = "\u{11}";

/// Detaches by docker's default keys, as a hand does it.
fn leave(terminal: &mut Terminal) {
    terminal.type_text(CTRL_P);
    std::thread::sleep(Duration::from_millis(100));
    terminal.type_text(CTRL_Q);
}

#[test]
fn detach_keys_leave_every_kind_of_terminal() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "-it", "--name", "c1", "tiny"]);
    shell.expect(PROMPT);
    leave(&mut shell);
    // docker: `run` and `start` end well and say nothing, `attach` and `exec` do neither.
    assert_eq!(shell.finish(), 0);
    assert!(shell.is_set("icanon") && !shell.screen().contains("escape"), "{}", shell.screen());
    assert_eq!(env.status("c1"), "running");
    let mut shell = env.terminal(["attach", "c1"]);
    shell.type_text("echo a$((1+1))b\n");
    shell.expect("a2b\r\n");
    leave(&mut shell);
    shell.expect("read escape sequence\r\n");
    assert_eq!(shell.finish(), 1);
    assert!(shell.is_set("icanon"));
    let mut shell = env.terminal(["exec", "-it", "c1", "sh", "-c", "echo up; sleep 1; touch /done"]);
    shell.expect("up\r\n");
    leave(&mut shell);
    shell.expect("read escape sequence\r\n");
    assert_eq!(shell.finish(), 1);
    let done = || env.coracle(["exec", "c1", "test", "-e", "/done"]).went_well();
    assert!(eventually(Duration::from_secs(10), done), "what exec started ended with its client");
    // Ended through an attached terminal, and started again with one.
    let mut shell = env.terminal(["attach", "c1"]);
    shell.type_text("exit 5\n");
    assert_eq!(shell.finish(), 5);
    let mut shell = env.terminal(["start", "-ai", "c1"]);
    shell.expect(PROMPT);
    leave(&mut shell);
    assert_eq!(shell.finish(), 0);
    // `start -ai` on one that runs sits down at it.
    let mut shell = env.terminal(["start", "-ai", "c1"]);
    shell.type_text("exit 6\n");
    assert_eq!(shell.finish(), 6);
}

#[test]
fn what_only_begins_like_the_keys_is_passed_on() {
    let env = Env::with_tiny();
    // The container's terminal shows what it gets.
    let mut terminal =
        env.terminal(["run", "-it", "--name", "c1", "tiny", "sh", "-c", "echo up; exec sleep 1000"]);
    terminal.expect("up\r\n");
    std::thread::sleep(Duration::from_millis(200));
    for (typed, seen) in [("x", "x"), (CTRL_P, ""), ("y", "^Py"), (CTRL_P, ""), (CTRL_P, "^P"), ("z", "^Pz")]
    {
        terminal.type_text(typed);
        if seen.is_empty() {
            std::thread::sleep(Duration::from_millis(200));
        } else {
            terminal.expect(seen);
        }
    }
    assert!(!terminal.screen().contains("^P^P^P"));
    // All keys in one write, behind something else.
    terminal.type_text(&format!("last\n{CTRL_P}{CTRL_Q}"));
    assert_eq!(terminal.finish(), 0);
    env.wait_for_log("c1", "last");
    assert_eq!(env.status("c1"), "running");
}

#[test]
fn the_keys_can_be_chosen() {
    let mut env = Env::with_tiny();
    env.coracle(["run", "-dit", "--name", "c1", "tiny"]).success();
    let gone = |env: &Env, args: &[&str], keys: &str| {
        let mut shell = env.terminal(args);
        shell.type_text("echo up$((1+1))\n");
        shell.expect("up2\r\n");
        // docker's default must do nothing now.
        leave(&mut shell);
        shell.type_text("\n");
        shell.expect(PROMPT);
        shell.type_text(keys);
        shell.expect("read escape sequence");
        assert_eq!(shell.finish(), 1);
    };
    gone(&env, &["attach", "--detach-keys", "ctrl-a,d", "c1"], "\u{1}d");
    let config = r#"{"auths":{},"detachKeys":"ctrl-x,x"}"#;
    let folder = env.folder("home/.docker", 0o755);
    fs::write(folder.join("config.json"), config).unwrap();
    gone(&env, &["attach", "c1"], "\u{18}x");
    gone(&env, &["attach", "--detach-keys=ctrl-a,d", "c1"], "\u{1}d");
    let folder = env.folder("elsewhere", 0o755);
    fs::write(folder.join("config.json"), config.replace("ctrl-x,x", "ctrl-o")).unwrap();
    env.set_var("DOCKER_CONFIG", &folder.to_string_lossy());
    gone(&env, &["attach", "c1"], "\u{f}");
    fs::write(folder.join("config.json"), "{").unwrap();
    let mut shell = env.terminal(["attach", "c1"]);
    shell.expect("Error loading config file");
    shell.type_text("exit\n");
    shell.finish();
    for verb in [&["run", "--rm"][..], &["exec"], &["start", "-a"], &["attach"]] {
        let words = verb.iter().chain(&["--detach-keys", "ctrl-pq", "c1", "true"]);
        let words: Vec<_> =
            words.take(verb.len() + if verb[0] == "exec" || verb[0] == "run" { 4 } else { 3 }).collect();
        env.coracle(words).code(1).stderr_has("Invalid detach keys (ctrl-pq) provided");
    }
}

#[test]
fn configured_keys_leave_every_kind_of_terminal() {
    let env = Env::with_tiny();
    let folder = env.folder("home/.docker", 0o755);
    fs::write(folder.join("config.json"), r#"{"detachKeys":"ctrl-x,x"}"#).unwrap();
    let lines: [(&[&str], i32); 4] = [
        (&["run", "-it", "--name", "c1", "tiny"], 0),
        (&["start", "-ai", "c1"], 0),
        (&["attach", "c1"], 1),
        (&["exec", "-it", "c1", "sh"], 1),
    ];
    for (words, code) in lines {
        let mut shell = env.terminal(words);
        shell.type_text("echo up$((1+1))\n");
        shell.expect("up2\r\n");
        // Ctrl-C is the program's.
        shell.type_text("sleep 100; echo over\n");
        shell.expect("over\r\n");
        std::thread::sleep(Duration::from_millis(300));
        shell.type_text("\u{3}");
        shell.expect(PROMPT);
        shell.type_text("\u{18}");
        std::thread::sleep(Duration::from_millis(100));
        shell.type_text("x");
        assert_eq!(shell.finish(), code, "{words:?}: {}", shell.screen());
        assert!(shell.is_set("icanon"));
        assert_eq!(env.status("c1"), "running");
    }
    // The command line goes before the file.
    let mut shell = env.terminal(["exec", "-it", "--detach-keys", "ctrl-a", "c1", "sh"]);
    shell.expect(PROMPT);
    shell.type_text("\u{1}");
    assert_eq!(shell.finish(), 1);
}

#[test]
fn only_a_running_container_can_be_attached_to() {
    let env = Env::with_tiny();
    env.coracle(["create", "-it", "--name", "c1", "tiny"]).success();
    let stopped = "You cannot attach to a stopped container, start it first";
    env.coracle(["attach", "c1"]).code(1).no_stdout().stderr_has(stopped);
    env.coracle(["attach", "nobody"]).code(1).stderr_has("No such container: nobody");
    env.coracle(["start", "c1"]).success();
    env.coracle(["attach", "c1"]).code(1).stderr_has("the input device is not a TTY");
    env.coracle(["run", "--name", "c2", "tiny", "sh", "-c", "exit 3"]).code(3).no_stderr();
    env.coracle(["attach", "c2"]).code(1).stderr_has(stopped);
}

#[test]
fn several_clients_see_and_type() {
    let env = Env::with_tiny();
    let mut first = env.terminal(["run", "-it", "--name", "c1", "tiny"]);
    first.expect(PROMPT);
    let mut second = env.terminal(["attach", "c1"]);
    second.type_text("echo second$((1+1))\n");
    second.expect("second2\r\n");
    first.expect("second2\r\n");
    first.type_text("echo first$((1+1))\n");
    for terminal in [&mut first, &mut second] {
        terminal.expect("first2\r\n");
    }
    // One that is killed is forgotten.
    first.signal(Signal::SIGKILL);
    second.type_text("echo alone$((1+1))\n");
    second.expect("alone2\r\n");
    let mut third = env.terminal(["attach", "--no-stdin", "c1"]);
    std::thread::sleep(Duration::from_millis(300));
    second.type_text("exit 7\n");
    assert_eq!((second.finish(), third.finish()), (7, 7));
}

#[test]
fn input_ends_with_the_client_that_began_it() {
    let env = Env::with_tiny();
    // docker's StdinOnce: `run -i` closes it, `run -di` leaves it open for the next.
    env.coracle(["run", "-di", "--name", "c1", "tiny", "cat"]).success();
    for text in ["one\n", "two\n"] {
        let mut client = env.command(["attach", "c1"]).spawn();
        client.send(text);
        client.wait_for(text);
        client.signal(Signal::SIGKILL);
        client.finish().killed_by(Signal::SIGKILL);
        assert_eq!(env.status("c1"), "running");
    }
    env.coracle(["logs", "c1"]).success().says("one\ntwo\n");
    let mut client = env.command(["run", "-i", "--name", "c2", "tiny", "cat"]).spawn();
    client.send("x\n");
    client.wait_for("x\n");
    client.signal(Signal::SIGKILL);
    client.finish().killed_by(Signal::SIGKILL);
    env.coracle(["wait", "c2"]).success().says("0\n");
}

#[test]
fn signals_are_passed_on_or_not() {
    let env = Env::with_tiny();
    let script = "trap 'echo got; exit 9' INT; echo up; while :; do sleep 0.1; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "up");
    let client = env.command(["attach", "--sig-proxy=false", "c1"]).spawn();
    std::thread::sleep(Duration::from_millis(500));
    client.signal(Signal::SIGINT);
    client.finish().code(130);
    assert_eq!(env.status("c1"), "running");
    let client = env.command(["attach", "c1"]).spawn();
    std::thread::sleep(Duration::from_millis(500));
    client.signal(Signal::SIGINT);
    client.finish().code(9).says("got\n");
}

#[test]
fn full_screen_programs_work() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "--rm", "-it", "--name", "c1", "tiny"]);
    shell.expect(PROMPT);
    shell.type_text("vi /text\n");
    shell.expect("/text");
    shell.type_text("ihello\u{1b}");
    shell.expect("hello");
    // Another window draws the screen again.
    shell.resize(30, 100);
    let mut other = env.terminal(["attach", "c1"]);
    other.expect("hello");
    other.type_text(&format!("{CTRL_P}{CTRL_Q}"));
    assert_eq!(other.finish(), 1);
    shell.type_text(":wq\n");
    shell.expect(PROMPT);
    shell.type_text("cat /text\n");
    shell.expect("hello\r\n");
    shell.expect(PROMPT);
    shell.type_text("top\n");
    shell.expect("CPU:");
    shell.type_text("q");
    shell.expect(PROMPT);
    shell.type_text("exit 0\n");
    assert_eq!(shell.finish(), 0);
}

#[test]
fn a_client_that_reads_nothing_is_not_waited_for() {
    let env = Env::with_tiny();
    let script = "until [ -e /go ]; do echo tick >&2; sleep 0.05; done; seq 1 7000000";
    let id =
        env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success().line().to_owned();
    let mut slow = env.command(["attach", "c1"]).patience(Duration::from_secs(120)).spawn();
    let quick = env.command(["attach", "c1"]).patience(Duration::from_secs(120)).spawn();
    let state = fs::read_to_string(env.store().join("containers").join(&id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", state["monitor_pid"])).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: 0 kB");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    std::thread::sleep(Duration::from_millis(500));
    slow.signal(Signal::SIGSTOP);
    env.coracle(["exec", "c1", "touch", "/go"]).success();
    let mut most = 0;
    let ended = || {
        most = most.max(memory());
        env.status("c1") == "exited"
    };
    assert!(eventually(Duration::from_secs(60), ended), "the container waits for its client");
    assert!(most < 24 << 10, "the monitor took {most} KiB");
    let all: String = (1..=7_000_000).map(|n| format!("{n}\n")).collect();
    assert!(quick.finish().success().stdout() == all, "the quick client lost something");
    // Nor does what comes after it wait.
    env.coracle(["start", "c1"]).success();
    env.coracle(["rm", "-f", "c1"]).success();
    assert!(!slow.ended());
    slow.signal(Signal::SIGCONT);
    assert!(slow.finish().success().stdout() == all, "the slow client lost something");
}

#[test]
fn a_killed_client_leaves_no_process() {
    let env = Env::with_tiny();
    let script = "echo up; sleep 0.5; seq 1 1000000";
    let mut client = env.command(["run", "--rm", "tiny", "sh", "-c", script]).spawn();
    client.wait_for("up\n");
    client.signal(Signal::SIGSTOP);
    // The container is gone while its client has yet to hear of it; the client is then gone as well.
    let gone = || env.coracle(["ps", "-aq"]).success().stdout().is_empty();
    assert!(eventually(Duration::from_secs(30), gone), "the container waits for its client");
    client.signal(Signal::SIGKILL);
    client.finish().killed_by(Signal::SIGKILL);
}

#[test]
fn an_exec_whose_reader_is_slow_loses_nothing() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let script = format!("{} exec c1 seq 1 2000000 | (sleep 2; md5sum)", crate::harness::binary().display());
    let here = "seq 1 2000000 | md5sum";
    let expected = env.program("sh", ["-c", here]).output().success().stdout().to_owned();
    env.program("sh", ["-c", &script]).output().success().says(&expected);
}
