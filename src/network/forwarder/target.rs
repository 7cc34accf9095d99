//! The container's side: its addresses, and sockets towards them that carry the client's
//! address as their source where the kernel allows it.
//!
//! A socket for a client of 192.0.2.9 is bound to 192.0.2.9 inside the container's network
//! namespace (IP_TRANSPARENT). Its packets carry a mark; the accepted socket inherits the mark
//! (net.ipv4.tcp_fwmark_accept), a refusal repeats it (fwmark_reflect), and a rule sends marked packets to a routing table in which
//! every address is local. So the answers come back to this process, and the container's other
//! packets never meet that table. UDP servers do not inherit marks: for them, packets from the
//! published port to a present client are caught instead.
//!
//! Clients on the host's loopback have no address that means anything inside the container;
//! they appear as the gateway, as with docker.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{SockType, setsockopt, sockopt};

use crate::network::links::{OUTSIDE_V4, OUTSIDE_V6};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::netlink::{RouteSocket, Selector};
use crate::sys::socket;

/// Arbitrary, and unlikely to be chosen by a container's own rules ("cora", "col").
const MARK: u32 = 0x636f_7261;
const MARKED: u32 = 0x63_6f6c;
const ANSWERS: u32 = 0x63_6f6d;
/// After the table of local addresses (0), before the main one (32766).
const PRIORITY: u32 = 1000;
/// How often the addresses are looked up again at most.
const REFRESH: Duration = Duration::from_secs(1);

/// The container's addresses as last seen.
#[derive(Debug, Default, Clone, Copy)]
struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    gateway_v4: Option<IpAddr>,
    gateway_v6: Option<IpAddr>,
}

#[derive(Debug)]
pub(super) struct Target {
    addresses: Addresses,
    seen: Option<Instant>,
    keeps_source: bool,
    /// Speaks for the container's network namespace.
    netlink: RouteSocket,
    /// Clients whose UDP answers are caught, and how many sessions need that.
    answered: HashMap<IpAddr, usize>,
}

