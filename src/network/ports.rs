//! Binds published ports on the host, in the monitor, before the container starts: a port that
//! cannot be had fails the start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{Backlog, SockType, listen, setsockopt, sockopt};

use super::holder::{self, Holder};
use crate::spec::port::{Protocol, PublishedPort};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::socket;

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How often a free port is looked for that is free on IPv4 and IPv6.
const ATTEMPTS: usize = 64;
/// Seconds of silence after which the kernel asks whether a client is still there, and how long
/// it waits between questions. The server's own keep-alive sees the forwarder only.
const KEEPALIVE_IDLE: u32 = 60;
const KEEPALIVE_INTERVAL: u32 = 15;

/// A published port whose host side is ours.
#[derive(Debug)]
pub struct BoundPort {
    /// With the real host port where 0 was asked for.
    pub published: PublishedPort,
    /// One socket, or IPv4 and IPv6: listening (TCP) or bound (UDP), non-blocking.
    pub sockets: Vec<OwnedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "cannot publish {port}: port is already allocated{}; \
         end what uses it, or publish another host port",
        holder.as_ref().map(|h| format!(", by {h}")).unwrap_or_default()
    )]
    InUse { port: HostPort, holder: Option<Holder>, source: sys::Error },
    #[error(
        "cannot publish {port}: on this host ports below {start} need privileges; publish a port \
         from {start} up, or let an administrator run: \
         sysctl net.ipv4.ip_unprivileged_port_start={}",
        port.address.port()
    )]
    Privileged { port: HostPort, start: u16, source: sys::Error },
    #[error("cannot publish {port}: {} is not an address of this host", port.address.ip())]
    NotOurs { port: HostPort, source: sys::Error },
    #[error("cannot publish {port}: this host has no IPv6")]
    NoIpv6 { port: HostPort, source: sys::Error },
    #[error("cannot publish {port}")]
    Refused { port: HostPort, source: sys::Error },
}

/// A port as the host sees it: `0.0.0.0:8080/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    pub address: SocketAddr,
    pub protocol: Protocol,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.protocol.name())
    }
}

/// Binds all ports, or none. The result is in the order of `ports`.
pub fn bind(ports: &[PublishedPort]) -> Result<Vec<BoundPort>, PortError> {
    // Named ports first, so that a random one never takes a number that is named later.
    let mut order: Vec<usize> = (0..ports.len()).collect();
    order.sort_by_key(|&i| ports[i].host_port == 0);
    let mut bound: Vec<(usize, BoundPort)> = Vec::with_capacity(ports.len());
    for i in order {
        bound.push((i, bind_one(&ports[i])?));
    }
    bound.sort_by_key(|(i, _)| *i);
    Ok(bound.into_iter().map(|(_, port)| port).collect())
}

fn bind_one(port: &PublishedPort) -> Result<BoundPort, PortError> {
    if let Some(ip) = port.host_ip {
        let socket = open(port.protocol, SocketAddr::new(ip, port.host_port))?;
        return finish(port, vec![socket]);
    }
    for _ in 1..ATTEMPTS {
        match bind_both(port) {
            // The number IPv4 gave is taken on IPv6.
            Err(PortError::InUse { .. }) if port.host_port == 0 => continue,
            result => return result,
        }
    }
    bind_both(port)
}

/// The wildcard addresses of both families, with one port number. A host without IPv6 is fine.
fn bind_both(port: &PublishedPort) -> Result<BoundPort, PortError> {
    let any = |ip: IpAddr, number| SocketAddr::new(ip, number);
    let v4 = open(port.protocol, any(Ipv4Addr::UNSPECIFIED.into(), port.host_port))?;
    let number = real_port(port, &v4)?;
    match open(port.protocol, any(Ipv6Addr::UNSPECIFIED.into(), number)) {
        Ok(v6) => finish(port, vec![v4, v6]),
        Err(PortError::NoIpv6 { .. } | PortError::NotOurs { .. }) => finish(port, vec![v4]),
        Err(e) => Err(e),
    }
}

fn finish(port: &PublishedPort, sockets: Vec<OwnedFd>) -> Result<BoundPort, PortError> {
    let host_port = real_port(port, &sockets[0])?;
    Ok(BoundPort { published: PublishedPort { host_port, ..port.clone() }, sockets })
}

fn real_port(port: &PublishedPort, socket: &OwnedFd) -> Result<u16, PortError> {
    let named = || {
        let ip = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        HostPort { address: SocketAddr::new(ip, port.host_port), protocol: port.protocol }
    };
    let address =
        socket::local_address(socket).map_err(|source| PortError::Refused { port: named(), source })?;
    Ok(address.port())
}

