//! `coracle logs`.

use std::time::Duration;

use crate::harness::Env;

#[test]
fn keeps_the_streams_apart() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "echo out; echo err >&2; printf end"])
        .success();
    env.coracle(["wait", "c1"]).success().says("0\n");
    let said = env.coracle(["logs", "c1"]).success();
    assert_eq!((said.stdout(), said.stderr()), ("out\nend", "err\n"));
    // What an attached client saw is in the log as well.
    env.coracle(["run", "--name", "c2", "tiny", "echo", "seen"]).success().says("seen\n");
    env.coracle(["logs", "c2"]).success().says("seen\n");
}

#[test]
fn follows_until_the_end() {
    let env = Env::with_tiny();
    let script = "echo 1; sleep 0.5; echo 2; sleep 0.5; echo 3; exit 4";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.coracle(["logs", "-f", "c1"]).success().says("1\n2\n3\n");
    env.coracle(["logs", "-f", "c1"]).success().says("1\n2\n3\n");
}

#[test]
fn shows_new_lines_as_they_come() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "echo first; read x < /fifo; echo second"])
        .success();
    env.coracle(["rm", "-f", "c1"]).success();
    let script = "mkfifo /fifo; echo first; read x < /fifo; echo second; sleep 100";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    let mut following = env.command(["logs", "-f", "c1"]).spawn();
    following.wait_for("first\n");
    env.coracle(["exec", "c1", "sh", "-c", "echo go > /fifo"]).success();
    following.wait_for("second\n");
    assert!(!following.ended());
    env.coracle(["rm", "-f", "c1"]).success();
    following.finish().success();
}

#[test]
fn tail_counts_lines() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "seq", "1", "5000"]).success();
    env.coracle(["logs", "--tail", "2", "c1"]).success().says("4999\n5000\n");
    env.coracle(["logs", "-n", "1", "c1"]).success().says("5000\n");
    env.coracle(["logs", "--tail", "0", "c1"]).success().says("");
    assert_eq!(env.coracle(["logs", "--tail", "all", "c1"]).success().stdout().lines().count(), 5000);
    assert_eq!(env.coracle(["logs", "--tail", "9999", "c1"]).success().stdout().lines().count(), 5000);
}

#[test]
fn since_until_and_timestamps() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", "echo old; sleep 2.2; echo new"]).success();
    let said = env.coracle(["logs", "-t", "c1"]).success();
    let lines: Vec<(&str, &str)> =
        said.stdout().lines().map(|l| l.split_once(' ').expect("a time first")).collect();
    assert_eq!(lines.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["old", "new"]);
    for (time, _) in &lines {
        assert!(time.len() == "2006-01-02T15:04:05.000000000Z".len() && time.ends_with('Z'), "{time}");
    }
    let (old, new) = (lines[0].0, lines[1].0);
    assert!(old < new);
    env.coracle(["logs", "--since", new, "c1"]).success().says("new\n");
    env.coracle(["logs", "--since", old, "c1"]).success().says("old\nnew\n");
    env.coracle(["logs", "--until", old, "c1"]).success().says("old\n");
    env.coracle(["logs", "--since", "1s", "c1"]).success();
    env.coracle(["logs", "--since", "10m", "c1"]).success().says("old\nnew\n");
    env.coracle(["logs", "--until", "10m", "c1"]).success().says("");
    env.coracle(["logs", "--since", "yesterday-ish", "c1"]).code(1).stderr_has("yesterday-ish");
}

#[test]
fn long_and_unfinished_lines_stay_whole() {
    let env = Env::with_tiny();
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; head -c 20000 /dev/zero | tr '\\0' y";
    let shown =
        env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", script]).success().stdout().to_owned();
    assert_eq!(shown, format!("{}\n{}", "x".repeat(100_000), "y".repeat(20_000)));
    env.coracle(["logs", "c1"]).success().says(&shown);
}

#[test]
fn control_characters_and_wide_letters_survive() {
    let env = Env::with_tiny();
    // One of the letters lies across any border of a power of two.
    let script =
        "printf 'a\\000\\001\\033\\177\\n'; printf x; for i in $(seq 20000); do printf \u{20ac}; done";
    let shown =
        env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", script]).success().stdout().to_owned();
    assert_eq!(shown, format!("a\0\u{1}\u{1b}\u{7f}\nx{}", "\u{20ac}".repeat(20_000)));
    env.coracle(["logs", "c1"]).success().says(&shown);
}

#[test]
fn an_unread_log_does_not_stop_the_container() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "seq 1 200000; echo over >&2"]).success();
    // The reader of this pipe goes away at once.
    let script = format!("{} logs -f c1 | head -n 1", crate::harness::binary().display());
    env.program("sh", ["-c", &script]).output().success().says("1\n");
    env.coracle(["wait", "c1"]).success().says("0\n");
    let said = env.command(["logs", "c1"]).patience(Duration::from_secs(30)).output().success();
    assert_eq!(said.stdout().lines().count(), 200_000);
    assert_eq!(said.stderr(), "over\n");
}

#[test]
fn an_unknown_container_is_an_error() {
    let env = Env::with_tiny();
    env.coracle(["logs", "nobody"]).code(1).no_stdout().stderr_has("No such container: nobody");
}
