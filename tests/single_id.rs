//! A user without subordinate ids: it works with one id, and one clear line says so.

use std::process::Command;
use std::time::Duration;

use crate::harness::machine::User;
use crate::harness::{Env, eventually, free_port, image};

/// A user of the machine that has no range.
fn user() -> User {
    const NAME: &str = "coracle-raft";
    if User::named(NAME).is_none() {
        let made = Command::new("useradd").args(["--system", "--no-create-home", NAME]).status();
        assert!(made.is_ok_and(|status| status.success()), "cannot make the user {NAME}");
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(!text.lines().any(|line| line.starts_with(NAME)), "{NAME} has a range in {file}");
    }
    User::named(NAME).expect("just made")
}

#[test]
fn one_line_says_what_is_lost_and_how_to_get_it() {
    let env = Env::of(user());
    let said =
        env.coracle(["run", "--rm", "--network", "none", "-q", &image("tiny"), "echo", "works"]).success();
    assert_eq!(said.stdout(), "works\n");
    let lines: Vec<&str> = said.stderr().lines().collect();
    assert_eq!(lines.len(), 1, "{said:?}");
    said.stderr_has("/etc/subuid").stderr_has("coracle-raft");
}

#[test]
fn images_of_many_owners_unpack_and_run() {
    let env = Env::of(user());
    let odd = image("odd");
    env.coracle(["pull", "-q", &odd]).success();
    env.coracle(["run", "--rm", "-u", "0", &odd, "cat /odd/owned /odd/highest"])
        .success()
        .says("owned\nnobody's\n");
    env.coracle(["run", "--rm", &odd, "id -un; id -u; id -g"]).success().says("sailor\n1000\n1000\n");
}

/// With the image pulled.
fn with(image: &str) -> Env {
    let env = Env::of(user());
    env.coracle(["pull", "-q", image]).success();
    env
}

#[test]
fn changes_of_owner_and_user_succeed_without_effect() {
    let debian = image("debian");
    let env = with(&debian);
    let script = "set -e; cd /tmp; echo x > f; chown -R 33:33 /tmp; chown -h daemon f; stat -c %u:%g f
        install -o daemon -g daemon f g; tar c --owner=1234 f | tar x --same-owner
        setpriv --reuid=33 --regid=33 --clear-groups id -u; su daemon -s /bin/sh -c 'id -u'
        perl -e '$) = \"5 6 7\"; $> = 5; print \"$! $>\\n\"'; useradd -m joe; stat -c %u /home/joe";
    for options in [&[][..], &["--security-opt", "seccomp=unconfined"], &["--privileged"]] {
        let line = [&["run", "--rm"], options, &[&debian, "sh", "-c", script]].concat();
        env.coracle(line).success().says("0:0\n0\n0\n 0\n0\n");
    }
    // What the container's own profile refuses stays refused.
    let profile = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["fchownat"], "action": "SCMP_ACT_ERRNO" } ] }"#;
    let option = format!("seccomp={}", env.file("home/profile.json", profile).display());
    let line = ["run", "--rm", "--security-opt", &option, &debian, "chown", "33", "/tmp"];
    env.coracle(line).code(1).stderr_has("not permitted");
}

#[test]
fn packages_can_be_installed() {
    let debian = image("debian");
    let env = with(&debian);
    let script = "set -e; cd /tmp; mkdir -p p/DEBIAN p/opt/boat
        printf 'Package: boat\\nVersion: 1\\nArchitecture: all\\nMaintainer: me <me@example.org>\\nDescription: x\\n' > p/DEBIAN/control
        echo afloat > p/opt/boat/state; chown -R 77:88 p; dpkg-deb -b p > /dev/null; dpkg -i p.deb > /dev/null; cat /opt/boat/state";
    env.coracle(["run", "--rm", &debian, "sh", "-c", script]).success().says("afloat\n");
}

