//! Names and connections beyond the machine, shown in a network of the test's own: an address that
//! is not loopback and a name server that knows one name.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Env, Output, image, machine};

/// Knows the address of lighthouse.test, and that nothing else has one.
const NAME_SERVER: &str = "
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('192.0.2.53', 53))
while True:
    query, client = server.recvfrom(512)
    question = query[12:query.index(0, 12) + 5]
    exists = question.startswith(b'\\x0alighthouse\\x04test\\x00')
    known = exists and question.endswith(b'\\0\\1\\0\\1')
    head = query[:2] + (b'\\x81\\x80' if exists else b'\\x81\\x83') + b'\\0\\1\\0' + bytes([known]) + b'\\0\\0\\0\\0'
    answer = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4' + bytes([192, 0, 2, 53]) if known else b''
    server.sendto(head + question + answer, client)
";

/// A network namespace with one far host: name server and web server on 192.0.2.53.
struct Sea {
    name: String,
    servers: Vec<Child>,
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().expect("the package iproute2 is installed");
    assert!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Sea {
    fn new() -> Sea {
        machine::needs_root();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sea{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir_all(format!("/etc/netns/{name}")).unwrap();
        std::fs::write(format!("/etc/netns/{name}/resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        ip(&["netns", "add", &name]);
        let inside = |args: &[&str]| ip(&["-n", &name].iter().chain(args).copied().collect::<Vec<_>>());
        inside(&["link", "set", "lo", "up"]);
        inside(&["tuntap", "add", "far", "mode", "tap"]);
        inside(&["addr", "add", "192.0.2.53/24", "dev", "far"]);
        inside(&["link", "set", "far", "up"]);
        inside(&["route", "add", "default", "dev", "far"]);
        let mut sea = Sea { name, servers: Vec::new() };
        sea.serve(&["/usr/bin/python3", "-c", NAME_SERVER]);
        sea.serve(&["busybox", "httpd", "-f", "-p", "192.0.2.53:80", "-h", "/etc/netns"]);
        sea
    }

    fn serve(&mut self, command: &[&str]) {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ip runs");
        self.servers.push(child);
    }

    /// Runs coracle in this network as the user.
    fn coracle(&self, env: &Env, args: &[&str]) -> Output {
        let (uid, gid) = (format!("--reuid={}", env.user.uid), format!("--regid={}", env.user.gid));
        let outer = ["ip", "netns", "exec", &self.name, "setpriv", &uid, &gid, "--clear-groups"];
        env.command(args).below_as_root(outer).output()
    }
}

impl Drop for Sea {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = std::fs::remove_dir_all(format!("/etc/netns/{}", self.name));
    }
}

#[test]
fn names_and_connections_work_with_each_stack() {
    let env = Env::new();
    env.coracle(["pull", "-q", &image("tiny")]).success();
    let sea = Sea::new();
    for stack in ["slirp4netns", "pasta", "default"] {
        let network: &[&str] = if stack == "default" { &[] } else { &["--network", stack] };
        let script = format!("timeout 10 wget -qO- http://lighthouse.test/{}/resolv.conf", sea.name);
        let name = image("tiny");
        let line = [&["run", "--rm", "--init"], network, &[&name, "sh", "-c", &script]].concat();
        sea.coracle(&env, &line).success().says("nameserver 192.0.2.53\n");
        let line = [&["run", "--rm", "--init"], network, &[&name, "nslookup", "rock.test"]].concat();
        sea.coracle(&env, &line).code(1);
    }
}

#[test]
fn the_hosts_loopback_is_not_reached() {
    let env = Env::new();
    env.coracle(["pull", "-q", &image("tiny")]).success();
    let mut sea = Sea::new();
    sea.serve(&["busybox", "httpd", "-f", "-p", "127.0.0.1:81", "-h", "/etc/netns"]);
    for stack in ["slirp4netns", "pasta"] {
        for address in ["10.0.2.2", "127.0.0.1", "192.0.2.1"] {
            let url = format!("http://{address}:81/");
            let line = [
                "run",
                "--rm",
                "--init",
                "--network",
                stack,
                &image("tiny"),
                "timeout",
                "3",
                "wget",
                "-qO-",
                &url,
            ];
            sea.coracle(&env, &line).failed();
        }
    }
}

/// As an outer container leaves them: parts of both covered, so that the kernel refuses new ones.
const COVERED: &str = "mount -t tmpfs none /sys/module && mount -t tmpfs none /proc/fs && exec \"$@\"";

#[test]
fn a_covered_sys_and_proc_of_the_outside_are_taken_over() {
    machine::needs_root();
    let env = Env::new();
    env.coracle(["pull", "-q", &image("tiny")]).success();
    let (uid, gid) = (format!("--reuid={}", env.user.uid), format!("--regid={}", env.user.gid));
    let outer = ["unshare", "--mount", "sh", "-c", COVERED, "sh", "setpriv", &uid, &gid, "--clear-groups"];
    let script = "ls /sys/module /proc/fs; ls -d /sys/class /proc/1; mount | grep -E ' /(proc|sys) ' | grep -c '[(]ro,'; \
        echo x > /sys/kernel/uevent_helper";
    for network in ["none", "slirp4netns"] {
        let line = ["run", "--name", network, "--network", network, &image("tiny"), "sh", "-c", script];
        let said = env.command(line).below_as_root(outer).output().code(1);
        assert_eq!(said.stdout(), "/proc/fs:\n\n/sys/module:\n/proc/1\n/sys/class\n1\n");
        said.stderr_has("Read-only").stderr_has("sees the host's /sys").stderr_has("sees the host's /proc");
        let lost = env.inspect(network, "/Lost").to_string();
        assert!(lost.contains("/sys") && lost.contains("/proc"), "{lost}");
    }
}
