//! `coracle kill`.

use crate::harness::Env;

#[test]
fn kills_by_default() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "a", "tiny", "sleep", "100"]).success();
    env.coracle(["kill", "a"]).success().says("a\n");
    env.coracle(["wait", "a"]).success().says("137\n");
}

#[test]
fn sends_the_signal_named() {
    let env = Env::with_tiny();
    let script =
        "for s in HUP USR1 USR2; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.02; done";
    env.coracle(["run", "-d", "--name", "a", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("a", "ready");
    for (signal, shows) in [("HUP", "HUP"), ("SIGUSR1", "USR1"), ("12", "USR2"), ("usr1", "USR1")] {
        env.coracle(["kill", "-s", signal, "a"]).success();
        env.wait_for_log("a", shows);
    }
    assert_eq!(env.status("a"), "running");
    env.coracle(["kill", "-s", "NOSUCH", "a"]).code(1).stderr_has("NOSUCH");
}

#[test]
fn what_does_not_run_cannot_be_killed() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "a", "tiny", "true"]).success();
    env.coracle(["kill", "a"]).code(1).no_stdout().stderr_has("is not running");
    env.coracle(["kill", "nobody"]).code(1).stderr_has("No such container: nobody");
}
