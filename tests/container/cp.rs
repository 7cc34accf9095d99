//! `coracle cp`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::machine::User;
use crate::harness::{Env, eventually, image, machine};

const TREE: &str = "mkdir -p /d/s /e; echo f >/d/f; echo g >/d/s/g; chmod 700 /d/s; chown 3:4 /d/f; ln -s f /d/lf; \
    ln -s /d /ld; ln -s /gone /lb; echo x >/file; mkfifo /d/fifo; echo ready; exec sleep 1000";

/// A running container `c1` with a tree, and files of the caller's.
fn ready(env: &Env) {
    env.coracle([
        "run",
        "-d",
        "--name",
        "c1",
        "-u",
        "0",
        "tiny",
        "sh",
        "-c",
        &TREE.replace("chown 3:4 /d/f;", "chown 3:4 /d/f || true;"),
    ])
    .success();
    env.wait_for_log("c1", "ready");
    for (name, text) in [("one", "one\n"), ("src/f", "hello\n"), ("src/sub/x", "x\n")] {
        env.folder("src", 0o755);
        env.folder("src/sub", 0o750);
        env.file(name, text);
    }
    symlink("/etc", env.root.join("src/out")).unwrap();
    fs::set_permissions(env.root.join("one"), fs::Permissions::from_mode(0o640)).unwrap();
}

fn with_tree() -> Env {
    let env = Env::with_tiny();
    ready(&env);
    env
}

fn inside(env: &Env, script: &str) -> String {
    env.coracle(["exec", "-u", "0", "c1", "sh", "-c", script]).success().stdout().to_owned()
}

#[test]
fn into_a_container() {
    let env = with_tree();
    for (from, to) in [
        ("one", "c1:/e"),
        ("one", "c1:/copy"),
        ("one", "c1:/d/f"),
        ("one", "c1:/lb"),
        ("src", "c1:/new"),
        ("src", "c1:/e"),
        ("src/.", "c1:/e"),
        ("./one", "c1:e/relative"),
    ] {
        env.coracle(["cp", from, to]).success().no_stdout().no_stderr();
    }
    assert_eq!(inside(&env, "stat -c '%a %u:%g' /e/one /new/sub"), "640 0:0\n750 0:0\n");
    assert_eq!(inside(&env, "cat /e/one /copy /d/f /gone /e/relative"), "one\n".repeat(5));
    assert_eq!(
        inside(&env, "cat /new/f /e/src/sub/x /e/f /e/sub/x; readlink /new/out"),
        "hello\nx\nhello\nx\n/etc\n"
    );
    env.coracle(["cp", "-a", "one", "c1:/kept"]).success();
    assert_eq!(inside(&env, "stat -c %u /kept"), format!("{}\n", env.user.uid));
}

#[test]
fn out_of_a_container() {
    let env = with_tree();
    let out = env.folder("o", 0o755);
    for (from, to) in
        [("c1:/d", "o"), ("c1:/d/.", "o/flat"), ("c1:/d/f", "o/f"), ("c1:/ld", "o/ld"), ("c1:/ld/", "o/l2")]
    {
        env.coracle(["cp", from, to]).success().no_stdout().no_stderr();
    }
    let text = |path: &str| fs::read_to_string(out.join(path)).unwrap();
    assert_eq!([text("d/f"), text("flat/s/g"), text("f"), text("l2/f")], ["f\n", "g\n", "f\n", "f\n"]);
    assert_eq!(fs::read_link(out.join("ld")).unwrap().to_str(), Some("/d"));
    let folder = fs::metadata(out.join("d/s")).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o700, env.user.uid));
    env.coracle(["cp", "-L", "c1:/ld", "o/followed"]).success();
    assert_eq!(text("followed/f"), "f\n");
}

