//! Many commands at once: no lock is held for long, nothing is lost or made twice.

use std::time::Duration;

use crate::harness::{Env, eventually, image};

#[test]
fn fifty_runs_at_once() {
    let env = Env::with_tiny();
    let runs: Vec<_> = (0..50)
        .map(|i| {
            let script = format!("echo {i}; exit {}", i % 7);
            env.command(["run", "--rm", "--network", "none", "tiny", "sh", "-c", &script]).spawn()
        })
        .collect();
    for (i, run) in runs.into_iter().enumerate() {
        run.finish().code(i32::try_from(i % 7).unwrap()).says(&format!("{i}\n")).no_stderr();
    }
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn one_name_is_given_once() {
    let env = Env::with_tiny();
    let runs: Vec<_> = (0..8).map(|_| env.command(["create", "--name", "only", "tiny"]).spawn()).collect();
    let won =
        runs.into_iter().map(|run| run.finish()).filter(|_| true).map(crate::harness::Output::went_well);
    assert_eq!(won.filter(|well| *well).count(), 1);
    assert_eq!(env.coracle(["ps", "-aq"]).success().stdout().lines().count(), 1);
}

#[test]
fn one_image_is_pulled_by_many() {
    let env = Env::new();
    let name = image("odd");
    let pulls: Vec<_> = (0..6).map(|_| env.command(["run", "--rm", "-q", &name]).spawn()).collect();
    for pull in pulls {
        pull.finish().success().says("second\n");
    }
    assert_eq!(env.coracle(["images", "-q"]).success().stdout().lines().count(), 1);
}

#[test]
fn removing_and_pulling_at_once_is_safe() {
    let env = Env::new();
    let name = image("odd");
    for _ in 0..5 {
        let pull = env.command(["pull", "-q", &name]).spawn();
        let remove = env.command(["rmi", "-f", &name]).spawn();
        drop(pull.finish().success());
        drop(remove.finish());
        env.coracle(["run", "--rm", "-q", &name]).success().says("second\n");
    }
}

#[test]
fn many_start_stop_and_look() {
    let env = Env::with_tiny();
    let names: Vec<String> = (0..12).map(|i| format!("c{i}")).collect();
    let starts: Vec<_> = names
        .iter()
        .map(|name| {
            env.command([
                "run",
                "-d",
                "--name",
                name,
                "tiny",
                "sh",
                "-c",
                "trap 'exit 0' TERM; while :; do sleep 0.1; done",
            ])
            .spawn()
        })
        .collect();
    for start in starts {
        start.finish().success();
    }
    assert_eq!(env.coracle(["ps", "-q"]).success().stdout().lines().count(), names.len());
    let looks: Vec<_> = (0..10).map(|_| env.command(["ps", "-a"]).spawn()).collect();
    env.coracle(["stop"].into_iter().chain(names.iter().map(String::as_str))).success();
    for look in looks {
        look.finish().success();
    }
    assert!(eventually(Duration::from_secs(5), || env.coracle(["ps", "-q"]).success().stdout().is_empty()));
    env.coracle(["rm"].into_iter().chain(names.iter().map(String::as_str))).success();
}
