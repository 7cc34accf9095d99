//! redis in a container, its own client on the host.

use std::time::Duration;

use crate::harness::{Env, Output, eventually, free_port, image};

fn cli(env: &Env, port: u16, words: &[&str]) -> Output {
    env.program("redis-cli", ["-p", &port.to_string()].iter().chain(words)).output()
}

fn is_up(env: &Env, port: u16) {
    let answers = || cli(env, port, &["ping"]).text_if_well().as_deref() == Some("PONG\n");
    assert!(eventually(Duration::from_secs(30), answers), "{:?}", env.coracle(["logs", "store"]));
}

#[test]
fn serves_and_keeps_its_data() {
    let env = Env::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:6379");
    let data = format!("{}:/data", env.folder("home/redis", 0o755).display());
    let redis = image("redis");
    let run = ["run", "-d", "-q", "--name", "store", "-p", &publish, "-v", &data, &redis];
    env.coracle(run).success();
    is_up(&env, port);
    cli(&env, port, &["set", "boat", "coracle"]).success().says("OK\n");
    cli(&env, port, &["get", "boat"]).success().says("coracle\n");
    // It runs as the image's user, not as root.
    env.coracle(["exec", "store", "sh", "-c", "stat -c %U /proc/1"]).success().says("redis\n");
    cli(&env, port, &["save"]).success().says("OK\n");
    env.coracle(["stop", "store"]).success();
    env.coracle(["logs", "store"]).success().stdout_has("Redis is now ready to exit");
    assert_eq!(env.inspect("store", "/State/ExitCode"), 0);
    env.coracle(["start", "store"]).success();
    is_up(&env, port);
    cli(&env, port, &["get", "boat"]).success().says("coracle\n");
    // A new container on the same folder.
    env.coracle(["stop", "store"]).success();
    env.coracle(["rm", "store"]).success();
    env.coracle(run).success();
    is_up(&env, port);
    cli(&env, port, &["get", "boat"]).success().says("coracle\n");
}

#[test]
fn carries_a_benchmark() {
    let env = Env::new();
    let port = free_port();
    env.coracle([
        "run",
        "-d",
        "-q",
        "--name",
        "store",
        "-p",
        &format!("127.0.0.1:{port}:6379"),
        &image("redis"),
    ])
    .success();
    is_up(&env, port);
    let line = ["-p", &port.to_string(), "-n", "20000", "-c", "50", "-P", "4", "-t", "set,get", "-q"];
    let said = env.program("redis-benchmark", line).output().success();
    assert!(said.stdout().contains("GET"), "{said:?}");
    cli(&env, port, &["dbsize"]).success();
}
