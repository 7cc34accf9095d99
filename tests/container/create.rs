//! `coracle create`: everything but the start.

use crate::harness::{Env, image};

#[test]
fn prints_the_id_and_starts_nothing() {
    let env = Env::with_tiny();
    let said = env.coracle(["create", "--name", "c1", "tiny", "sh", "-c", "echo ran"]).success().no_stderr();
    assert_eq!(said.line().len(), 64);
    assert_eq!(env.status("c1"), "created");
    assert_eq!(env.inspect("c1", "/State/StartedAt"), "0001-01-01T00:00:00Z");
    env.coracle(["logs", "c1"]).success().says("");
    env.coracle(["start", "-a", "c1"]).success().says("ran\n");
    assert_eq!(env.status("c1"), "exited");
}

#[test]
fn takes_the_options_of_run() {
    let env = Env::with_tiny();
    let line = [
        "create", "--name", "c1", "-e", "K=V", "-w", "/tmp", "-u", "sailor", "-h", "mast", "-l", "x=y",
        "tiny",
    ];
    env.coracle(line.into_iter().chain(["sh", "-c", "echo $K; pwd; id -un; hostname"])).success();
    env.coracle(["start", "-a", "c1"]).success().says("V\n/tmp\nsailor\nmast\n");
    assert_eq!(env.inspect("c1", "/Config/Labels/x"), "y");
}

#[test]
fn pulls_what_is_missing() {
    let env = Env::new();
    let said = env.coracle(["create", &image("tiny")]).success();
    assert_eq!(said.line().len(), 64);
    said.stderr_has("Unable to find image");
}

#[test]
fn nothing_is_left_of_a_create_that_fails() {
    let env = Env::with_tiny();
    let before = env.listing(&env.store());
    env.coracle(["create", "--cap-add", "NO_SUCH_CAP", "tiny"]).code(1).stderr_has("NO_SUCH_CAP");
    env.coracle(["create", "-w", "relative", "tiny"]).code(1).stderr_has("relative");
    assert_eq!(env.listing(&env.store()), before);
}