impl Target {
    /// A target without source addresses, in the caller's network namespace.
    pub(super) fn plain() -> sys::Result<Target> {
        Ok(Target {
            addresses: Addresses::default(),
            seen: None,
            keeps_source: false,
            netlink: RouteSocket::open()?,
            answered: HashMap::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn fixed(v4: Ipv4Addr) -> Target {
        let addresses = Addresses { v4: Some(v4), ..Addresses::default() };
        Target {
            addresses,
            seen: Some(Instant::now() + Duration::from_secs(3600)),
            ..Target::plain().expect("netlink")
        }
    }

    /// Prepares the network namespace for sockets with foreign sources. IPv6 is not required.
    ///
    /// # Errors
    /// This kernel or these capabilities do not allow it: the target stays plain.
    pub(super) fn keep_sources(&mut self, udp_ports: &[u16]) -> sys::Result<()> {
        accept_marks()?;
        for v6 in [false, true] {
            match prepare(&self.netlink, udp_ports, v6) {
                Err(_) if v6 => {}
                result => result?,
            }
        }
        self.keeps_source = true;
        Ok(())
    }

    /// Whether the caller's capabilities suffice for such sockets.
    pub(super) fn can_mark() -> bool {
        let marked = || {
            let socket = socket::open(IpAddr::V4(Ipv4Addr::LOCALHOST), SockType::Stream)?;
            mark(&socket, false)
        };
        marked().is_ok()
    }

    /// Where a client is sent: the container's address of its own family first. A server may
    /// listen on the other one only.
    pub(super) fn candidates(&mut self, client: IpAddr) -> [Option<IpAddr>; 2] {
        let known = self.addresses;
        let missing = if client.is_ipv6() { known.v6.is_none() } else { known.v4.is_none() };
        if missing {
            self.refresh();
        }
        let v4 = self.addresses.v4.map(IpAddr::V4);
        let v6 = self.addresses.v6.map(IpAddr::V6);
        let (first, second) = if client.is_ipv6() { (v6, v4) } else { (v4, v6) };
        if first.is_some() { [first, second] } else { [second, None] }
    }

    /// Looks at the devices again, at most once a second.
    pub(super) fn refresh(&mut self) {
        if self.seen.is_some_and(|seen| seen > Instant::now() || seen.elapsed() < REFRESH) {
            return;
        }
        self.seen = Some(Instant::now());
        // Without an answer the last known addresses are still the best guess.
        if let Ok(addresses) = look(&self.netlink) {
            self.addresses = addresses;
        }
    }

    /// A TCP socket that is connecting to the container for `client`.
    pub(super) fn connect(&self, client: SocketAddr, to: SocketAddr) -> sys::Result<OwnedFd> {
        let socket = self.open(SockType::Stream, client, to)?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true).call("setsockopt", || "TCP_NODELAY".to_owned())?;
        Ok(socket)
    }

    /// A UDP socket connected to the container for `client`, and the source whose answers are
    /// caught for it, to be given back with [`Target::release`].
    pub(super) fn associate(
        &mut self,
        client: SocketAddr,
        to: SocketAddr,
    ) -> sys::Result<(OwnedFd, Option<IpAddr>)> {
        let source = self.source(client, to.ip()).map(|source| source.ip());
        let caught = source.filter(|&source| self.catch_answers(source, to.ip()));
        if caught.is_none() {
            return Ok((open_plain(SockType::Datagram, to)?, None));
        }
        match self.open(SockType::Datagram, client, to) {
            Ok(socket) => Ok((socket, caught)),
            Err(e) => {
                self.release(caught);
                Err(e)
            }
        }
    }

    fn catch_answers(&mut self, source: IpAddr, own: IpAddr) -> bool {
        if let Some(users) = self.answered.get_mut(&source) {
            *users += 1;
            return true;
        }
        let caught = self.netlink.add_local_host(source, own, ANSWERS).is_ok();
        if caught {
            self.answered.insert(source, 1);
        }
        caught
    }

    pub(super) fn release(&mut self, source: Option<IpAddr>) {
        let Some(source) = source else { return };
        let Some(users) = self.answered.get_mut(&source) else { return };
        *users -= 1;
        if *users == 0 {
            self.answered.remove(&source);
            // A route that is gone already is what was wanted.
            let _ = self.netlink.remove_local_host(source, ANSWERS);
        }
    }

    fn open(&self, kind: SockType, client: SocketAddr, to: SocketAddr) -> sys::Result<OwnedFd> {
        let Some(source) = self.source(client, to.ip()) else { return open_plain(kind, to) };
        match open_from(kind, source, to) {
            // The client's port is in use here, for another published port: the address matters
            // more than the port.
            Err(e) if source.port() != 0 && (e.is(Errno::EADDRINUSE) || e.is(Errno::EADDRNOTAVAIL)) => {
                open_from(kind, SocketAddr::new(source.ip(), 0), to)
            }
            result => result,
        }
        .or_else(|_| open_plain(kind, to))
    }

    /// The address a client appears as; port 0: any.
    fn source(&self, client: SocketAddr, to: IpAddr) -> Option<SocketAddr> {
        // pasta gives the container the host's own IPv6 address; between equal addresses a plain
        // socket shows the same.
        if !self.keeps_source || client.ip() == to {
            return None;
        }
        let link_local = matches!(client.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        if client.is_ipv4() == to.is_ipv4() && !client.ip().is_loopback() && !link_local {
            return Some(client);
        }
        let gateway = if to.is_ipv4() { self.addresses.gateway_v4 } else { self.addresses.gateway_v6 };
        gateway.map(|ip| SocketAddr::new(ip, 0))
    }
}

fn open_plain(kind: SockType, to: SocketAddr) -> sys::Result<OwnedFd> {
    let socket = socket::open(to.ip(), kind)?;
    socket::connect(&socket, to)?;
    Ok(socket)
}

fn open_from(kind: SockType, source: SocketAddr, to: SocketAddr) -> sys::Result<OwnedFd> {
    let socket = socket::open(to.ip(), kind)?;
    mark(&socket, to.is_ipv6())?;
    if source.port() == 0 {
        // The port is chosen by connect, which may reuse one towards another place.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)
            .call("setsockopt", || "IP_BIND_ADDRESS_NO_PORT".to_owned())?;
    } else if kind == SockType::Stream {
        setsockopt(&socket, sockopt::ReuseAddr, &true).call("setsockopt", || "SO_REUSEADDR".to_owned())?;
    }
    socket::bind(&socket, source)?;
    socket::connect(&socket, to)?;
    Ok(socket)
}

fn mark(socket: &OwnedFd, v6: bool) -> sys::Result<()> {
    socket::set_transparent(socket, v6)?;
    setsockopt(socket, sockopt::Mark, &MARK).call("setsockopt", || "SO_MARK".to_owned())?;
    socket::bind_to_loopback(socket)
}

/// Lets accepted sockets, and refusals that come from no socket, carry the mark of the packet
/// they answer. Only marked packets are answered otherwise than before.
fn accept_marks() -> sys::Result<()> {
    let set = |setting: &str| std::fs::write(setting, "1").call("write", || setting.to_owned());
    // This one serves IPv6 as well.
    set("/proc/sys/net/ipv4/tcp_fwmark_accept")?;
    set("/proc/sys/net/ipv4/fwmark_reflect")?;
    // Not there without IPv6.
    let _ = set("/proc/sys/net/ipv6/fwmark_reflect");
    Ok(())
}

fn prepare(netlink: &RouteSocket, udp_ports: &[u16], v6: bool) -> sys::Result<()> {
    netlink.add_local_default(MARKED, v6)?;
    netlink.add_rule(Selector::Mark(MARK), MARKED, PRIORITY, v6)?;
    for port in udp_ports {
        netlink.add_rule(Selector::UdpFrom(*port), ANSWERS, PRIORITY, v6)?;
    }
    Ok(())
}

/// The first address of each family that is not loopback's.
fn look(netlink: &RouteSocket) -> sys::Result<Addresses> {
    let mut found = Addresses::default();
    for (address, _) in netlink.addresses()? {
        match address {
            IpAddr::V4(ip) if !ip.is_loopback() => {
                found.v4.get_or_insert(ip);
            }
            IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() => {
                found.v6.get_or_insert(ip);
            }
            _ => {}
        }
    }
    let gateway = |outside| netlink.way_to(outside).map(|way| way.and_then(|way| way.gateway));
    found.gateway_v4 = gateway(OUTSIDE_V4)?;
    // A kernel without IPv6 refuses to answer; a link-local gateway is nobody's source.
    found.gateway_v6 = gateway(OUTSIDE_V6)
        .unwrap_or_default()
        .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(keeps_source: bool) -> Target {
        let addresses = Addresses {
            v4: Some(Ipv4Addr::new(10, 0, 2, 100)),
            v6: None,
            gateway_v4: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2))),
            gateway_v6: None,
        };
        let seen = Some(Instant::now() + Duration::from_secs(3600));
        Target { addresses, seen, keeps_source, ..Target::plain().expect("netlink") }
    }

    #[test]
    fn clients_keep_their_address_and_loopback_becomes_the_gateway() {
        let own: IpAddr = "10.0.2.100".parse().expect("ip");
        let appears = |client: &str, keep| {
            target(keep).source(client.parse().expect("address"), own).map(|source| source.to_string())
        };
        assert_eq!(appears("192.0.2.9:4000", true).as_deref(), Some("192.0.2.9:4000"));
        assert_eq!(appears("127.0.0.1:4000", true).as_deref(), Some("10.0.2.2:0"));
        assert_eq!(appears("[2001:db8::9]:4000", true).as_deref(), Some("10.0.2.2:0"));
        assert_eq!(appears("192.0.2.9:4000", false), None);
    }

    #[test]
    fn a_family_the_container_lacks_is_served_by_the_other() {
        let own = Some("10.0.2.100".parse().expect("ip"));
        let mut target = target(true);
        assert_eq!(target.candidates("::1".parse().expect("ip")), [own, None]);
        assert_eq!(target.candidates("192.0.2.9".parse().expect("ip")), [own, None]);
    }
}
