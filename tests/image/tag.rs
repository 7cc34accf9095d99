//! `coracle tag`.

use crate::harness::{Env, image};

#[test]
fn gives_another_name() {
    let env = Env::with_tiny();
    env.coracle(["tag", "tiny", "ship/deck:v1"]).success().no_stdout().no_stderr();
    assert_eq!(env.inspect("ship/deck:v1", "/Id"), env.inspect("tiny", "/Id"));
    env.coracle(["run", "--rm", "ship/deck:v1", "true"]).success();
    let id = env.inspect("tiny", "/Id").as_str().unwrap().to_owned();
    env.coracle(["tag", &id["sha256:".len()..][..8], "by-id"]).success();
    assert_eq!(env.inspect("by-id", "/Id"), id.as_str());
}

#[test]
fn moves_a_name() {
    let env = Env::with_tiny();
    env.coracle(["pull", "-q", &image("odd")]).success();
    env.coracle(["tag", &image("odd"), "tiny"]).success();
    assert_eq!(env.inspect("tiny", "/Id"), env.inspect(&image("odd"), "/Id"));
}

#[test]
fn refuses_what_is_no_name_or_not_there() {
    let env = Env::with_tiny();
    env.coracle(["tag", "nothing", "x"]).code(1).stderr_has("nothing");
    env.coracle(["tag", "tiny", "UPPER"]).code(1).stderr_has("UPPER");
    env.coracle(["tag", "tiny", &format!("x@sha256:{}", "0".repeat(64))]).code(1);
    env.coracle(["tag", "tiny"]).code(1).stderr_has("requires");
}
