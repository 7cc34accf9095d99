//! Who holds a port on this host, for the message of a failed `-p`. Read from /proc by the
//! process that failed to bind.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::spec::port::Protocol;

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process that this user may look into.
    Process { pid: i32, name: String },
    /// Somebody else's; only the owner of the socket is known.
    User { uid: u32 },
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Process { pid, name } => write!(f, "{name} (pid {pid})"),
            Holder::User { uid } => write!(f, "a process of uid {uid}"),
        }
    }
}

/// A socket of /proc/net/{tcp,udp}*.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    uid: u32,
    inode: u64,
}

/// Finds who keeps `port` from being bound at `address`. `None` when it was given up meanwhile or
/// lives where /proc does not show it.
pub fn find(protocol: Protocol, address: IpAddr, port: u16) -> Option<Holder> {
    let name = protocol.name();
    let tables = [format!("/proc/net/{name}"), format!("/proc/net/{name}6")];
    let entries = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    let entry = entries
        .flat_map(|text| holding(&text, protocol, port))
        .find(|entry| collide(entry.address, address))?;
    Some(process_of(entry.inode).unwrap_or(Holder::User { uid: entry.uid }))
}

/// The table's sockets that have `port`: listening ones for TCP, all for UDP.
fn holding(table: &str, protocol: Protocol, port: u16) -> Vec<Entry> {
    const LISTEN: &str = "0A";
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, _, inode, ..] = fields[..] else { return None };
        let (address, number) = local.split_once(':')?;
        let wanted =
            u16::from_str_radix(number, 16) == Ok(port) && (protocol == Protocol::Udp || state == LISTEN);
        let address = wanted.then(|| parse_address(address)).flatten()?;
        Some(Entry { address, uid: uid.parse().ok()?, inode: inode.parse().ok()? })
    };
    table.lines().filter_map(parse).collect()
}

/// Groups of eight hex digits, each a 32-bit word in this machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |i: usize| u32::from_str_radix(text.get(8 * i..8 * i + 8)?, 16).ok();
    if text.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())));
    }
    let mut bytes = [0; 16];
    for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(i)?.to_ne_bytes());
    }
    Some(IpAddr::V6(Ipv6Addr::from(bytes)))
}

/// Whether two sockets on one port get into each other's way. An IPv6 wildcard may cover IPv4
/// too; the table does not say, so it counts.
fn collide(held: IpAddr, wanted: IpAddr) -> bool {
    let held = held.to_canonical();
    if held.is_ipv4() != wanted.is_ipv4() {
        return held == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    }
    held == wanted || held.is_unspecified() || wanted.is_unspecified()
}

/// The process that has the socket open, among those this user may look into.
fn process_of(inode: u64) -> Option<Holder> {
    let target = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if has_open(&process.path().join("fd"), Path::new(&target)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder::Process { pid, name: name.trim_end().to_owned() });
        }
    }
    None
}

fn has_open(descriptors: &Path, target: &Path) -> bool {
    let Ok(entries) = fs::read_dir(descriptors) else { return false };
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100
";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listening_sockets_hold_a_tcp_port() {
        let expected = Entry { address: "127.0.0.1".parse().expect("ip"), uid: 1000, inode: 4711 };
        assert_eq!(holding(TABLE, Protocol::Tcp, 8080), [expected]);
        assert_eq!(holding(TABLE, Protocol::Tcp, 80), []);
        assert_eq!(holding(TABLE, Protocol::Udp, 8080).len(), 2);
    }

    #[test]
    fn wildcards_collide_with_everything_of_their_family() {
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        for (held, wanted, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("::", "127.0.0.1", true),
            ("::1", "0.0.0.0", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(collide(ip(held), ip(wanted)), expected, "{held} {wanted}");
        }
    }

    #[test]
    fn this_process_is_found_by_its_sockets() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let ports = [
            (Protocol::Tcp, tcp.local_addr().expect("address")),
            (Protocol::Udp, udp.local_addr().expect("address")),
        ];
        for (protocol, address) in ports {
            let holder = find(protocol, address.ip(), address.port()).expect("holder");
            let own = std::process::id().cast_signed();
            assert!(matches!(holder, Holder::Process { pid, .. } if pid == own), "{holder}");
        }
    }
}