#[test]
fn says_what_docker_says() {
    let env = with_tree();
    env.folder("o", 0o755);
    for (from, to, message) in [
        ("one", "two", "must specify at least one container source"),
        ("c1:/a", "c2:/b", "copying between containers is not supported"),
        ("", "c1:/", "source can not be empty"),
        ("one", "", "destination can not be empty"),
        ("nobody:/a", ".", "No such container: nobody"),
        ("nope", "c1:/", "nope: no such file or directory"),
        ("one/", "c1:/e", "not a directory"),
        ("c1:/nope", ".", "Could not find the file /nope in container c1"),
        ("c1:/proc/version", ".", "Could not find the file /proc/version in container c1"),
        ("c1:/d/f", "nodir/x", "does not exist"),
        ("c1:/d/f", "o/n/", "no such directory"),
        ("c1:/d", "one", "cannot copy directory"),
        ("c1:/d/f/", "o", "lstat /d/f/: not a directory"),
        ("c1:/d/f", "/dev/null", "must be a directory or a regular file: got a device"),
        ("one", "c1:/nodir/x", "Could not find the file /nodir in container c1"),
        ("one", "c1:/new/", "no such directory"),
        ("one", "c1:/file/x", "extraction point is not a directory"),
        ("src", "c1:/file", "cannot copy directory"),
        ("-", "c1:/file", "destination \"c1:/file\" must be a directory"),
    ] {
        env.coracle(["cp", from, to]).code(1).no_stdout().stderr_has(message);
    }
    env.file("o/d", "");
    env.coracle(["cp", "c1:/d", "o"])
        .code(1)
        .stderr_has("cannot overwrite non-directory \"d\" with directory");
    let quiet = ["cp", "--quiet=false", "one", "c1:/e"];
    assert_eq!(env.coracle(quiet).success().stderr(), "Successfully copied 2.05kB to c1:/e\n");
}

#[test]
fn tar_streams() {
    let env = with_tree();
    let archive = env.coracle(["cp", "c1:/d", "-"]).success().stdout_bytes().to_vec();
    env.command(["cp", "-", "c1:/e"]).input(&archive).output().success();
    assert_eq!(inside(&env, "cat /e/d/f /e/d/s/g; stat -c %a /e/d/s"), "f\ng\n700\n");
    env.command(["cp", "-a", "-", "c1:/e"]).input(&archive).output().success();
    assert_eq!(inside(&env, "stat -c %u:%g /e/d/f"), "3:4\n");
    env.command(["cp", "-", "c1:/e"]).input(crate::harness::tar::gzip(&archive)).output().success();
    env.command(["cp", "-", "c1:/e"]).input("no archive at all").output().code(1).stderr_has("archive");
}

#[test]
fn a_container_that_does_not_run() {
    for driver in ["overlay", "fuse-overlayfs"] {
        let mut env = Env::new();
        env.set_var("CORACLE_STORAGE_DRIVER", driver);
        env.coracle(["pull", "-q", &image("tiny")]).success();
        env.folder("bound", 0o755);
        env.file("one", "one\n");
        let bound = format!("{}:/v", env.root.join("bound").display());
        let line = [
            "create",
            "--name",
            "c1",
            "-u",
            "0",
            "-v",
            &bound,
            &image("tiny"),
            "sh",
            "-c",
            "cat /one; echo two >/two",
        ];
        env.coracle(line).success();
        env.coracle(["cp", "one", "c1:/one"]).success();
        env.coracle(["cp", "one", "c1:/v/"]).success();
        assert_eq!(fs::read_to_string(env.root.join("bound/one")).unwrap(), "one\n");
        env.coracle(["start", "-a", "c1"]).success().says("one\n");
        env.coracle(["cp", "c1:/two", "bound/two"]).success();
        assert_eq!(fs::read_to_string(env.root.join("bound/two")).unwrap(), "two\n");
        assert_eq!(env.coracle(["diff", "c1"]).success().stdout(), "A /one\nA /two\nA /v\n");
    }
}

