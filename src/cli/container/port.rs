//! `coracle port`: list the published ports of a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::port::port;
use crate::spec::port::PublishedPort;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container port", "port"],
        about: "List port mappings or a specific mapping for the container",
        usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
        arity: Arity::Between(1, 2),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let ports = port(context.engine()?, &words[0]).map_err(CommandError::failure)?;
        let Some(wanted) = words.get(1).filter(|wanted| !wanted.is_empty()) else {
            let line = |port| move |address| format!("{} -> {address}", PublishedPort::target(port));
            let lines = ports.iter().flat_map(|port| addresses(port).into_iter().map(line(port)));
            return print(context, lines.collect());
        };
        let target = target(wanted)?;
        let found: Vec<_> = ports.iter().filter(|port| port.target() == target).flat_map(addresses).collect();
        if !found.is_empty() {
            return print(context, found);
        }
        Err(CommandError::failure_text(format!("No public port '{wanted}' published for {}", words[0])))
    }
}

/// Prints the lines in docker's order.
fn print(context: &Context, mut lines: Vec<String>) -> Result<ExitCode, CommandError> {
    lines.sort_by_cached_key(|line| natural(line));
    lines.iter().try_for_each(|line| context.ui.line(line)).map(|()| ExitCode::SUCCESS)
}

/// A key that puts `80` before `443`: each run of digits counts as one number.
fn natural(text: &str) -> Vec<(char, u64)> {
    let mut key: Vec<(char, u64)> = Vec::new();
    let mut in_number = false;
    for c in text.chars() {
        match (c.to_digit(10), key.last_mut().filter(|_| in_number)) {
            (Some(digit), Some((_, number))) => *number = number.saturating_mul(10) + u64::from(digit),
            (Some(digit), None) => key.push(('0', u64::from(digit))),
            (None, _) => key.push((c, 0)),
        }
        in_number = c.is_ascii_digit();
    }
    key
}

/// The container's side as typed, with docker's default protocol.
fn target(text: &str) -> Result<String, CommandError> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match number.parse::<u16>() {
        Ok(number) => Ok(format!("{number}/{protocol}")),
        Err(_) => Err(CommandError::failure_text(format!(
            "invalid port ({number}): a number from 0 to 65535 is expected"
        ))),
    }
}

/// Where the host listens; on all addresses means in both families.
fn addresses(port: &PublishedPort) -> Vec<String> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = port.host_ip.map_or_else(|| all.to_vec(), |ip| vec![ip]);
    addresses.iter().map(|ip| std::net::SocketAddr::new(*ip, port.host_port).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port::parse_publish;

    #[test]
    fn lines_are_dockers() {
        let ports = parse_publish("8080:80").unwrap();
        assert_eq!(addresses(&ports[0]), ["0.0.0.0:8080", "[::]:8080"]);
        let ports = parse_publish("127.0.0.1:81:81/udp").unwrap();
        assert_eq!(addresses(&ports[0]), ["127.0.0.1:81"]);
        assert_eq!(target("80").unwrap(), "80/tcp");
        assert_eq!(target("80/udp").unwrap(), "80/udp");
        let mut lines =
            ["443/tcp -> [::]:1", "80/tcp -> [::]:9", "80/tcp -> 127.0.0.1:7", "80/tcp -> 0.0.0.0:80"];
        lines.sort_by_key(|line| natural(line));
        assert_eq!(
            lines,
            ["80/tcp -> 0.0.0.0:80", "80/tcp -> 127.0.0.1:7", "80/tcp -> [::]:9", "443/tcp -> [::]:1"]
        );
        assert!(target("x").is_err() && target("80-81").is_err());
    }
}
