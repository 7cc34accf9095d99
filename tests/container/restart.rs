//! `coracle restart`.

use crate::harness::Env;

#[test]
fn stops_and_starts() {
    let env = Env::with_tiny();
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "up");
    let first = env.pid("c1");
    env.coracle(["restart", "c1"]).success().says("c1\n");
    assert_ne!(env.pid("c1"), first);
    env.wait_for_log("c1", "up\nup\n");
}

#[test]
fn starts_what_was_stopped() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "sleep", "100"]).success();
    env.coracle(["restart", "-t", "0", "c1"]).success();
    assert_eq!(env.status("c1"), "running");
    env.coracle(["restart", "nobody"]).code(1).stderr_has("No such container: nobody");
}

#[test]
fn keeps_the_port() {
    let env = Env::with_tiny();
    let port = crate::harness::free_port();
    let publish = format!("127.0.0.1:{port}:80");
    env.coracle(["run", "-d", "--name", "c1", "-p", &publish, "tiny", "httpd", "-f", "-h", "/srv"]).success();
    env.coracle(["restart", "-t", "0", "c1"]).success();
    let url = format!("http://127.0.0.1:{port}/hello");
    let fetch = ["-sS", "--retry", "20", "--retry-delay", "1", "--retry-all-errors", &url];
    env.program("curl", fetch).output().success().says("hello from tiny\n");
}
