//! A user without subordinate ids: it works with one id, and one clear line says so.

use std::process::Command;

use crate::harness::machine::User;
use crate::harness::{Env, image};

/// A user of the machine that has no range.
fn user() -> User {
    const NAME: &str = "coracle-raft";
    if User::named(NAME).is_none() {
        let made = Command::new("useradd").args(["--system", "--no-create-home", NAME]).status();
        assert!(made.is_ok_and(|status| status.success()), "cannot make the user {NAME}");
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(!text.lines().any(|line| line.starts_with(NAME)), "{NAME} has a range in {file}");
    }
    User::named(NAME).expect("just made")
}

#[test]
fn one_line_says_what_is_lost_and_how_to_get_it() {
    let env = Env::of(user());
    let said =
        env.coracle(["run", "--rm", "--network", "none", "-q", &image("tiny"), "echo", "works"]).success();
    assert_eq!(said.stdout(), "works\n");
    let lines: Vec<&str> = said.stderr().lines().collect();
    assert_eq!(lines.len(), 1, "{said:?}");
    said.stderr_has("/etc/subuid").stderr_has("coracle-raft");
}

#[test]
fn images_of_many_owners_unpack_and_run() {
    let env = Env::of(user());
    let odd = image("odd");
    env.coracle(["pull", "-q", &odd]).success();
    env.coracle(["run", "--rm", "-u", "0", &odd, "cat /odd/owned /odd/highest"])
        .success()
        .says("owned\nnobody's\n");
    // The user of the image does not exist with one id.
    env.coracle(["run", "--rm", &odd]).code(125).stderr_has("1000");
}

#[test]
fn life_goes_on() {
    let env = Env::of(user());
    env.coracle(["run", "-d", "--name", "c1", &image("tiny"), "sh", "-c", "echo up; sleep 1000"]).success();
    env.wait_for_log("c1", "up");
    env.coracle(["exec", "c1", "id", "-u"]).success().says("0\n");
    env.coracle(["stop", "-t", "0", "c1"]).success();
    env.coracle(["start", "c1"]).success();
    env.coracle(["rm", "-f", "c1"]).success();
    env.coracle(["rmi", "-f", &image("tiny")]).success();
    env.coracle(["images", "-q"]).success().says("");
}
