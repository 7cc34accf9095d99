//! A user without subordinate ids: it works with one id, and one clear line says so.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
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
fn changes_of_owner_and_user_succeed() {
    let debian = image("debian");
    let env = with(&debian);
    let script = "set -e; cd /tmp; echo x > f; chown -R 33:33 /tmp; chown -h daemon f; stat -c %u:%g f
        install -o daemon -g daemon f g; tar c --owner=1234 f | tar x --same-owner
        setpriv --reuid=33 --regid=33 --clear-groups id; su daemon -s /bin/sh -c 'id -u; id -un'
        perl -e '$) = \"5 6 7\"; $> = 5; print \"$! $> $)\\n\"'; useradd -m joe; stat -c %u /home/joe; id -u";
    let answers = "0:0\nuid=33(www-data) gid=33(www-data) groups=33(www-data)\n1\ndaemon\n 5 5 6 7\n0\n0\n";
    for options in [&[][..], &["--security-opt", "seccomp=unconfined"], &["--privileged"]] {
        let line = [&["run", "--rm"], options, &[&debian, "sh", "-c", script]].concat();
        env.coracle(line).success().says(answers);
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

/// The program of tests/ids.c, for any container.
fn prober() -> &'static Path {
    static PROBER: OnceLock<PathBuf> = OnceLock::new();
    PROBER.get_or_init(|| {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ids");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ids.c");
        let gcc = Command::new("gcc")
            .args(["-O1", "-static", "-no-pie", "-pthread", "-w", "-o"])
            .args([&built, &source])
            .status();
        assert!(gcc.is_ok_and(|status| status.success()), "cannot compile tests/ids.c");
        built
    })
}

impl Env {
    /// A copy of [`prober`] that the user may run.
    fn prober(&self) -> String {
        let copy = self.file("home/ids", std::fs::read(prober()).unwrap());
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        copy.display().to_string()
    }
}

/// The kernel's own answers to true root are the measure: the same program must find all well there.
#[test]
fn programs_see_what_they_were_told() {
    let tiny = image("tiny");
    let env = with(&tiny);
    let volume = format!("{}:/ids", env.prober());
    env.coracle(["run", "-d", "--name", "c1", "-v", &volume, &tiny, "sleep", "1000"]).success();
    for part in ["rules", "threads", "family", "old", "secret", "signals"] {
        let truly = Command::new(prober()).arg(part).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&truly.stdout), "well\n", "{part} for true root");
        for option in [&[][..], &["--security-opt", "no-new-privileges"], &["--init"]] {
            let line = [&["run", "--rm", "-v", &volume], option, &[&tiny, "/ids", part]].concat();
            assert_eq!(env.coracle(line).success().stdout(), "well\n", "{part} {option:?}");
        }
        env.coracle(["exec", "c1", "/ids", part]).success().says("well\n");
    }
}

#[test]
fn capabilities_that_were_taken_are_not_pretended() {
    let tiny = image("tiny");
    let env = with(&tiny);
    let volume = format!("{}:/ids", env.prober());
    let line = ["run", "--rm", "--cap-drop", "SETUID", "-v", &volume, &tiny, "/ids", "rules"];
    env.coracle(line).code(1).stdout_has("setuid(33) == 0").stdout_has("errno 1");
}

#[test]
fn what_exec_leaves_behind_is_still_answered() {
    let debian = image("debian");
    let env = with(&debian);
    env.coracle(["run", "-d", "--name", "c1", &debian, "sleep", "1000"]).success();
    let script = "(setpriv --reuid=33 sh -c 'while [ ! -e /tmp/go ]; do sleep 0.05; done; id -u > /tmp/said') > /dev/null 2>&1 &";
    env.coracle(["exec", "c1", "sh", "-c", script]).success();
    env.coracle(["exec", "c1", "touch", "/tmp/go"]).success();
    let said = || env.coracle(["exec", "c1", "cat", "/tmp/said"]).text_if_well().as_deref() == Some("33\n");
    assert!(
        eventually(Duration::from_secs(20), said),
        "{:?}",
        env.coracle(["exec", "c1", "cat", "/tmp/said"])
    );
    // Each command took its own with it; one is left for the container.
    let one = || pretenders(&env).len() == 1;
    assert!(eventually(Duration::from_secs(10), one), "{:?}", pretenders(&env));
}

fn pretenders(env: &Env) -> Vec<i32> {
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    env.processes().into_iter().filter(|pid| name(pid) == "coracle-ids\n").collect()
}

#[test]
fn nobody_waits_for_an_answer_that_will_not_come() {
    let tiny = image("tiny");
    let env = with(&tiny);
    let script = "echo up; while [ ! -e /tmp/go ]; do sleep 0.05; done; id -u; echo over; sleep 1000";
    env.coracle(["run", "-d", "--name", "c1", &tiny, "sh", "-c", script]).success();
    env.wait_for_log("c1", "up");
    for pid in pretenders(&env) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    env.coracle(["exec", "c1", "touch", "/tmp/go"]).success();
    env.wait_for_log("c1", "over");
    env.coracle(["exec", "c1", "id", "-u"]).success().says("0\n");
    env.coracle(["rm", "-f", "c1"]).success();
}

