//! Internet sockets: what the standard library and nix do not give.
//!
//! All sockets made here are non-blocking and closed on exec.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrLike,
    SockaddrStorage, setsockopt, sockopt,
};

use super::error::{Context, Error, Result};

/// A TCP or UDP socket for addresses of `address`'s family.
pub fn open(address: IpAddr, kind: SockType) -> Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket::socket(family, kind, flags, None).call("socket", || format!("{family:?}, {kind:?}"))
}

/// bind(2)
pub fn bind(socket: impl AsFd, address: SocketAddr) -> Result<()> {
    socket::bind(socket.as_fd().as_raw_fd(), &SockaddrStorage::from(address))
        .call("bind", || address.to_string())
}

/// connect(2) on a non-blocking socket: EINPROGRESS is success.
pub fn connect(socket: impl AsFd, address: SocketAddr) -> Result<()> {
    match socket::connect(socket.as_fd().as_raw_fd(), &SockaddrStorage::from(address)) {
        Err(Errno::EINPROGRESS) => Ok(()),
        result => result.call("connect", || address.to_string()),
    }
}

/// The address a socket is bound to.
pub fn local_address(socket: impl AsFd) -> Result<SocketAddr> {
    let address: SockaddrStorage =
        socket::getsockname(socket.as_fd().as_raw_fd()).call("getsockname", String::new)?;
    internet(&address).ok_or_else(|| Error::new("getsockname", "", Errno::EAFNOSUPPORT))
}

fn internet(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
}

/// accept4(2): the next connection and its peer; `None` when nobody waits any more.
///
/// Connections that broke while they waited are skipped, as accept(2) advises.
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<(OwnedFd, SocketAddr)>> {
    loop {
        // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let pointer = (&raw mut storage).cast::<libc::sockaddr>();
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `pointer` and `length` describe `storage`, which outlives the call.
        let fd = unsafe { libc::accept4(listener.as_raw_fd(), pointer, &raw mut length, flags) };
        if fd >= 0 {
            // SAFETY: accept4 just returned this descriptor, so nobody else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            // SAFETY: the kernel wrote an address of `length` bytes into `storage`.
            let address = unsafe { SockaddrStorage::from_raw(pointer, Some(length)) };
            return match address.as_ref().and_then(internet) {
                Some(peer) => Ok(Some((fd, peer))),
                None => Err(Error::new("accept4", "", Errno::EAFNOSUPPORT)),
            };
        }
        match Errno::last() {
            Errno::EAGAIN => return Ok(None),
            // accept(2), "Error handling": network errors of the waiting connection itself.
            Errno::EINTR
            | Errno::ECONNABORTED
            | Errno::ENETDOWN
            | Errno::EPROTO
            | Errno::ENOPROTOOPT
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EHOSTUNREACH
            | Errno::EOPNOTSUPP
            | Errno::ENETUNREACH => continue,
            errno => return Err(Error::new("accept4", "", errno)),
        }
    }
}

/// Lets the socket bind to an address that is not this host's (IP_TRANSPARENT; needs
/// CAP_NET_RAW or CAP_NET_ADMIN over the network namespace).
pub fn set_transparent(socket: impl AsFd, v6: bool) -> Result<()> {
    if !v6 {
        return setsockopt(&socket, sockopt::IpTransparent, &true)
            .call("setsockopt", || "IP_TRANSPARENT".to_owned());
    }
    set_flag(socket.as_fd(), libc::SOL_IPV6, IPV6_TRANSPARENT)
        .map_err(|e| Error::new("setsockopt", "IPV6_TRANSPARENT", e))
}

/// Ties the socket to the loopback device, which is the first of every network namespace
/// (SO_BINDTOIFINDEX). Ports in TIME_WAIT of such sockets can be used again after a second
/// (ip-sysctl.rst, "tcp_tw_reuse").
pub fn bind_to_loopback(socket: impl AsFd) -> Result<()> {
    set_flag(socket.as_fd(), libc::SOL_SOCKET, SO_BINDTOIFINDEX)
        .map_err(|e| Error::new("setsockopt", "SO_BINDTOIFINDEX, lo", e))
}

/// asm-generic/socket.h; missing from the libc crate for some targets.
const SO_BINDTOIFINDEX: libc::c_int = 62;

/// linux/in6.h; missing from the libc crate for some targets.
const IPV6_TRANSPARENT: libc::c_int = 75;

