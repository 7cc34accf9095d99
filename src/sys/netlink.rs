//! rtnetlink: one request, one answer, for the network namespace of the calling process.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage as Message};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockFlag, SockProtocol, SockType};

use super::error::{Context, Error, Result};

/// The loopback device's index: it is the first device of every network namespace.
const LOOPBACK: u32 = 1;

/// Enough for one part of a dump, which the kernel keeps below 32 KiB.
const DUMP: usize = 32 << 10;

/// How packets leave for a destination.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The source address the kernel would give them.
    pub source: Option<IpAddr>,
}

/// Which packets a rule sends to a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Packets that carry this mark.
    Mark(u32),
    /// UDP packets sent from this port.
    UdpFrom(u16),
}

/// A NETLINK_ROUTE socket. It speaks for the network namespace it was opened in.
#[derive(Debug)]
pub struct RouteSocket(OwnedFd);

impl RouteSocket {
    /// Opens the socket in the caller's network namespace.
    pub fn open() -> Result<RouteSocket> {
        let fd = socket::socket(
            socket::AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .call("socket", || "AF_NETLINK, NETLINK_ROUTE".to_owned())?;
        Ok(RouteSocket(fd))
    }

    /// `ip link set lo up`
    pub fn loopback_up(&self) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = LOOPBACK;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.change(Message::SetLink(link), 0, || "lo up".to_owned())
    }

    /// `ip link set DEVICE mtu BYTES txqueuelen PACKETS`
    pub fn tune(&self, device: &str, bytes: u32, packets: u32) -> Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(device.to_owned()));
        link.attributes.push(LinkAttribute::Mtu(bytes));
        link.attributes.push(LinkAttribute::TxQueueLen(packets));
        self.change(Message::SetLink(link), 0, || format!("{device} mtu {bytes} txqueuelen {packets}"))
    }

    /// `ip address add ADDRESS dev lo`, without a network around it.
    pub fn add_loopback_address(&self, address: IpAddr) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = host_prefix(address);
        message.header.index = LOOPBACK;
        message.attributes.push(AddressAttribute::Address(address));
        message.attributes.push(AddressAttribute::Local(address));
        let what = || format!("address {address} on lo");
        self.change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, what)
    }

    /// `ip rule add SELECTOR lookup TABLE priority PRIORITY`, for one address family.
    pub fn add_rule(&self, selector: Selector, table: u32, priority: u32, v6: bool) -> Result<()> {
        let mut rule = RuleMessage::default();
        rule.header.family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        rule.header.action = RuleAction::ToTable;
        rule.attributes.push(RuleAttribute::Table(table));
        rule.attributes.push(RuleAttribute::Priority(priority));
        match selector {
            Selector::Mark(mark) => rule.attributes.push(RuleAttribute::FwMark(mark)),
            Selector::UdpFrom(port) => {
                rule.attributes.push(RuleAttribute::IpProtocol(IpProtocol::Udp));
                let range = RulePortRange { start: port, end: port };
                rule.attributes.push(RuleAttribute::SourcePortRange(range));
            }
        }
        let what = || format!("rule {selector:?} lookup {table}");
        self.change(Message::NewRule(rule), NLM_F_CREATE | NLM_F_EXCL, what)
    }

    /// `ip route add local default dev lo table TABLE`: this host answers for every address.
    pub fn add_local_default(&self, table: u32, v6: bool) -> Result<()> {
        let mut route = local_route(table);
        route.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let what = || format!("local default dev lo table {table}");
        self.change(Message::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL, what)
    }

    /// `ip route add local ADDRESS dev lo src SOURCE table TABLE`: this host answers for one
    /// address, and speaks to it as `source`.
    pub fn add_local_host(&self, address: IpAddr, source: IpAddr, table: u32) -> Result<()> {
        let mut route = local_host(address, table);
        route.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
        let what = || format!("local {address} dev lo src {source} table {table}");
        self.change(Message::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL, what)
    }

    /// Takes back [`RouteSocket::add_local_host`].
    pub fn remove_local_host(&self, address: IpAddr, table: u32) -> Result<()> {
        let what = || format!("local {address} dev lo table {table}");
        self.change(Message::DelRoute(local_host(address, table)), 0, what)
    }

    /// How packets to `destination` would go; `None` when there is no way.
    pub fn way_to(&self, destination: IpAddr) -> Result<Option<Way>> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(destination);
        route.header.destination_prefix_length = host_prefix(destination);
        route.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
        let route = match self.exchange(Message::GetRoute(route), 0) {
            Ok(Some(Message::NewRoute(route))) => route,
            Ok(_) | Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => return Ok(None),
            Err(errno) => return Err(Error::new("netlink", format!("route to {destination}"), errno)),
        };
        let mut way = Way::default();
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Gateway(address) => way.gateway = internet(address),
                RouteAttribute::PrefSource(address) => way.source = internet(address),
                _ => {}
            }
        }
        Ok(Some(way))
    }

    /// The addresses of all devices with their prefix lengths, in the kernel's order.
    pub fn addresses(&self) -> Result<Vec<(IpAddr, u8)>> {
        let what = || "all addresses".to_owned();
        self.send(Message::GetAddress(AddressMessage::default()), NLM_F_DUMP).call("netlink", what)?;
        let mut addresses = Vec::new();
        let mut buffer = vec![0; DUMP];
        loop {
            let length = self.receive(&mut buffer).call("netlink", what)?;
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let message = parse(rest).call("netlink", what)?;
                match message.payload {
                    NetlinkPayload::InnerMessage(Message::NewAddress(found)) => {
                        addresses.extend(own_address(&found).map(|ip| (ip, found.header.prefix_len)));
                    }
                    NetlinkPayload::Error(e) => {
                        return Err(Error::new("netlink", what(), Errno::from_raw(-e.raw_code())));
                    }
                    NetlinkPayload::Done(_) => return Ok(addresses),
                    _ => {}
                }
                // netlink(7): messages are aligned to four bytes.
                let step = (message.header.length as usize).next_multiple_of(4).max(4);
                rest = rest.get(step..).unwrap_or_default();
            }
        }
    }

    /// A request that is answered by an acknowledgement alone.
    fn change(&self, message: Message, flags: u16, what: impl FnOnce() -> String) -> Result<()> {
        self.exchange(message, flags | NLM_F_ACK).map(drop).call("netlink", what)
    }

    /// Sends one request and reads its answer: the error, the acknowledgement, or the message
    /// asked for.
    fn exchange(&self, message: Message, flags: u16) -> nix::Result<Option<Message>> {
        self.send(message, flags)?;
        let mut buffer = [0; 4096];
        let length = self.receive(&mut buffer)?;
        match parse(&buffer[..length])?.payload {
            NetlinkPayload::Error(e) if e.code.is_some() => Err(Errno::from_raw(-e.raw_code())),
            NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
            _ => Ok(None),
        }
    }

    fn send(&self, message: Message, flags: u16) -> nix::Result<()> {
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.finalize();
        let mut request = vec![0; packet.buffer_len()];
        packet.serialize(&mut request);
        retry(|| socket::send(self.0.as_raw_fd(), &request, MsgFlags::empty())).map(drop)
    }

    fn receive(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        retry(|| socket::recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()))
    }
}

