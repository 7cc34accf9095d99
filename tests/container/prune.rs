//! `coracle container prune`.

use crate::harness::Env;

/// The ids of a report, in its order, and its last line.
fn report(text: &str) -> (Vec<&str>, &str) {
    let mut lines: Vec<&str> = text.lines().collect();
    let space = lines.pop().expect("a last line");
    match &lines[..] {
        [] => (Vec::new(), space),
        ["Deleted Containers:", ids @ .., ""] => (ids.to_vec(), space),
        _ => panic!("{text}"),
    }
}

#[test]
fn only_what_does_not_run_goes() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "over", "tiny", "sh", "-c", "printf 123456 > /six"]).success();
    let made = env.coracle(["create", "--name", "made", "tiny", "true"]).success().line().to_owned();
    let over = env.inspect("over", "/Id").as_str().unwrap().to_owned();
    env.coracle(["run", "-d", "--name", "runs", "tiny", "sleep", "1000"]).success();
    let said = env.coracle(["container", "prune", "-f"]).success();
    assert_eq!(report(said.stdout()), (vec![made.as_str(), over.as_str()], "Total reclaimed space: 6B"));
    env.coracle(["ps", "-a", "--format", "{{.Names}}"]).success().says("runs\n");
    env.coracle(["container", "prune", "-f"]).success().says("Total reclaimed space: 0B\n");
    let events = env.coracle(["events", "--since", "10m", "--until", "0s", "--filter", "event=prune"]);
    assert!(events.success().stdout().contains(" container prune  (reclaimed=6)\n"));
}

#[test]
fn it_asks_first() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "made", "tiny", "true"]).success();
    let question =
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";
    for answer in ["", "n\n", "\n", "yes\n", "no"] {
        env.command(["container", "prune"]).input(answer).output().success().says(question);
    }
    env.coracle(["container", "prune", "--force=false"]).success().says(question);
    assert_eq!(env.status("made"), "created");
    let said = env.command(["container", "prune"]).input("Y\n").output().success();
    let rest = said.stdout().strip_prefix(question).expect("the question first");
    assert_eq!(report(rest).0.len(), 1);
    env.coracle(["inspect", "made"]).failed();
}

#[test]
fn filters_choose() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "kept", "--label", "keep=yes", "tiny", "true"]).success();
    env.coracle(["create", "--name", "plain", "tiny", "true"]).success();
    let left = || env.coracle(["ps", "-a", "--format", "{{.Names}}"]).success().stdout().to_owned();
    env.coracle(["container", "prune", "-f", "--filter", "until=1h"]).success();
    env.coracle(["container", "prune", "-f", "--filter", "label=keep=no"]).success();
    assert_eq!(left(), "plain\nkept\n");
    env.coracle(["container", "prune", "-f", "--filter", "label!=keep", "--filter", "until=0s"]).success();
    assert_eq!(left(), "kept\n");
    env.coracle(["container", "prune", "-f", "--filter", "label=keep"]).success();
    assert_eq!(left(), "");
    for (filter, code, message) in [
        ("nope=1", 1, "invalid filter 'nope'"),
        ("until=soon", 1, "failed to parse value as time or duration: \"soon\""),
        ("label", 125, "bad format of filter (expected name=value)"),
    ] {
        env.coracle(["container", "prune", "-f", "--filter", filter]).code(code).stderr_has(message);
    }
}

#[test]
fn files_of_other_ids_are_counted() {
    let env = Env::with_tiny();
    let script = "mkdir /own && printf 123456789 > /own/nine && chmod 700 /own && chown -R 5:5 /own";
    env.coracle(["run", "--name", "over", "tiny", "sh", "-c", script]).success();
    assert_eq!(env.coracle(["inspect", "-s", "-f", "{{.SizeRw}}", "over"]).success().stdout(), "9\n");
    let said = env.coracle(["container", "prune", "-f"]).success();
    assert_eq!(report(said.stdout()).1, "Total reclaimed space: 9B");
}
