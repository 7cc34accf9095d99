//! nginx in a container, curl on the host.

use std::time::Duration;

use crate::harness::{Env, eventually, free_port, image};

fn ready(flags: &[&str]) -> (Env, u16) {
    let env = Env::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let name = image("nginx");
    let line = [&["run", "-d", "-q", "--name", "web", "-p", &publish], flags, &[&name]].concat();
    env.coracle(line).success();
    let answers = || env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/")]).output().went_well();
    assert!(eventually(Duration::from_secs(30), answers), "{:?}", env.coracle(["logs", "web"]));
    (env, port)
}

#[test]
fn serves_small_and_large_files() {
    let (env, port) = ready(&[]);
    env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/")])
        .output()
        .success()
        .says("<h1>afloat</h1>\n");
    let said = env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/16m")]).output().success();
    assert_eq!(said.stdout_bytes().len(), 16 << 20);
    // Its log goes to the container's, by /dev/stdout and /dev/stderr.
    env.wait_for_log("web", "GET /16m");
    env.program("curl", ["-sS", &format!("http://127.0.0.1:{port}/nothing")])
        .output()
        .success()
        .stdout_has("404");
    let log = env.coracle(["logs", "web"]).success();
    assert!(log.stderr().contains("No such file") && log.stdout().contains("\" 404 "), "{log:?}");
}

#[test]
fn carries_a_load() {
    let (env, port) = ready(&[]);
    let url = format!("http://127.0.0.1:{port}/1k");
    let said = env.program("wrk", ["-t1", "-c16", "-d2s", &url]).output().success();
    assert!(said.stdout().contains("Requests/sec") && !said.stdout().contains("Non-2xx"), "{said:?}");
    assert!(!said.stdout().contains("Socket errors"), "{said:?}");
}

#[test]
fn stops_by_its_own_signal() {
    let (env, _) = ready(&[]);
    env.coracle(["stop", "web"]).success();
    assert_eq!(env.inspect("web", "/State/ExitCode"), 0);
}

#[test]
fn serves_a_folder_of_the_users_read_only() {
    let world = Env::new();
    let folder = world.folder("pages", 0o755);
    std::fs::write(folder.join("index.html"), "mine\n").unwrap();
    let bind = format!("{}:/var/www/html:ro", folder.display());
    let (env, port) = ready(&["-v", &bind]);
    env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/")]).output().success().says("mine\n");
    std::fs::write(folder.join("index.html"), "changed\n").unwrap();
    env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/")]).output().success().says("changed\n");
}

#[test]
fn a_client_killed_in_the_middle_hurts_nobody() {
    let (env, port) = ready(&[]);
    let url = format!("http://127.0.0.1:{port}/16m");
    for _ in 0..5 {
        let curl = env.program("curl", ["-sS", "--limit-rate", "200k", "-o", "/dev/null", &url]).spawn();
        std::thread::sleep(Duration::from_millis(100));
        curl.signal(nix::sys::signal::Signal::SIGKILL);
    }
    let said = env.program("curl", ["-sSf", &url]).output().success();
    assert_eq!(said.stdout_bytes().len(), 16 << 20);
}