#[test]
fn a_read_only_container() {
    let env = Env::with_tiny();
    env.folder("bound", 0o755);
    env.file("one", "one\n");
    let bound = env.root.join("bound").display().to_string();
    let (write, read) = (format!("{bound}:/v"), format!("{bound}:/r:ro"));
    let line =
        ["run", "-d", "--name", "c1", "--read-only", "-v", &write, "-v", &read, "tiny", "sleep", "1000"];
    env.coracle(line).success();
    for _ in 0..2 {
        env.coracle(["cp", "one", "c1:/x"]).code(1).stderr_has("container rootfs is marked read-only");
        env.coracle(["cp", "one", "c1:/r/x"]).code(1).stderr_has("mounted volume is marked read-only");
        env.coracle(["cp", "one", "c1:/v/x"]).success();
        let _ = env.coracle(["kill", "c1"]);
        env.coracle(["wait", "c1"]).success();
    }
}

#[test]
fn a_hostile_container_cannot_lead_out() {
    let env = Env::with_tiny();
    let victim = env.folder("victim", 0o755);
    env.folder("o", 0o755);
    env.file("one", "one\n");
    // A directory and a link to the host's path of the same name take turns as fast as they can.
    let script = format!(
        "mkdir -p /w/real; echo evil >/w/real/evil; ln -s {0} /w/link; echo ready; \
         while :; do mv /w/link /w/t; mv /w/real /w/t2; mv /w/t /w/real; mv /w/t2 /w/link; done 2>/dev/null",
        victim.display()
    );
    env.coracle(["run", "-d", "--name", "c1", "-u", "0", "tiny", "sh", "-c", &script]).success();
    env.wait_for_log("c1", "ready");
    let until = Instant::now() + Duration::from_secs(4);
    let mut copied = 0;
    while Instant::now() < until {
        for (from, to) in
            [("one", "c1:/w/real/x"), ("one", "c1:/w/real"), ("c1:/w", "o"), ("c1:/w/real", "o/")]
        {
            copied += usize::from(env.coracle(["cp", from, to]).went_well());
        }
    }
    assert!(copied > 0, "nothing was ever copied");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "something came out at the link's target");
}

#[test]
fn an_archive_cannot_lead_out_of_its_place() {
    use crate::harness::tar::{Entry, archive};
    let env = with_tree();
    let evil =
        archive(&[Entry::file("../../evil", "x"), Entry::symlink("up", "/"), Entry::file("up/evil2", "x")]);
    let _ = env.command(["cp", "-", "c1:/e"]).input(&evil).output();
    assert_eq!(inside(&env, "ls -d /evil* /e/evil* 2>/dev/null; true"), "/e/evil\n/e/evil2\n");
}

#[test]
fn killed_at_any_moment_leaves_nothing() {
    for driver in ["overlay", "fuse-overlayfs"] {
        let mut env = Env::new();
        env.set_var("CORACLE_STORAGE_DRIVER", driver);
        env.coracle(["pull", "-q", &image("tiny")]).success();
        env.coracle(["create", "--name", "c1", &image("tiny"), "true"]).success();
        env.file("big", vec![7; 8 << 20]);
        for step in 0..25 {
            let copy = env.command(["cp", "big", "c1:/big"]).spawn();
            std::thread::sleep(Duration::from_millis(step));
            let worker = env.processes().into_iter().find(|pid| machine::describe(*pid).contains("__files"));
            match (step % 2, worker) {
                (0, Some(worker)) => machine::kill(worker, Signal::SIGKILL),
                _ => copy.signal(Signal::SIGKILL),
            }
            let _ = copy.finish();
        }
        let only_home = || env.processes().into_iter().all(machine::is_home);
        assert!(eventually(Duration::from_secs(10), only_home), "processes are left: {driver}");
        env.coracle(["start", "-a", "c1"]).success();
    }
}

#[test]
fn with_a_single_id() {
    let mut env = Env::of(User::unprivileged());
    env.set_var("CORACLE_SINGLE_ID", "1");
    env.coracle(["pull", "-q", &image("tiny")]).success();
    env.coracle(["tag", &image("tiny"), "tiny"]).success();
    ready(&env);
    env.coracle(["cp", "one", "c1:/e"]).success();
    assert_eq!(inside(&env, "cat /e/one"), "one\n");
    env.coracle(["cp", "c1:/e/one", "src/back"]).success();
    env.coracle(["kill", "c1"]).success();
    env.coracle(["wait", "c1"]).success();
    env.coracle(["cp", "c1:/e/one", "src/back2"]).success();
}
