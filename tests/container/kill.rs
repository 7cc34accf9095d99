//! `coracle kill`.

use crate::harness::Env;

#[test]
fn kills_by_default() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "100"]).success();
    env.coracle(["kill", "c1"]).success().says("c1\n");
    env.coracle(["wait", "c1"]).success().says("137\n");
}

#[test]
fn sends_the_signal_named() {
    let env = Env::with_tiny();
    let script =
        "for s in HUP USR1 USR2; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.02; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "ready");
    for (signal, shows) in [("HUP", "HUP"), ("SIGUSR1", "USR1"), ("12", "USR2"), ("usr1", "USR1")] {
        env.coracle(["kill", "-s", signal, "c1"]).success();
        env.wait_for_log("c1", shows);
    }
    assert_eq!(env.status("c1"), "running");
    env.coracle(["kill", "-s", "NOSUCH", "c1"]).code(1).stderr_has("NOSUCH");
}

#[test]
fn a_killed_container_has_ended() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "sleep", "100"]).success();
    for signal in ["KILL", "9", "SIGKILL"] {
        env.coracle(["start", "c1"]).success();
        env.coracle(["kill", "-s", signal, "c1"]).success().says("c1\n");
        assert_eq!(env.status("c1"), "exited", "{signal}");
    }
}

#[test]
fn what_does_not_run_cannot_be_killed() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "true"]).success();
    env.coracle(["kill", "c1"]).code(1).no_stdout().stderr_has("is not running");
    env.coracle(["kill", "nobody"]).code(1).stderr_has("No such container: nobody");
}
