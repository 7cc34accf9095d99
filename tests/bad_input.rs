//! What a user can get wrong: each a clear error on stderr with docker's exit code.

use crate::harness::{Env, image};

#[test]
fn malformed_flags_are_125_with_the_usage() {
    let env = Env::with_tiny();
    for line in [
        &["run", "--no-such-flag", "tiny"][..],
        &["run", "-Z", "tiny"],
        &["run", "--rm=perhaps", "tiny"],
        &["run", "--name"],
        &["ps", "--no-such-flag"],
        &["exec", "--no-such-flag", "c1", "true"],
        &["rm", "--no-such-flag"],
        &["pull", "--no-such-flag", "x"],
    ] {
        let said = env.coracle(line).code(125).no_stdout();
        assert!(said.stderr().contains("--help"), "{said:?}");
    }
}

#[test]
fn missing_arguments_are_1() {
    let env = Env::new();
    for verb in [
        "run", "create", "start", "stop", "restart", "kill", "rm", "logs", "exec", "wait", "inspect", "pull",
        "rmi", "tag", "import",
    ] {
        env.coracle([verb]).code(1).no_stdout().stderr_has("requires").stderr_has(verb);
    }
    env.coracle(["ps", "surplus"]).code(1).stderr_has("accepts no argument");
}

#[test]
fn an_image_that_is_nowhere() {
    let env = Env::new();
    let name = image("no-such-image");
    env.coracle(["run", "--rm", &name, "true"]).code(125).no_stdout().stderr_has(&name);
    env.coracle(["create", &name]).code(1).stderr_has(&name);
    for bad in ["UPPER", "a:b:c", "tiny@sha256:zz"] {
        env.coracle(["run", "--rm", bad, "true"]).code(125).stderr_has(bad);
    }
}

#[test]
fn values_that_make_no_sense() {
    let env = Env::with_tiny();
    for (flag, value) in [
        ("--stop-signal", "NOSUCH"),
        ("--network", "no such"),
        ("--publish", "nonsense"),
        ("--tmpfs", "relative"),
        ("--cap-add", "nonsense"),
        ("--security-opt", "nonsense=1"),
        ("--platform", "a/b/c/d/e"),
        ("--pull", "nonsense"),
        ("--volume", "a:b:c:d"),
        ("--env-file", "/no/such/file"),
    ] {
        env.coracle(["run", "--rm", flag, value, "tiny", "true"]).code(125).no_stdout().stderr_has(value);
    }
    env.coracle(["ps", "-aq"]).success().says("");
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "100"]).success();
    env.coracle(["stop", "-t", "soon", "c1"]).code(125).stderr_has("soon");
    env.coracle(["logs", "--tail"]).code(125);
    assert_eq!(env.status("c1"), "running");
}

#[test]
fn a_terminal_where_there_is_none() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "-it", "tiny", "true"]).code(1).stderr_has("not a T");
    env.coracle(["run", "--rm", "-t", "tiny", "echo", "fine"]).success().says("fine\r\n");
}

#[test]
fn errors_go_to_stderr_and_name_their_object() {
    let env = Env::with_tiny();
    for verb in ["start", "stop", "restart", "kill", "rm", "logs", "wait"] {
        env.coracle([verb, "missing-one"]).code(1).no_stdout().stderr_has("No such container: missing-one");
    }
    env.coracle(["exec", "missing-one", "true"]).code(1).stderr_has("No such container: missing-one");
}

#[test]
fn a_runtime_folder_of_another_user_is_not_used() {
    let mut env = Env::with_tiny();
    env.set_var("XDG_RUNTIME_DIR", "/proc");
    env.coracle(["run", "--rm", "tiny", "echo", "works"]).success().says("works\n");
    env.set_var("XDG_RUNTIME_DIR", "/no/such/folder");
    env.coracle(["run", "--rm", "tiny", "echo", "works"]).success().says("works\n");
    env.unset_var("XDG_RUNTIME_DIR");
    env.coracle(["run", "--rm", "tiny", "echo", "works"]).success().says("works\n");
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let mut env = Env::new();
    env.set_var("XDG_DATA_HOME", "/usr/nowhere");
    env.coracle(["pull", &image("tiny")]).code(1).stderr_has("/usr/nowhere");
    env.set_var("XDG_DATA_HOME", &env.root.join("home/data").to_string_lossy());
}

#[test]
fn an_output_that_is_full() {
    let env = Env::with_tiny();
    env.coracle(["create", "tiny"]).success();
    let script = format!("{} ps -a > /dev/full", crate::harness::binary().display());
    env.program("sh", ["-c", &script]).output().code(1).stderr_has("No space left");
}
