//! `coracle version`, `--version`, `help`.

use crate::harness::Env;

#[test]
fn says_what_it_is() {
    let env = Env::new();
    let version = env!("CARGO_PKG_VERSION");
    env.coracle(["version"]).success().stdout_has(version);
    env.coracle(["--version"]).success().stdout_has(version);
    env.coracle(["-v"]).success().stdout_has(version);
}

#[test]
fn helps() {
    let env = Env::new();
    let said = env.coracle(["--help"]).success();
    for verb in [
        "run", "create", "start", "stop", "restart", "kill", "rm", "ps", "logs", "exec", "wait", "inspect",
        "pull", "images", "rmi", "tag", "import", "version", "info",
    ] {
        assert!(
            said.stdout().lines().any(|line| line.split_whitespace().next() == Some(verb)),
            "{verb}: {said:?}"
        );
        let help = env.coracle([verb, "--help"]).success().no_stderr();
        assert!(help.stdout().contains("Usage:"), "{verb}: {help:?}");
    }
    env.coracle(["no-such-verb"]).code(1).no_stdout().stderr_has("no-such-verb");
}

#[test]
fn needs_nothing() {
    // Neither a home nor a runtime folder nor a path.
    let mut env = Env::new();
    for key in ["HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "PATH", "TMPDIR"] {
        env.unset_var(key);
    }
    env.coracle(["version"]).success();
    env.set_var("XDG_DATA_HOME", &env.root.join("home/data").to_string_lossy());
}
