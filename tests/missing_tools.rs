//! Programs that are not there: hidden, for one command, in a mount namespace of its own.

use crate::harness::{Env, Output, image};

/// Runs coracle as the user where `tools` of /usr/bin cannot be executed.
fn without(env: &Env, tools: &[&str], args: &[&str]) -> Output {
    let hide = "for tool in $1; do [ ! -e /usr/bin/$tool ] || mount --bind /dev/null /usr/bin/$tool; done; shift; exec \"$@\"";
    let (uid, gid) = (format!("--reuid={}", env.user.uid), format!("--regid={}", env.user.gid));
    let list = tools.join(" ");
    let outer =
        ["unshare", "--mount", "sh", "-c", hide, "sh", &list, "setpriv", &uid, &gid, "--clear-groups"];
    env.command(args).below_as_root(outer).output()
}

#[test]
fn without_a_network_program_there_is_none_and_one_warning() {
    let env = Env::with_tiny();
    let stacks = ["slirp4netns", "pasta", "passt"];
    let said =
        without(&env, &stacks, &["run", "--rm", "tiny", "ls", "/sys/class/net"]).success().says("lo\n");
    assert_eq!(said.stderr().lines().count(), 1, "{said:?}");
    said.stderr_has("slirp4netns").stderr_has("pasta");
    for stack in ["slirp4netns", "pasta"] {
        without(&env, &stacks, &["run", "--rm", "--network", stack, "tiny", "true"])
            .code(125)
            .stderr_has(stack);
    }
    without(&env, &["slirp4netns"], &["run", "--rm", "tiny", "ls", "/sys/class/net"])
        .success()
        .says("eth0\nlo\n")
        .no_stderr();
    without(&env, &["pasta", "passt"], &["run", "--rm", "tiny", "ls", "/sys/class/net"])
        .success()
        .says("eth0\nlo\n")
        .no_stderr();
}

#[test]
fn without_the_id_helpers_there_is_one_id() {
    let env = Env::new();
    let helpers = ["newuidmap", "newgidmap"];
    let said =
        without(&env, &helpers, &["run", "--rm", "-q", "--network", "none", &image("tiny"), "echo", "works"])
            .success();
    assert_eq!(said.stdout(), "works\n");
    assert_eq!(said.stderr().lines().count(), 1, "{said:?}");
    said.stderr_has("newuidmap").stderr_has("uidmap");
}

#[test]
fn a_forced_driver_without_its_program_is_named() {
    let mut env = Env::with_tiny();
    env.set_var("CORACLE_STORAGE_DRIVER", "fuse-overlayfs");
    let said = without(&env, &["fuse-overlayfs"], &["run", "--rm", "tiny", "true"]).code(125);
    said.stderr_has("fuse-overlayfs");
}
