//! `coracle run`: streams, exit codes, detaching, signals, removal.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Env, eventually, fake_registry::sha256, image};

#[test]
fn keeps_stdout_and_stderr_apart() {
    let env = Env::with_tiny();
    let said = env.coracle(["run", "--rm", "tiny", "sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((said.stdout(), said.stderr()), ("out\n", "err\n"));
}

#[test]
fn ends_with_the_commands_exit_status() {
    let env = Env::with_tiny();
    for code in [0, 1, 3, 125, 255] {
        let script = format!("exit {code}");
        env.coracle(["run", "--rm", "tiny", "sh", "-c", &script]).code(code).no_stdout().no_stderr();
    }
}

#[test]
fn ends_with_128_and_the_signal() {
    let env = Env::with_tiny();
    let mut running = env.command(["run", "--name", "c1", "tiny", "sh", "-c", "echo up; sleep 100"]).spawn();
    running.wait_for("up");
    env.coracle(["kill", "c1"]).success().says("c1\n");
    running.finish().code(137);
    assert_eq!(env.inspect("c1", "/State/ExitCode"), 137);
    env.coracle(["run", "--rm", "tiny", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).code(137);
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_is_126() {
    let env = Env::with_tiny();
    for (command, code, word) in [
        ("no-such-command", 127, "no-such-command"),
        ("/no/such/command", 127, "/no/such/command"),
        ("/etc/no-interpreter", 127, "/etc/no-interpreter"),
        ("/etc/not-executable", 126, "/etc/not-executable"),
        ("/etc", 126, "/etc"),
    ] {
        env.coracle(["run", "--rm", "tiny", command]).code(code).no_stdout().stderr_has(word);
        env.coracle(["ps", "-aq"]).success().says("");
    }
    // Without --rm docker leaves the container that could not be started.
    env.coracle(["run", "--name", "left", "tiny", "no-such-command"]).code(127);
    assert_eq!(env.status("left"), "created");
    assert_eq!(env.inspect("left", "/State/ExitCode"), 127);
}

#[test]
fn the_search_path_is_the_containers() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "-e", "PATH=/nowhere", "tiny", "true"]).code(127);
    env.coracle(["run", "--rm", "-e", "PATH=/nowhere:/bin", "tiny", "echo", "found"])
        .success()
        .says("found\n");
    env.coracle(["run", "--rm", "-w", "/bin", "tiny", "./echo", "here"]).success().says("here\n");
}

#[test]
fn stdin_is_empty_unless_asked_for() {
    let env = Env::with_tiny();
    env.command(["run", "--rm", "tiny", "cat"]).input("ignored").output().success().says("");
    env.command(["run", "--rm", "-i", "tiny", "cat"]).input("taken").output().success().says("taken");
}

#[test]
fn stdin_closes_when_the_callers_does() {
    let env = Env::with_tiny();
    let mut running = env.command(["run", "--rm", "-i", "tiny", "sh", "-c", "cat; echo end"]).spawn();
    running.send("one\n");
    running.wait_for("one\n");
    running.close_stdin();
    running.finish().success().says("one\nend\n");
}

#[test]
fn a_command_that_ends_does_not_wait_for_stdin() {
    let env = Env::with_tiny();
    let running = env.command(["run", "--rm", "-i", "tiny", "echo", "quick"]).spawn();
    running.finish().success().says("quick\n");
}

#[test]
fn carries_megabytes_unchanged_both_ways() {
    let env = Env::with_tiny();
    let mut seed = 1u32;
    let random = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    let bytes: Vec<u8> = random.take(8 << 20).collect();
    let said = env.command(["run", "--rm", "-i", "tiny", "cat"]).input(&bytes).output().success();
    assert_eq!(sha256(said.stdout_bytes()), sha256(&bytes));
}

#[test]
fn output_written_just_before_the_end_is_not_lost() {
    let env = Env::with_tiny();
    for _ in 0..10 {
        let said = env.coracle(["run", "--rm", "tiny", "sh", "-c", "seq 1 5000; seq 1 5000 >&2"]).success();
        assert_eq!(said.stdout(), said.stderr());
        assert!(said.stdout().ends_with("\n5000\n"));
    }
}

#[test]
fn detached_prints_the_id_and_returns() {
    let env = Env::with_tiny();
    let began = Instant::now();
    let said = env.coracle(["run", "-d", "tiny", "sleep", "100"]).success().no_stderr();
    assert!(began.elapsed() < Duration::from_secs(10), "run -d waits for the command");
    let id = said.line();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(env.status(id), "running");
    env.coracle(["rm", "-f", id]).success();
}

#[test]
fn a_detached_start_that_fails_says_so() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--rm", "tiny", "no-such-command"]).code(127).stderr_has("no-such-command");
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn a_detached_container_outlives_its_callers_session() {
    let env = Env::with_tiny();
    let script =
        format!("{} run -d --name c1 tiny sh -c 'sleep 2; echo later'", crate::harness::binary().display());
    // A session of its own whose leader ends: what is left of it gets a hang-up.
    env.program("setsid", ["sh", "-c", &script]).output().success();
    env.coracle(["wait", "c1"]).success().says("0\n");
    env.coracle(["logs", "c1"]).success().says("later\n");
}

#[test]
fn without_rm_the_container_is_kept() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "kept", "tiny", "sh", "-c", "echo hello > /file; exit 4"]).code(4);
    assert_eq!(env.status("kept"), "exited");
    assert_eq!(env.inspect("kept", "/State/ExitCode"), 4);
    env.coracle(["rm", "kept"]).success().says("kept\n");
}

