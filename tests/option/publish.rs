//! `-p`: published ports.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::harness::{Env, eventually, free_port, image};

const SERVER: [&str; 6] = ["tiny", "httpd", "-f", "-v", "-h", "/srv"];

fn web(env: &Env, name: &str, flags: &[&str]) {
    env.coracle(["run", "-d", "--name", name].iter().chain(flags).chain(&SERVER)).success();
}

/// Fetches by plain HTTP/1.0; the server may still be starting, the port is open already.
fn fetch(address: SocketAddr) -> String {
    let mut answer = String::new();
    let got = eventually(Duration::from_secs(20), || {
        answer.clear();
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let asked = stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("hello")
    });
    assert!(got, "no answer from {address}: {answer:?}");
    answer
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[test]
fn a_tcp_port_is_served_on_all_addresses() {
    let env = Env::with_tiny();
    let port = free_port();
    web(&env, "c1", &["-p", &format!("{port}:80")]);
    assert!(fetch(local(port)).ends_with("hello from tiny\n"));
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        fetch((IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), port).into());
    }
    let shown = env.coracle(["ps"]).success();
    assert!(shown.stdout().contains(&format!("0.0.0.0:{port}->80/tcp")), "{shown:?}");
    env.coracle(["rm", "-f", "c1"]).success();
    assert!(TcpStream::connect(local(port)).is_err(), "the port is open after the container's end");
}

#[test]
fn one_address_is_only_that_one() {
    let env = Env::with_tiny();
    let port = free_port();
    web(&env, "c1", &["-p", &format!("127.0.0.1:{port}:80")]);
    fetch(local(port));
    assert!(TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).is_err());
}

#[test]
fn any_free_port_is_chosen_and_shown() {
    let env = Env::with_tiny();
    web(&env, "c1", &["-p", "80", "-p", "127.0.0.1::81"]);
    let port = env.inspect("c1", "/NetworkSettings/Ports/80~1tcp/0/HostPort");
    let port: u16 = port.as_str().unwrap().parse().unwrap();
    assert_ne!(port, 0);
    fetch(local(port));
    let shown = env.coracle(["ps"]).success();
    assert!(
        shown.stdout().contains(&format!(":{port}->80/tcp")) && shown.stdout().contains("127.0.0.1:"),
        "{shown:?}"
    );
}

#[test]
fn a_range_is_several_ports() {
    let env = Env::with_tiny();
    let first =
        (20000..60000).step_by(7).find(|p| (0..3).all(|i| TcpListener::bind(local(p + i)).is_ok())).unwrap();
    web(&env, "c1", &["-p", &format!("127.0.0.1:{first}-{}:79-81", first + 2)]);
    fetch(local(first + 1));
}

#[test]
fn a_busy_port_fails_the_start() {
    let env = Env::with_tiny();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let publish = format!("127.0.0.1:{port}:80");
    let said = env.coracle(["run", "-d", "--name", "c1", "-p", &publish].iter().chain(&SERVER));
    said.code(125).stderr_has(&format!("{port}")).stderr_has("in use");
    assert_eq!(env.status("c1"), "created");
    // It can be started once the port is free.
    drop(holder);
    env.coracle(["start", "c1"]).success();
    fetch(local(port));
}

#[test]
fn two_containers_cannot_have_one_port() {
    let env = Env::with_tiny();
    let publish = format!("127.0.0.1:{}:80", free_port());
    web(&env, "c1", &["-p", &publish]);
    env.coracle(["run", "--rm", "-p", &publish, "tiny", "true"]).code(125).stderr_has("in use");
    env.coracle(["rm", "-f", "c1"]).success();
    web(&env, "c2", &["-p", &publish]);
}

#[test]
fn a_low_port_says_which_setting_forbids_it() {
    let first: u16 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(first > 1, "this machine lets everyone bind every port");
    let env = Env::with_tiny();
    let line = ["run", "--rm", "-p", "127.0.0.1:1:80", "tiny", "true"];
    env.coracle(line).code(125).stderr_has("ip_unprivileged_port_start");
}