fn parse(bytes: &[u8]) -> nix::Result<NetlinkMessage<Message>> {
    NetlinkMessage::deserialize(bytes).map_err(|_| Errno::EBADMSG)
}

/// IPv4 names its own address IFA_LOCAL (IFA_ADDRESS is the peer's), IPv6 mostly IFA_ADDRESS.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn internet(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => continue,
            result => return result,
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn local_route(table: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.table = RouteHeader::RT_TABLE_UNSPEC;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Host;
    route.header.kind = RouteType::Local;
    route.attributes.push(RouteAttribute::Oif(LOOPBACK));
    route.attributes.push(RouteAttribute::Table(table));
    route
}

fn local_host(address: IpAddr, table: u32) -> RouteMessage {
    let mut route = local_route(table);
    route.header.address_family = family(address);
    route.header.destination_prefix_length = host_prefix(address);
    route.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_loopback_has_no_gateway() {
        let socket = RouteSocket::open().expect("netlink");
        let loopback = "127.0.0.1".parse().expect("ip");
        let way = socket.way_to(loopback).expect("answer");
        assert_eq!(way, Some(Way { gateway: None, source: Some(loopback) }));
    }

    #[test]
    fn all_addresses_are_listed() {
        let addresses = RouteSocket::open().expect("netlink").addresses().expect("answer");
        assert!(addresses.contains(&("127.0.0.1".parse().expect("ip"), 8)), "{addresses:?}");
    }

    #[test]
    fn a_refused_change_names_itself() {
        let socket = RouteSocket::open().expect("netlink");
        let error = socket.tune("nodevice0", 5000, 9).expect_err("no such device");
        assert!(error.to_string().starts_with("netlink(nodevice0 mtu 5000 txqueuelen 9): "), "{error}");
    }
}
