//! The PORTS column of `ps`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::port::PublishedPort;

/// A row of ports that follow each other: `80-82/tcp`, `0.0.0.0:80-82->80-82/tcp`.
struct Range {
    address: Option<IpAddr>,
    protocol: String,
    first: u16,
    last: u16,
}

/// docker's order: ports with the same number outside and inside, and those not published, come
/// first and are folded into ranges; then every other mapping by itself.
pub fn table(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut all: Vec<(u16, Option<IpAddr>, u16, String)> = published.iter().flat_map(bindings).collect();
    all.extend(exposed.iter().filter_map(|port| {
        let (number, protocol) = port.split_once('/')?;
        Some((number.parse().ok()?, None, 0, protocol.to_owned()))
    }));
    all.sort();
    all.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    let mut open: BTreeMap<(Option<IpAddr>, String), usize> = BTreeMap::new();
    let mut mappings = Vec::new();
    for (inside, address, outside, protocol) in all {
        if let Some(ip) = address.filter(|_| outside != inside) {
            mappings.push(format!("{}:{outside}->{inside}/{protocol}", bracketed(ip)));
            continue;
        }
        let key = (address, protocol.clone());
        match open.get(&key).map(|i| &mut ranges[*i]).filter(|range| range.last + 1 == inside) {
            Some(range) => range.last = inside,
            None => {
                open.insert(key, ranges.len());
                ranges.push(Range { address, protocol, first: inside, last: inside });
            }
        }
    }
    let ranges = ranges.iter().map(Range::text);
    ranges.chain(mappings).collect::<Vec<_>>().join(", ")
}

/// A port on the wildcard is bound in both families.
fn bindings(port: &PublishedPort) -> Vec<(u16, Option<IpAddr>, u16, String)> {
    let both = || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let addresses = port.host_ip.map_or_else(both, |ip| vec![ip]);
    let name = port.protocol.name().to_owned();
    addresses.into_iter().map(|ip| (port.container_port, Some(ip), port.host_port, name.clone())).collect()
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

impl Range {
    fn text(&self) -> String {
        let numbers = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        match self.address {
            Some(ip) => format!("{}:{numbers}->{numbers}/{}", bracketed(ip), self.protocol),
            None => format!("{numbers}/{}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port::parse_publish;

    fn shown(publish: &[&str], exposed: &[&str]) -> String {
        let published: Vec<_> = publish.iter().flat_map(|text| parse_publish(text).unwrap()).collect();
        let exposed: Vec<_> = exposed.iter().map(|&text| text.to_owned()).collect();
        table(&published, &exposed)
    }

    #[test]
    fn mappings_follow_what_is_not_published() {
        let publish = ["8081:80", "9000-9001:90-91", "127.0.0.1:32769:81/udp", "32768:5000"];
        let expected = "443/udp, 0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, 127.0.0.1:32769->81/udp, \
            0.0.0.0:9000->90/tcp, [::]:9000->90/tcp, 0.0.0.0:9001->91/tcp, [::]:9001->91/tcp, \
            0.0.0.0:32768->5000/tcp, [::]:32768->5000/tcp";
        assert_eq!(shown(&publish, &["443/udp"]), expected);
    }

    #[test]
    fn equal_numbers_fold_into_ranges() {
        assert_eq!(shown(&["80-82:80-82"], &[]), "0.0.0.0:80-82->80-82/tcp, [::]:80-82->80-82/tcp");
        assert_eq!(shown(&[], &["80/tcp", "81/tcp", "83/tcp", "81/udp"]), "80-81/tcp, 81/udp, 83/tcp");
        assert_eq!(shown(&[], &[]), "");
    }
}