/// As a container in a container: the kernel allows one listener.
#[test]
fn below_another_listener_a_change_of_user_fails() {
    let debian = image("debian");
    let env = with(&debian);
    let prober = env.prober();
    let coracle = crate::harness::binary().display().to_string();
    let run = |script: &str| {
        let line = ["listening", &coracle, "run", "--rm", "--network", "none", &debian, "sh", "-c", script];
        env.program(&prober, line).output()
    };
    run("id -u; chown 33 /tmp; exec setpriv --reuid=33 id -u").code(127).says("0\n").stderr_has("setresuid");
    // What would start itself anew for ever ends.
    run("[ $(id -u) = 0 ] && exec setpriv --reuid=33 sh -c 'exec sh'").failed();
}

#[test]
fn apt_may_leave_root() {
    let debian = image("debian");
    let env = with(&debian);
    let script = "set -e; mkdir /repo; touch /repo/Packages; rm -rf /etc/apt/sources.list*
        echo 'deb [trusted=yes] copy:/repo ./' > /etc/apt/sources.list; apt-get update 2>&1; id -u";
    let said = env.coracle(["run", "--rm", &debian, "sh", "-c", script]).success();
    assert!(!said.stdout().contains("W:") && said.stdout().ends_with("\n0\n"), "{said:?}");
}

/// What the entry scripts of well-known images do: give files away, then start anew as somebody else.
#[test]
fn entry_scripts_that_start_themselves_anew_do_it_once() {
    let (redis, mariadb) = (image("redis"), image("mariadb"));
    let env = with(&redis);
    let entry = "#!/bin/sh\nset -e\necho entered as $(id -u)
        if [ \"$(id -u)\" = 0 ]; then
            find . \\! -user redis -exec chown redis '{}' +
            exec setpriv --reuid=redis --regid=redis --clear-groups \"$0\" \"$@\"
        fi\nexec \"$@\"\n";
    let entry = env.file("home/entry", entry);
    std::fs::set_permissions(&entry, std::fs::Permissions::from_mode(0o755)).unwrap();
    let volume = format!("{}:/usr/local/bin/entry", entry.display());
    let port = free_port();
    let [to_redis, to_mariadb] = [6379, 3306].map(|inner| format!("127.0.0.1:{port}:{inner}"));
    let options = ["--name", "store", "-p", &to_redis, "-v", &volume, "--entrypoint", "entry"];
    let command = [&redis, "redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"];
    env.coracle([&["run", "-d"][..], &options, &command].concat()).success();
    let set = || {
        let said = env.program("redis-cli", ["-p", &port.to_string(), "set", "boat", "raft"]).output();
        said.text_if_well().as_deref() == Some("OK\n")
    };
    assert!(eventually(Duration::from_secs(30), set), "{:?}", env.coracle(["logs", "store"]));
    env.program("redis-cli", ["-p", &port.to_string(), "save"]).output().success().says("OK\n");
    let log = env.coracle(["logs", "store"]).success();
    let entered: Vec<&str> = log.stdout().lines().filter(|line| line.starts_with("entered")).collect();
    assert!(matches!(entered[..], ["entered as 0", other] if other != "entered as 0"), "{entered:?}");
    env.coracle(["rm", "-f", "store"]).success();
    serves_mariadb(&env, &to_mariadb, port, &[&mariadb]);
    env.coracle(["rm", "-f", "db"]).success();
    // Or as nobody but that user.
    serves_mariadb(&env, &to_mariadb, port, &["-u", "mysql", "--tmpfs", "/run/mysqld:mode=1777", &mariadb]);
    env.coracle(["exec", "db", "sh", "-c", "stat -c %U /proc/1 /var/lib/mysql/ibdata1"])
        .success()
        .says("mysql\nmysql\n");
}

/// A server that refuses to be root.
fn serves_mariadb(env: &Env, publish: &str, port: u16, rest: &[&str]) {
    let line = ["run", "-d", "--name", "db", "-p", publish, "-e", "MYSQL_ROOT_PASSWORD=x"];
    env.coracle([&line[..], rest].concat()).success();
    let port = port.to_string();
    let client =
        ["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "root", "-px", "-N", "-e", "select 1"];
    let answers = || env.program("mariadb", client).output().text_if_well().as_deref() == Some("1\n");
    assert!(eventually(Duration::from_secs(60), answers), "{:?}", env.coracle(["logs", "db"]));
}

#[test]
fn a_server_with_workers_of_another_user_serves() {
    let nginx = image("nginx");
    let env = with(&nginx);
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    env.coracle(["run", "-d", "--name", "web", "-p", &publish, &nginx]).success();
    let answers = || env.program("curl", ["-sSf", &format!("http://127.0.0.1:{port}/")]).output().went_well();
    assert!(eventually(Duration::from_secs(30), answers), "{:?}", env.coracle(["logs", "web"]));
    let log = env.coracle(["logs", "web"]).success();
    assert!(!["setuid", "setgid", "initgroups"].iter().any(|call| log.stderr().contains(call)), "{log:?}");
    // The master is root still, so it may open its files anew and start others.
    env.coracle(["exec", "web", "nginx", "-s", "reload"]).success();
    assert!(eventually(Duration::from_secs(30), answers), "{:?}", env.coracle(["logs", "web"]));
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
