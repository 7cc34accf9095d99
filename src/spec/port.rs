//! Published ports: `-p [ip:][hostPort:]containerPort[/tcp|udp]`, with ranges.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// `None`: all addresses, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// `0`: any free port, chosen at start.
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl PublishedPort {
    /// The container's side, as docker writes it: `80/tcp`.
    pub fn target(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol.name())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPort {
    #[error("invalid publish opts format (should be [ip:][hostPort:]containerPort[/protocol]): {0:?}")]
    Format(String),
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid proto: {0} (tcp and udp can be published)")]
    Protocol(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
}

/// Parses one `-p` argument; a range gives several ports.
pub fn parse_publish(text: &str) -> Result<Vec<PublishedPort>, InvalidPort> {
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, "tcp")) => (rest, Protocol::Tcp),
        Some((rest, "udp")) => (rest, Protocol::Udp),
        Some((_, other)) => return Err(InvalidPort::Protocol(other.to_owned())),
        None => (text, Protocol::Tcp),
    };
    let (ip, host, container) = split_parts(rest).ok_or_else(|| InvalidPort::Format(text.to_owned()))?;
    let host_ip = match ip {
        None | Some("") => None,
        Some(ip) => Some(IpAddr::from_str(ip).map_err(|_| InvalidPort::Address(ip.to_owned()))?),
    };
    let (first, last) =
        parse_range(container).ok_or_else(|| InvalidPort::ContainerPort(container.to_owned()))?;
    if first == 0 {
        return Err(InvalidPort::ContainerPort(container.to_owned()));
    }
    let count = last - first;
    let host_first = match host {
        None | Some("") | Some("0") => None,
        Some(host) => {
            let (a, b) = parse_range(host).ok_or_else(|| InvalidPort::HostPort(host.to_owned()))?;
            if b - a != count {
                return Err(InvalidPort::Ranges(container.to_owned(), host.to_owned()));
            }
            Some(a)
        }
    };
    Ok((0..=count)
        .map(|i| PublishedPort {
            host_ip,
            host_port: host_first.map_or(0, |h| h + i),
            container_port: first + i,
            protocol,
        })
        .collect())
}

/// `[ip:][host:]container` where the address may be a bracketed IPv6 one.
fn split_parts(text: &str) -> Option<(Option<&str>, Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once("]:")?;
        return Some(match rest.split_once(':') {
            Some((host, container)) => (Some(ip), Some(host), container),
            None => (Some(ip), None, rest),
        });
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [container] => Some((None, None, container)),
        [host, container] if host.contains('.') => Some((Some(host), None, container)),
        [host, container] => Some((None, Some(host), container)),
        [ip, host, container] => Some((Some(ip), Some(host), container)),
        _ => None,
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        Some((a, b)) => (a.parse().ok()?, b.parse().ok()?),
        None => {
            let port = text.parse().ok()?;
            (port, port)
        }
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> PublishedPort {
        let mut ports = parse_publish(text).expect(text);
        assert_eq!(ports.len(), 1);
        ports.remove(0)
    }

    #[test]
    fn every_form() {
        let any = PublishedPort { host_ip: None, host_port: 0, container_port: 80, protocol: Protocol::Tcp };
        assert_eq!(one("80"), any);
        assert_eq!(one("80/udp"), PublishedPort { protocol: Protocol::Udp, ..any.clone() });
        assert_eq!(one("8080:80"), PublishedPort { host_port: 8080, ..any.clone() });
        let local = Some("127.0.0.1".parse().expect("ip"));
        assert_eq!(
            one("127.0.0.1:8080:80"),
            PublishedPort { host_ip: local, host_port: 8080, ..any.clone() }
        );
        assert_eq!(one("127.0.0.1::80"), PublishedPort { host_ip: local, ..any.clone() });
        let six = Some("::1".parse().expect("ip"));
        assert_eq!(one("[::1]:8080:80"), PublishedPort { host_ip: six, host_port: 8080, ..any });
        let ports = parse_publish("9000-9002:80-82").expect("range");
        assert_eq!(
            ports.iter().map(|p| (p.host_port, p.container_port)).collect::<Vec<_>>(),
            [(9000, 80), (9001, 81), (9002, 82)]
        );
    }

    #[test]
    fn refuses() {
        for text in ["", "x", "80/sctp", "1:2:3:4", "70000:80", "80:0", "9-8:1-2", "1-3:1-2", "1.2.3:80:80"] {
            assert!(parse_publish(text).is_err(), "{text}");
        }
    }
}
