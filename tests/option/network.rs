//! `--network`: none, host, slirp4netns, pasta, and the files that belong to it.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::{Env, machine};

#[test]
fn none_has_loopback_only() {
    let env = Env::with_tiny();
    let script = "ls /sys/class/net; ip -o addr show lo | grep -c 127.0.0.1; ping -c1 -w2 127.0.0.1 >/dev/null && echo alive";
    env.coracle(["run", "--rm", "--network", "none", "tiny", "sh", "-c", script])
        .success()
        .says("lo\n1\nalive\n");
    env.coracle(["run", "--rm", "--net=none", "tiny", "true"]).success();
}

#[test]
fn host_is_the_hosts() {
    let env = Env::with_tiny();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let said = env.coracle(["run", "--rm", "--network", "host", "tiny", "readlink", "/proc/self/ns/net"]);
    said.success().says(&format!("{ours}\n"));
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    env.coracle(["run", "--rm", "--network", "host", "tiny", "cat", "/etc/resolv.conf"])
        .success()
        .says(&resolv);
}

#[test]
fn each_container_has_a_network_of_its_own() {
    let env = Env::with_tiny();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let one =
        env.coracle(["run", "--rm", "tiny", "readlink", "/proc/self/ns/net"]).success().line().to_owned();
    assert_ne!(one, ours);
    // Two may listen on one port.
    for name in ["c1", "c2"] {
        env.coracle(["run", "-d", "--name", name, "tiny", "httpd", "-f", "-p", "80", "-h", "/srv"]).success();
    }
    for name in ["c1", "c2"] {
        let fetch = ["exec", name, "wget", "-qO-", "http://127.0.0.1/hello"];
        env.coracle(fetch).success().says("hello from tiny\n");
    }
}

/// The interface and the addresses that a stack gives, and that it is ready before the command.
fn is_ready(mode: &[&str]) {
    let env = Env::with_tiny();
    let line = |command: &str| {
        let line = ["run", "--rm"]
            .iter()
            .chain(mode)
            .chain(&["tiny", "sh", "-c", command])
            .copied()
            .collect::<Vec<_>>();
        env.coracle(line).success().stdout().to_owned()
    };
    let shown = line("ip route; cat /etc/resolv.conf");
    assert!(shown.contains("default via "), "no route at the start: {shown}");
    assert!(shown.contains("nameserver "), "no name server: {shown}");
    assert!(
        !shown.contains("nameserver 127."),
        "a loopback name server of the host's is of no use inside: {shown}"
    );
    // The container's own name has an address.
    let own = line("ping -c1 -w2 $(hostname) >/dev/null && echo alive");
    assert_eq!(own, "alive\n");
}

#[test]
fn slirp4netns_is_ready_at_the_start() {
    is_ready(&["--network", "slirp4netns"]);
}

#[test]
fn pasta_is_ready_at_the_start() {
    is_ready(&["--network", "pasta"]);
}

#[test]
fn the_default_is_a_user_mode_stack() {
    is_ready(&[]);
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "100"]).success();
    let mode = env.inspect("c1", "/HostConfig/NetworkMode");
    assert!(mode.is_string(), "{mode}");
}

/// A connection from a container to a service of this machine, on an address that is not loopback.
fn reaches_out(stack: &str) {
    let Some(address) = own_address() else {
        panic!("this machine has no address but loopback");
    };
    let env = Env::with_tiny();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The whole request: closing with some of it unread would reset the connection.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\nanswer\n").unwrap();
        request
    });
    let url = format!("http://{address}:{port}/boat");
    let line = ["run", "--rm", "--network", stack, "tiny", "timeout", "10", "wget", "-qO-", &url];
    env.coracle(line).success().says("answer\n");
    assert!(server.join().unwrap().starts_with(b"GET /boat "));
}

fn own_address() -> Option<std::net::Ipv4Addr> {
    let said = std::process::Command::new("hostname").arg("-I").output().ok()?;
    String::from_utf8_lossy(&said.stdout).split_whitespace().find_map(|word| word.parse().ok())
}

#[test]
fn slirp4netns_reaches_out() {
    reaches_out("slirp4netns");
}

#[test]
fn pasta_reaches_out() {
    reaches_out("pasta");
}

#[test]
fn the_stack_ends_with_the_container() {
    let env = Env::with_tiny();
    for stack in ["slirp4netns", "pasta"] {
        env.coracle(["run", "-d", "--name", stack, "--network", stack, "tiny", "sleep", "1000"]).success();
        let runs =
            || env.processes().into_iter().any(|pid| machine::describe(pid).contains(&format!("/{stack} ")));
        assert!(
            runs(),
            "{stack} does not run: {:#?}",
            env.processes().into_iter().map(machine::describe).collect::<Vec<_>>()
        );
        env.coracle(["kill", stack]).success();
        env.coracle(["wait", stack]).success();
        assert!(crate::harness::eventually(std::time::Duration::from_secs(5), || !runs()), "{stack} stays");
    }
}
