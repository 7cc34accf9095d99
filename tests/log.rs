//! Log drivers, their options, rotation, and that no line is lost.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::Env;

/// The files of a container's log, youngest first.
fn files(env: &Env, name: &str) -> Vec<PathBuf> {
    let path = env.inspect(name, "/LogPath").as_str().unwrap().to_owned();
    let all = (0..20).map(|n| PathBuf::from(if n == 0 { path.clone() } else { format!("{path}.{n}") }));
    all.filter(|path| path.exists()).collect()
}

fn numbers(from: u64, to: u64) -> String {
    (from..=to).map(|n| format!("{n}\n")).collect()
}

#[test]
fn mistakes_are_refused_in_dockers_words() {
    let env = Env::with_tiny();
    for (options, message) in [
        (&["--log-driver", "foo"][..], "no log driver named 'foo' is registered"),
        (&["--log-driver", "syslog"], "--log-driver syslog is not supported yet"),
        (&["--log-opt", "foo=1"], "unknown log opt 'foo' for json-file log driver"),
        (&["--log-opt", "max-size=x"], "invalid size: 'x'"),
        (&["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (&["--log-opt", "mode=x"], "logger: logging mode not supported: x"),
        (&["--log-driver", "none", "--log-opt", "max-size=1m"], "invalid logging opts for driver none"),
    ] {
        let words = ["run", "--rm"].iter().chain(options).chain(&["tiny", "true"]);
        env.coracle(words).code(125).no_stdout().stderr_has(message);
    }
    env.coracle(["ps", "-aq"]).success().says("");
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        let said = env.coracle(["run", "--rm", "--log-driver", "journald", "tiny", "true"]).code(125);
        said.stderr_has("journald is not enabled on this host");
    }
}

#[test]
fn none_keeps_nothing() {
    let env = Env::with_tiny();
    env.coracle(["run", "--log-driver", "none", "--name", "c1", "tiny", "echo", "seen"])
        .success()
        .says("seen\n");
    let words = "configured logging driver does not support reading";
    env.coracle(["logs", "c1"]).code(1).no_stdout().stderr_has(words);
    assert_eq!(env.inspect("c1", "/HostConfig/LogConfig/Type"), "none");
    assert_eq!(env.inspect("c1", "/LogPath"), "");
}

#[test]
fn details_go_with_each_line() {
    let env = Env::with_tiny();
    let options = ["--log-opt", "labels=a,b,none", "--log-opt", "env=E", "--log-opt", "tag=x-{{.Name}}"];
    let rest = ["-l", "a=1", "-l", "b=x y", "-e", "E=f,g", "--name", "c1", "tiny", "echo", "<&>"];
    env.coracle(["run"].iter().chain(&options).chain(&rest)).success().says("<&>\n");
    env.coracle(["logs", "--details", "c1"]).success().says("E=f%2Cg,a=1,b=x+y,tag=x-c1 <&>\n");
    env.coracle(["logs", "c1"]).success().says("<&>\n");
    let line = fs::read_to_string(&files(&env, "c1")[0]).unwrap();
    let (start, _) = line.split_once(",\"time\"").unwrap();
    assert_eq!(
        start,
        r#"{"log":"\u003c\u0026\u003e\n","stream":"stdout","attrs":{"E":"f,g","a":"1","b":"x y","tag":"x-c1"}"#
    );
    assert_eq!(env.inspect("c1", "/HostConfig/LogConfig/Config/env"), "E");
    env.coracle(["run", "--name", "c2", "tiny", "echo", "plain"]).success();
    env.coracle(["logs", "--details", "c2"]).success().says(" plain\n");
}

#[test]
fn old_lines_make_room_for_new_ones() {
    let env = Env::with_tiny();
    let run = |name: &str, options: &[&str], count: &str| {
        let words = ["run", "-d", "--name", name].into_iter().chain(options.iter().copied());
        env.coracle(words.chain(["tiny", "seq", "1", count])).success();
        env.coracle(["wait", name]).success().says("0\n");
    };
    run("c1", &["--log-opt", "max-size=100k", "--log-opt", "max-file=4"], "100000");
    let kept = files(&env, "c1");
    assert_eq!(kept.len(), 4);
    for (number, path) in kept.iter().enumerate() {
        let size = fs::metadata(path).unwrap().len();
        assert!(size < 100_200 && (number == 0 || size >= 100_000), "{path:?} has {size} bytes");
    }
    let shown = env.coracle(["logs", "c1"]).success().stdout().to_owned();
    let first: u64 = shown.lines().next().unwrap().parse().unwrap();
    assert!(first > 90_000 && first < 99_000, "{first}");
    assert!(shown == numbers(first, 100_000), "lines are lost or mixed");
    // More than the youngest file holds.
    env.coracle(["logs", "--tail", "3000", "c1"]).success().says(&numbers(97_001, 100_000));
    let time = env
        .coracle(["logs", "-t", "--tail", "1", "c1"])
        .success()
        .stdout()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let since = env.coracle(["logs", "--since", &time, "c1"]).success();
    assert!(since.stdout().ends_with("\n100000\n"));
    run("c2", &["--log-opt", "max-size=10k"], "10000");
    assert_eq!(files(&env, "c2").len(), 1);
    run("c3", &[], "1000000");
    let kept = files(&env, "c3");
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|path| fs::metadata(path).unwrap().len() < 10_001_000));
}

#[test]
fn a_follower_misses_nothing_across_rotation() {
    let env = Env::with_tiny();
    let script = "n=0; while [ $n -lt 60 ]; do seq $((n*500+1)) $((n*500+500)); n=$((n+1)); sleep 0.05; done";
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=5", "--name", "c1"];
    env.coracle(["run", "-d"].iter().chain(&options).chain(&["tiny", "sh", "-c", script])).success();
    env.coracle(["logs", "-f", "c1"]).success().says(&numbers(1, 30_000));
    assert_eq!(files(&env, "c1").len(), 5);
}

#[test]
fn a_follower_goes_on_across_a_restart() {
    let env = Env::with_tiny();
    let script = "echo begin; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    env.coracle(["run", "-d", "--name", "c1", "--network", "none", "tiny", "sh", "-c", script]).success();
    let mut following = env.command(["logs", "-f", "c1"]).spawn();
    following.wait_for("begin\n");
    env.coracle(["restart", "c1"]).success();
    following.wait_for("begin\nbegin\n");
    env.coracle(["stop", "c1"]).success();
    following.finish().success().says("begin\nbegin\n");
}

#[test]
fn a_million_lines_arrive_whole() {
    let env = Env::with_tiny();
    let all = numbers(1, 1_000_000);
    let words = ["run", "--log-opt", "max-size=-1", "--name", "c1", "tiny", "seq", "1", "1000000"];
    let seen = env.command(words).patience(Duration::from_secs(120)).output().success();
    assert!(seen.stdout() == all, "the client lost something");
    let logged = env.command(["logs", "c1"]).patience(Duration::from_secs(120)).output().success();
    assert!(logged.stdout() == all, "the log lost something");
    assert_eq!(files(&env, "c1").len(), 1);
}
