//! MariaDB in a container, its own client on the host.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Env, Output, eventually, free_port, image};

fn sql(env: &Env, port: u16, statement: &str) -> Output {
    let port = port.to_string();
    let line = [
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        &port,
        "-u",
        "root",
        "-psea's \"secret\"",
        "-N",
        "-e",
        statement,
    ];
    env.program("mariadb", line).output()
}

fn is_up(env: &Env, port: u16) {
    let answers = || sql(env, port, "select 1").went_well();
    assert!(eventually(Duration::from_secs(60), answers), "{:?}", env.coracle(["logs", "db"]));
}

#[test]
fn serves_and_keeps_its_data() {
    let env = Env::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:3306");
    let data = format!("{}:/var/lib/mysql", env.folder("home/mysql", 0o755).display());
    let mariadb = image("mariadb");
    let password = ["-e", "MYSQL_ROOT_PASSWORD=sea's \"secret\""];
    let run = |flags: &[&str]| {
        let line =
            [&["run", "-d", "-q", "--name", "db", "-p", &publish, "-v", &data], flags, &[&mariadb]].concat();
        env.coracle(line).success();
    };
    run(&password);
    is_up(&env, port);
    sql(&env, port, "create database port; create table port.ships (name text); insert into port.ships values ('coracle')")
        .success();
    sql(&env, port, "select name from port.ships").success().says("coracle\n");
    env.coracle(["exec", "db", "sh", "-c", "stat -c %U /proc/1"]).success().says("mysql\n");
    // The wrong password is one.
    let line = [
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        &port.to_string(),
        "-u",
        "root",
        "-pwrong",
        "-e",
        "select 1",
    ];
    env.program("mariadb", line).output().code(1).stderr_has("Access denied");

    // A client that is killed in the middle of a transaction: the rest is whole.
    let statement = "begin; insert into port.ships values ('half'); select sleep(30); commit";
    let port_text = port.to_string();
    let line = [
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        &port_text,
        "-u",
        "root",
        "-psea's \"secret\"",
        "-e",
        statement,
    ];
    let client = env.program("mariadb", line).spawn();
    let under_way = || sql(&env, port, "show processlist").success().stdout().contains("sleep(30)");
    assert!(eventually(Duration::from_secs(20), under_way));
    client.signal(Signal::SIGKILL);
    sql(&env, port, "select name from port.ships").success().says("coracle\n");

    env.coracle(["stop", "db"]).success();
    assert_eq!(env.inspect("db", "/State/ExitCode"), 0);
    env.coracle(["start", "db"]).success();
    is_up(&env, port);
    sql(&env, port, "select name from port.ships").success().says("coracle\n");

    // A new container on the same folder needs no password: the databases are there.
    env.coracle(["stop", "db"]).success();
    env.coracle(["rm", "db"]).success();
    run(&[]);
    is_up(&env, port);
    sql(&env, port, "select name from port.ships").success().says("coracle\n");
}

#[test]
fn without_a_password_it_says_what_is_missing() {
    let env = Env::new();
    env.coracle(["run", "--rm", "-q", &image("mariadb")])
        .code(1)
        .stderr_has("MYSQL_ROOT_PASSWORD is not set");
}

#[test]
fn killed_it_recovers() {
    let env = Env::new();
    let port = free_port();
    let line = ["run", "-d", "-q", "--name", "db", "-p", &format!("127.0.0.1:{port}:3306")];
    let image = image("mariadb");
    env.coracle(line.into_iter().chain(["-e", "MYSQL_ROOT_PASSWORD=sea's \"secret\"", &image])).success();
    is_up(&env, port);
    sql(&env, port, "create database port; create table port.ships (name text); insert into port.ships values ('coracle')")
        .success();
    env.coracle(["kill", "db"]).success();
    env.coracle(["wait", "db"]).success().says("137\n");
    env.coracle(["start", "db"]).success();
    is_up(&env, port);
    sql(&env, port, "select name from port.ships").success().says("coracle\n");
}