/// Opens, binds and, for TCP, listens.
fn open(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, PortError> {
    let result = match protocol {
        Protocol::Tcp => open_tcp(address),
        Protocol::Udp => open_udp(address),
    };
    result.map_err(|source| explain(HostPort { address, protocol }, source))
}

fn open_tcp(address: SocketAddr) -> sys::Result<OwnedFd> {
    let fd = socket::open(address.ip(), SockType::Stream)?;
    // Connections of an earlier container may still wait in TIME_WAIT. A free port is chosen
    // without it, for then the kernel gives one that nobody has at all.
    if address.port() != 0 {
        setsockopt(&fd, sockopt::ReuseAddr, &true).call("setsockopt", || "SO_REUSEADDR".to_owned())?;
    }
    only_v6(&fd, address)?;
    socket::bind(&fd, address)?;
    // Accepted sockets inherit these.
    setsockopt(&fd, sockopt::TcpNoDelay, &true).call("setsockopt", || "TCP_NODELAY".to_owned())?;
    setsockopt(&fd, sockopt::KeepAlive, &true).call("setsockopt", || "SO_KEEPALIVE".to_owned())?;
    setsockopt(&fd, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE)
        .call("setsockopt", || "TCP_KEEPIDLE".to_owned())?;
    setsockopt(&fd, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL)
        .call("setsockopt", || "TCP_KEEPINTVL".to_owned())?;
    let backlog = Backlog::new(BACKLOG).call("listen", || BACKLOG.to_string())?;
    listen(&fd, backlog).call("listen", || address.to_string())?;
    Ok(fd)
}

fn open_udp(address: SocketAddr) -> sys::Result<OwnedFd> {
    let fd = socket::open(address.ip(), SockType::Datagram)?;
    only_v6(&fd, address)?;
    socket::report_destination(&fd, address.is_ipv6())?;
    socket::bind(&fd, address)?;
    Ok(fd)
}

/// IPv4 has a socket of its own.
fn only_v6(fd: &OwnedFd, address: SocketAddr) -> sys::Result<()> {
    if !address.is_ipv6() {
        return Ok(());
    }
    setsockopt(fd, sockopt::Ipv6V6Only, &true).call("setsockopt", || "IPV6_V6ONLY".to_owned())
}

fn explain(port: HostPort, source: sys::Error) -> PortError {
    match source.errno {
        Errno::EADDRINUSE => {
            let holder = holder::find(port.protocol, port.address.ip(), port.address.port());
            PortError::InUse { port, holder, source }
        }
        Errno::EACCES => PortError::Privileged { port, start: unprivileged_start(), source },
        Errno::EADDRNOTAVAIL => PortError::NotOurs { port, source },
        Errno::EAFNOSUPPORT if port.address.is_ipv6() => PortError::NoIpv6 { port, source },
        _ => PortError::Refused { port, source },
    }
}

/// The first port that needs no privileges on this host.
fn unprivileged_start() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port::parse_publish;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn publish(text: &str) -> Result<Vec<BoundPort>, PortError> {
        bind(&parse_publish(text).expect(text))
    }

    #[test]
    fn a_random_port_is_the_same_on_both_families() {
        for text in ["80", "53/udp"] {
            let bound = publish(text).expect("bind").remove(0);
            assert_ne!(bound.published.host_port, 0);
            for socket in &bound.sockets {
                let address = socket::local_address(socket).expect("address");
                assert_eq!(address.port(), bound.published.host_port);
            }
        }
    }

    #[test]
    fn bound_ports_keep_their_order_and_take_connections() {
        let free = publish("127.0.0.1::81").expect("bind").remove(0).published.host_port;
        let ports = [parse_publish("127.0.0.1::80"), parse_publish(&format!("127.0.0.1:{free}:81"))]
            .map(|p| p.expect("port"));
        let bound = bind(&ports.concat()).expect("bind");
        assert_eq!((bound[0].published.container_port, bound[1].published.host_port), (80, free));
        TcpStream::connect(("127.0.0.1", free)).expect("connect");
    }

    #[test]
    fn a_busy_port_names_its_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let tcp_port = tcp.local_addr().expect("address").port();
        let udp_port = udp.local_addr().expect("address").port();
        let own = format!("(pid {})", std::process::id());
        for text in [
            format!("127.0.0.1:{tcp_port}:80"),
            format!("{tcp_port}:80"),
            format!("127.0.0.1:{udp_port}:53/udp"),
        ] {
            let message = publish(&text).expect_err("busy").to_string();
            assert!(message.contains("port is already allocated, by "), "{message}");
            assert!(message.contains(&own), "{message}");
        }
    }

    #[test]
    fn one_container_cannot_have_a_port_twice() {
        let free = publish("127.0.0.1::80").expect("bind").remove(0).published.host_port;
        let once = parse_publish(&format!("127.0.0.1:{free}:80")).expect("port").remove(0);
        let twice = [once.clone(), once];
        assert!(matches!(bind(&twice), Err(PortError::InUse { .. })));
    }

    #[test]
    fn foreign_addresses_are_refused() {
        let error = publish("198.51.100.1:8080:80").expect_err("not ours");
        assert_eq!(
            error.to_string(),
            "cannot publish 198.51.100.1:8080/tcp: 198.51.100.1 is not an address of this host"
        );
    }

    #[test]
    fn a_low_port_names_the_setting() {
        let address = "0.0.0.0:80".parse().expect("address");
        let port = HostPort { address, protocol: Protocol::Tcp };
        let source = sys::Error::new("bind", "0.0.0.0:80", Errno::EACCES);
        let message = explain(port, source).to_string();
        assert!(message.starts_with("cannot publish 0.0.0.0:80/tcp: on this host ports below "), "{message}");
        assert!(message.ends_with("sysctl net.ipv4.ip_unprivileged_port_start=80"), "{message}");
    }
}