/// Sends every datagram back; Debian's smallest perl has what it takes. It is there a moment after its
/// first clients, who are refused until then.
const UDP_ECHO: &str = "use Socket; select(undef, undef, undef, 0.7); socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in(7000, INADDR_ANY)) or die $!; \
    while (defined(my $from = recv(S, $_, 65536, 0))) { send(S, $_, 0, $from) }";

fn udp_echo(network: &str) {
    let env = Env::new();
    let publish = "127.0.0.1::7000/udp";
    let debian = image("debian");
    let line = ["run", "-d", "-q", "--name", "c1", "--network", network, "-p", publish, &debian];
    env.coracle(line.into_iter().chain(["perl", "-e", UDP_ECHO])).success();
    let port = env.inspect("c1", "/NetworkSettings/Ports/7000~1udp/0/HostPort");
    let port: u16 = port.as_str().unwrap().parse().unwrap();
    let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for (i, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let text = format!("datagram {i}");
        let mut answer = [0; 100];
        let answered = eventually(Duration::from_secs(20), || {
            client.send_to(text.as_bytes(), local(port)).unwrap();
            client
                .recv_from(&mut answer)
                .is_ok_and(|(n, from)| &answer[..n] == text.as_bytes() && from == local(port))
        });
        assert!(answered, "no answer to client {i}");
    }
}

#[test]
fn udp_finds_its_way_back_slirp4netns() {
    udp_echo("slirp4netns");
}

#[test]
fn udp_finds_its_way_back_pasta() {
    udp_echo("pasta");
}

#[test]
fn both_stacks_publish() {
    let env = Env::with_tiny();
    for network in ["slirp4netns", "pasta"] {
        let port = free_port();
        web(&env, network, &["--network", network, "-p", &format!("127.0.0.1:{port}:80")]);
        fetch(local(port));
    }
}

/// Sends back what came, once the sender has closed its half.
const TCP_ECHO: &str = "use Socket; socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(9, INADDR_ANY)) or die $!; \
    listen(S, 5); while (accept(C, S)) { my ($all, $part) = (''); $all .= $part while sysread(C, $part, 65536); \
    my $at = 0; $at += syswrite(C, $all, 65536, $at) while $at < length $all; close C }";

#[test]
fn megabytes_go_through_whole_and_half_closed() {
    let env = Env::new();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:9");
    let debian = image("debian");
    let line = ["run", "-d", "-q", "--name", "c1", "-p", &publish, &debian, "perl", "-e", TCP_ECHO];
    env.coracle(line).success();
    let bytes: Vec<u8> = (0..6_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut answer = Vec::new();
    let went = eventually(Duration::from_secs(30), || {
        answer.clear();
        let Ok(mut stream) = TcpStream::connect(local(port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&bytes).is_ok()
            && stream.shutdown(std::net::Shutdown::Write).is_ok()
            && stream.read_to_end(&mut answer).is_ok()
            && !answer.is_empty()
    });
    assert!(went, "no answer");
    assert!(answer == bytes, "{} of {} bytes, or others", answer.len(), bytes.len());
}

#[test]
fn many_connections_at_once() {
    let env = Env::with_tiny();
    let port = free_port();
    web(&env, "c1", &["-p", &format!("127.0.0.1:{port}:80")]);
    fetch(local(port));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    fetch(local(port));
                }
            });
        }
    });
}

#[test]
fn malformed_ports_are_refused() {
    let env = Env::with_tiny();
    for bad in
        ["x", "80:x", "70000:80", "80:0", "1.2.3:80:80", "80:80/icmp", "80-81:80", "0:80:80:80", "-1:80"]
    {
        let flag = format!("--publish={bad}");
        env.coracle(["run", "--rm", &flag, "tiny", "true"]).code(125).no_stdout();
    }
    // Nothing is published from the host's own network: docker warns and goes on.
    env.coracle(["run", "--rm", "--network", "host", "-p", "80", "tiny", "true"])
        .success()
        .stderr_has("host");
}