#[test]
fn rm_leaves_nothing() {
    let env = Env::with_tiny();
    let before = env.listing(&env.store());
    env.coracle([
        "run",
        "--rm",
        "--name",
        "c1",
        "tiny",
        "sh",
        "-c",
        "mkdir -p /x/y; echo z > /x/y/z; chmod 0 /x",
    ])
    .success();
    // The name is free the moment the client returns.
    env.coracle(["run", "--rm", "--name", "c1", "tiny", "true"]).success();
    env.coracle(["run", "-d", "--rm", "--name", "c1", "tiny", "true"]).success();
    assert!(eventually(Duration::from_secs(10), || env.coracle(["ps", "-aq"]).success().stdout().is_empty()));
    assert!(
        eventually(Duration::from_secs(10), || env.listing(&env.store()) == before),
        "the store has grown: {:?}",
        env.listing(&env.store())
    );
}

#[test]
fn forwards_signals() {
    let env = Env::with_tiny();
    let script =
        "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = env.command(["run", "--rm", "tiny", "sh", "-c", script]).spawn();
    running.wait_for("ready");
    running.signal(Signal::SIGUSR1);
    running.wait_for("usr1");
    running.signal(Signal::SIGTERM);
    running.finish().code(7).says("ready\nusr1\nterm\n");
}

#[test]
fn an_interrupt_reaches_the_container() {
    let env = Env::with_tiny();
    let script = "trap 'echo int; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let mut running = env.command(["run", "--rm", "tiny", "sh", "-c", script]).spawn();
    running.wait_for("ready");
    running.signal(Signal::SIGINT);
    running.finish().code(5);
}

#[test]
fn pulls_what_is_missing_and_says_so() {
    let env = Env::new();
    let said = env.coracle(["run", "--rm", &image("tiny"), "cat", "/srv/hello"]).success();
    assert_eq!(said.stdout(), "hello from tiny\n");
    let said = said.stderr_has("Unable to find image").stderr_has(&image("tiny"));
    assert!(said.stderr().contains("Downloaded newer image"), "{said:?}");
    env.coracle(["run", "--rm", &image("tiny"), "cat", "/srv/hello"])
        .success()
        .says("hello from tiny\n")
        .no_stderr();
}

#[test]
fn pull_never_and_always() {
    let env = Env::new();
    let name = image("tiny");
    env.coracle(["run", "--rm", "--pull", "never", &name, "true"]).code(125).stderr_has("tiny");
    env.coracle(["run", "--rm", "--pull", "always", &name, "true"]).success().stderr_has("tiny");
    env.coracle(["run", "--rm", "--pull", "never", &name, "true"]).success().no_stderr();
    env.coracle(["run", "--rm", "--pull", "missing", &name, "true"]).success().no_stderr();
    env.coracle(["run", "--rm", "--pull", "sometimes", &name, "true"]).code(125).stderr_has("sometimes");
}

#[test]
fn platform_chooses_from_an_index() {
    let env = Env::new();
    let name = image("tiny:index");
    env.coracle(["run", "--rm", "--pull=always", &name, "cat", "/etc/platform"])
        .success()
        .says("linux/amd64\n");
    let other = ["run", "--rm", "--pull=always", "--platform", "linux/arm64", &name, "cat", "/etc/platform"];
    env.coracle(other).success().says("linux/arm64\n");
    // The one that is there is for another platform now: it does not serve.
    let never = ["run", "--rm", "--pull=never", "--platform", "linux/amd64", &name, "cat", "/etc/platform"];
    env.coracle(never).code(125).stderr_has("its platform (linux/arm64) does not match");
    let missing = ["run", "--rm", "--platform", "linux/amd64", &name, "cat", "/etc/platform"];
    env.coracle(missing).success().says("linux/amd64\n");
    env.coracle(["run", "--rm", "--platform", "linux/s390x", "--pull=always", &name, "true"])
        .code(125)
        .stderr_has("s390x");
}

#[test]
fn the_default_command_is_the_images() {
    let env = Env::new();
    let odd = image("odd");
    // ENTRYPOINT ["/bin/sh", "-c"], CMD ["cat /odd/replaced"]
    env.coracle(["run", "--rm", "-q", &odd]).success().says("second\n");
    env.coracle(["run", "--rm", &odd, "echo $ODD; pwd; id -un"])
        .success()
        .says("yes\n/odd/deep/work\nsailor\n");
    env.coracle(["run", "--rm", "--entrypoint", "/bin/echo", &odd]).success().says("\n");
    env.coracle(["run", "--rm", "--entrypoint", "/bin/echo", &odd, "c1", "c2"]).success().says("c1 c2\n");
    env.coracle(["run", "--rm", "--entrypoint", "", &odd, "echo", "c"]).success().says("c\n");
}

#[test]
fn flags_end_at_the_image() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "tiny", "echo", "--rm", "-d", "--name=x"])
        .success()
        .says("--rm -d --name=x\n");
    env.coracle(["container", "run", "--rm", "tiny", "echo", "long"]).success().says("long\n");
}

#[test]
fn many_in_a_row_leave_nothing() {
    let env = Env::with_tiny();
    for _ in 0..30 {
        env.coracle(["run", "--rm", "--network", "none", "tiny", "true"]).success().no_stderr();
    }
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn no_file_of_the_caller_is_inherited() {
    let env = Env::with_tiny();
    let script = format!(
        "exec 7</etc/hostname 9>/dev/null; exec {} run --rm tiny ls /proc/self/fd",
        crate::harness::binary().display()
    );
    // 3 is ls' own, on the folder it lists.
    env.program("sh", ["-c", &script]).output().success().says("0\n1\n2\n3\n");
}
