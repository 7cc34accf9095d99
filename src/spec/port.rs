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

/// Why a published port makes no sense; the words are docker's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPort {
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("publishing ports of {0} is not supported yet (tcp and udp are)")]
    MissingProtocol(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid IP address {0}: address {0}:: {1}")]
    AddressForm(String, &'static str),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
    #[error("a range of host ports for one port of the container is not supported yet: {0}")]
    HostRange(String),
}

/// Parses one `-p` argument into the ports it publishes.
pub fn parse_publish(text: &str) -> Result<Vec<PublishedPort>, InvalidPort> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, ""));
    let (ip, host, container) = split_parts(rest);
    if container.is_empty() {
        return Err(InvalidPort::NoPort(rest.to_owned()));
    }
    let host_ip = match unbracketed(&ip)? {
        "" => None,
        ip => Some(IpAddr::from_str(ip).map_err(|_| InvalidPort::Address(ip.to_owned()))?),
    };
    let (first, last) =
        parse_range(container).ok_or_else(|| InvalidPort::ContainerPort(container.to_owned()))?;
    let count = last - first;
    let host_first = match host {
        "" => None,
        host => {
            let (a, b) = parse_range(host).ok_or_else(|| InvalidPort::HostPort(host.to_owned()))?;
            match b - a {
                n if n == count => Some(a),
                _ if count == 0 => return Err(InvalidPort::HostRange(text.to_owned())),
                _ => return Err(InvalidPort::Ranges(container.to_owned(), host.to_owned())),
            }
        }
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => return Err(InvalidPort::MissingProtocol(protocol.to_owned())),
        _ => return Err(InvalidPort::Protocol(protocol.to_owned())),
    };
    if first == 0 {
        // docker takes it, and nobody can listen on it.
        return Err(InvalidPort::ContainerPort(container.to_owned()));
    }
    let host_port = |i| host_first.filter(|first| *first > 0).map_or(0, |first| first + i);
    let port = |i| PublishedPort { host_ip, host_port: host_port(i), container_port: first + i, protocol };
    Ok((0..=count).map(port).collect())
}

/// Address, host port and container port, empty where not given. The address may hold colons.
fn split_parts(text: &str) -> (String, &str, &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [container] => (String::new(), "", container),
        [ref ip @ .., host, container] => (ip.join(":"), host, container),
        [] => (String::new(), "", ""),
    }
}

/// An address with colons stands in brackets.
fn unbracketed(ip: &str) -> Result<&str, InvalidPort> {
    let wrong = |why| Err(InvalidPort::AddressForm(ip.to_owned(), why));
    match ip.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').map_or_else(|| wrong("missing ']' in address"), Ok),
        None if ip.contains(':') => wrong("too many colons in address"),
        None => Ok(ip),
    }
}

/// `80` or `80-82`.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (first, last) = match text.split_once('-') {
        Some((a, b)) => (port(a)?, port(b)?),
        None => (port(text)?, port(text)?),
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
        assert_eq!(one(":80"), any);
        assert_eq!(one("0:80/"), any);
        assert_eq!(one("80/TCP"), any);
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
        let cases = [
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("x", "invalid containerPort: x"),
            ("80:0", "invalid containerPort: 0"),
            ("80:+1", "invalid containerPort: +1"),
            ("80/what", "invalid proto: what"),
            ("80/sctp", "publishing ports of sctp is not supported yet (tcp and udp are)"),
            ("1:2:3:4", "invalid IP address 1:2: address 1:2:: too many colons in address"),
            ("[::1:80:80", "invalid IP address [::1: address [::1:: missing ']' in address"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("127.0.0.1:80", "invalid hostPort: 127.0.0.1"),
            ("70000:80", "invalid hostPort: 70000"),
            ("9-8:1-2", "invalid hostPort: 9-8"),
            ("1-3:1-2", "invalid ranges specified for container and host Ports: 1-2 and 1-3"),
            ("1-3:1", "a range of host ports for one port of the container is not supported yet: 1-3:1"),
        ];
        for (text, words) in cases {
            assert_eq!(parse_publish(text).map_err(|e| e.to_string()), Err(words.to_owned()), "{text}");
        }
    }
}