/// Sets an integer option to 1.
fn set_flag(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> nix::Result<()> {
    let value: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, which is the size of `value`.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    Errno::result(result).map(drop)
}

/// Makes the coming close send RST instead of FIN, and forget unsent data.
pub fn reset_on_close(socket: impl AsFd) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&socket, sockopt::Linger, &linger).call("setsockopt", || "SO_LINGER".to_owned())
}

/// The error of a connection attempt that ended, if it failed (SO_ERROR; reading clears it).
pub fn take_error(socket: impl AsFd) -> Option<Errno> {
    match socket::getsockopt(&socket, sockopt::SocketError) {
        Ok(0) => None,
        Ok(code) => Some(Errno::from_raw(code)),
        Err(errno) => Some(errno),
    }
}

/// recv(2). `Ok(0)`: end of file. EAGAIN: nothing there yet.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match socket::recv(socket.as_fd().as_raw_fd(), buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            result => return result,
        }
    }
}

/// send(2) without SIGPIPE.
pub fn transmit(socket: impl AsFd, bytes: &[u8]) -> nix::Result<usize> {
    loop {
        match socket::send(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => continue,
            result => return result,
        }
    }
}

/// Asks for the local address of each datagram (see [`receive_from`]).
pub fn report_destination(socket: impl AsFd, v6: bool) -> Result<()> {
    if v6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)
    }
    .call("setsockopt", || "IP_PKTINFO".to_owned())
}

/// Where a datagram came from and which of this host's addresses it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    pub peer: SocketAddr,
    /// This host's address, and the device where the address alone does not tell (IPv6).
    pub local: Option<(IpAddr, u32)>,
}

/// Receives one datagram; its length and route. EAGAIN: nothing there yet.
pub fn receive_from(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<(usize, Route)> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [std::io::IoSliceMut::new(buffer)];
    let message = loop {
        match socket::recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Err(Errno::EINTR) => continue,
            result => break result?,
        }
    };
    let peer = message.address.as_ref().and_then(internet).ok_or(Errno::EAFNOSUPPORT)?;
    let local = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some((IpAddr::from(u32::from_be(info.ipi_spec_dst.s_addr).to_be_bytes()), 0))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some((IpAddr::from(info.ipi6_addr.s6_addr), info.ipi6_ifindex))
        }
        _ => None,
    });
    Ok((message.bytes, Route { peer, local }))
}

/// Answers along a route that [`receive_from`] reported.
pub fn send_back(socket: BorrowedFd<'_>, bytes: &[u8], route: &Route) -> nix::Result<usize> {
    let parts = [std::io::IoSlice::new(bytes)];
    let peer = SockaddrStorage::from(route.peer);
    let send = |control: &[ControlMessage<'_>]| {
        socket::sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, Some(&peer))
    };
    match route.local {
        None => send(&[]),
        Some((IpAddr::V4(ip), _)) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: source,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some((IpAddr::V6(ip), device)) => {
            let source = libc::in6_addr { s6_addr: ip.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: device };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn accepts_with_the_peer_then_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        assert!(accept(listener.as_fd()).expect("accept").is_none());
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (_, peer) = accept(listener.as_fd()).expect("accept").expect("a connection");
        assert_eq!(peer, client.local_addr().expect("address"));
    }

    #[test]
    fn a_refused_connection_is_reported_once() {
        let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
        let socket = open(free.ip(), SockType::Stream).expect("socket");
        // The attempt on loopback may end inside the call or after it.
        let failed = connect(&socket, free).map_err(|e| e.errno).err().or_else(|| take_error(&socket));
        assert_eq!(failed, Some(Errno::ECONNREFUSED));
        assert_eq!(take_error(&socket), None);
    }

    #[test]
    fn datagrams_go_back_from_the_address_they_came_to() {
        for (any, target) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let Ok(server) = UdpSocket::bind(any) else { continue };
            let v6 = any.starts_with('[');
            report_destination(&server, v6).expect("option");
            let target: IpAddr = target.parse().expect("ip");
            let to = SocketAddr::new(target, server.local_addr().expect("address").port());
            let client = UdpSocket::bind(SocketAddr::new(target, 0)).expect("bind");
            client.connect(to).expect("connect");
            client.send(b"ping").expect("send");
            let mut buffer = [0; 16];
            let (length, route) = receive_from(server.as_fd(), &mut buffer).expect("receive");
            assert_eq!((length, route.peer), (4, client.local_addr().expect("address")));
            assert_eq!(route.local.expect("local").0, target);
            assert_eq!(send_back(server.as_fd(), b"pong", &route), Ok(4));
            assert_eq!(client.recv(&mut buffer).expect("answer"), 4);
        }
    }
}