#[test]
fn another_user_is_the_only_one() {
    let tiny = image("tiny");
    let env = with(&tiny);
    let ids = |user: &str| {
        let script = "echo $(id -u) $(id -g); touch /tmp/x && stat -c '%u %g' /tmp/x /etc/passwd; chown 0:0 /tmp/x && stat -c %u /tmp/x";
        env.coracle(["run", "--rm", "-u", user, &tiny, "sh", "-c", script]).success().stdout().to_owned()
    };
    assert_eq!(ids("sailor"), "1000 1000\n1000 1000\n1000 1000\n1000\n");
    assert_eq!(ids("4321:8765"), "4321 8765\n4321 8765\n4321 8765\n4321\n");
    assert_eq!(ids("0:50"), "0 50\n0 50\n0 50\n0\n");
    let script = "grep -E '^Cap(Prm|Eff)' /proc/self/status; hostname x";
    let said = env.coracle(["run", "--rm", "-u", "sailor", &tiny, "sh", "-c", script]).code(1);
    let zero = "0".repeat(16);
    said.says(&format!("CapPrm:\t{zero}\nCapEff:\t{zero}\n"));
    env.coracle(["run", "--rm", "-u", "nosuch", &tiny, "true"]).code(125).stderr_has("nosuch");
    for option in [&["--init"][..], &["--security-opt", "no-new-privileges"], &["-t"]] {
        let line = [&["run", "--rm", "-u", "sailor"], option, &[&tiny, "id", "-u"]].concat();
        assert_eq!(env.coracle(line).success().line().trim(), "1000", "{option:?}");
    }
}

#[test]
fn exec_enters_as_anybody() {
    let tiny = image("tiny");
    let env = with(&tiny);
    env.coracle(["run", "-d", "--name", "root", &tiny, "sleep", "1000"]).success();
    env.coracle(["run", "-d", "--name", "sailor", "-u", "sailor", &tiny, "sleep", "1000"]).success();
    for name in ["root", "sailor"] {
        let id = |user: &str| {
            let script = "id -u; stat -c %u /proc/1; kill -0 1 && echo signals; hostname | wc -l";
            env.coracle(["exec", "-u", user, name, "sh", "-c", script]).success().stdout().to_owned()
        };
        assert_eq!(id("0"), "0\n0\nsignals\n1\n", "{name}");
        assert_eq!(id("sailor"), "1000\n1000\nsignals\n1\n", "{name}");
        assert_eq!(id("77"), "77\n77\nsignals\n1\n", "{name}");
        env.coracle(["exec", "-u", "nosuch", name, "true"]).failed().stderr_has("nosuch");
    }
    env.coracle(["exec", "sailor", "id", "-u"]).success().says("1000\n");
    // Root is root of the container.
    env.coracle(["exec", "-u", "0", "--privileged", "sailor", "mount", "-t", "tmpfs", "none", "/srv"])
        .success();
}

#[test]
fn databases_serve() {
    let (redis, mariadb) = (image("redis"), image("mariadb"));
    let env = with(&redis);
    let port = free_port();
    let [to_redis, to_mariadb] = [6379, 3306].map(|inner| format!("127.0.0.1:{port}:{inner}"));
    // By its own entry script, which gives files away and changes the user.
    env.coracle(["run", "-d", "--name", "store", "-p", &to_redis, &redis]).success();
    let set = || {
        let said = env.program("redis-cli", ["-p", &port.to_string(), "set", "boat", "raft"]).output();
        said.text_if_well().as_deref() == Some("OK\n")
    };
    assert!(eventually(Duration::from_secs(30), set), "{:?}", env.coracle(["logs", "store"]));
    env.program("redis-cli", ["-p", &port.to_string(), "save"]).output().success().says("OK\n");
    env.coracle(["rm", "-f", "store"]).success();
    // A server that refuses to be root.
    let options = ["-u", "mysql", "--tmpfs", "/run/mysqld:mode=1777", "-e", "MYSQL_ROOT_PASSWORD=x"];
    let line = [&["run", "-d", "--name", "db", "-p", &to_mariadb], &options[..], &[&mariadb]].concat();
    env.coracle(line).success();
    let port = port.to_string();
    let client =
        ["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "root", "-px", "-N", "-e", "select 1"];
    let answers = || env.program("mariadb", client).output().text_if_well().as_deref() == Some("1\n");
    assert!(eventually(Duration::from_secs(60), answers), "{:?}", env.coracle(["logs", "db"]));
    env.coracle(["exec", "db", "sh", "-c", "stat -c %U /proc/1 /var/lib/mysql/ibdata1"])
        .success()
        .says("mysql\nmysql\n");
}

#[test]
fn life_goes_on() {
    let env = Env::of(user());
    env.coracle(["run", "-d", "--name", "c1", &image("tiny"), "sh", "-c", "echo up; sleep 1000"]).success();
    env.wait_for_log("c1", "up");
    env.coracle(["exec", "c1", "id", "-u"]).success().says("0\n");
    env.coracle(["stop", "-t", "0", "c1"]).success();
    env.coracle(["start", "c1"]).success();
    env.coracle(["rm", "-f", "c1"]).success();
    env.coracle(["rmi", "-f", &image("tiny")]).success();
    env.coracle(["images", "-q"]).success().says("");
}
