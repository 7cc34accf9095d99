//! Decides a container's network from what was asked for and what the host has. Pure.
//!
//! Called by the monitor (and by the client, to refuse early); nothing here touches the system.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::spec::container::NetworkMode;
use crate::spec::port::PublishedPort;

/// The programs and the device that user-mode networking needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    pub slirp4netns: Option<PathBuf>,
    pub pasta: Option<PathBuf>,
    /// `/dev/net/tun` can be opened.
    pub tun: bool,
}

/// What the host's own network looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// Addresses of all devices, with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The IPv4 address that outgoing connections leave from.
    pub outbound: Option<Ipv4Addr>,
    /// The host has a default route for IPv6.
    pub ipv6: bool,
}

/// Who carries the container's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stack {
    /// Nobody: loopback only.
    None,
    /// The host's own network.
    Host,
    Slirp4netns(PathBuf),
    Pasta(PathBuf),
}

impl Stack {
    /// The word for it in the container's state and in `inspect`.
    pub fn name(&self) -> &'static str {
        match self {
            Stack::None => "none",
            Stack::Host => "host",
            Stack::Slirp4netns(_) => "slirp4netns",
            Stack::Pasta(_) => "pasta",
        }
    }
}

/// The container's own IPv4 network, a /24. The same plan of addresses serves both stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet([u8; 3]);

impl Subnet {
    /// Tried in order; the first that touches none of the host's networks is used. The first
    /// is what slirp4netns users know; it is also what VirtualBox gives its guests.
    const CHOICES: [Subnet; 4] =
        [Subnet([10, 0, 2]), Subnet([172, 31, 254]), Subnet([192, 168, 254]), Subnet([10, 254, 254])];
    pub const PREFIX: u8 = 24;

    fn choose(taken: &[(IpAddr, u8)]) -> Subnet {
        let free = |subnet: &&Subnet| !taken.iter().any(|&(ip, prefix)| subnet.overlaps(ip, prefix));
        *Subnet::CHOICES.iter().find(free).unwrap_or(&Subnet::CHOICES[0])
    }

    fn overlaps(self, ip: IpAddr, prefix: u8) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        let bits = u32::from(prefix.min(Subnet::PREFIX));
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        (u32::from(ip) ^ u32::from(self.at(0))) & mask == 0
    }

    pub fn contains(self, ip: Ipv4Addr) -> bool {
        ip.octets()[..3] == self.0
    }

    fn at(self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, host)
    }

    pub fn network(self) -> Ipv4Addr {
        self.at(0)
    }

    pub fn gateway(self) -> Ipv4Addr {
        self.at(2)
    }

    /// Where the stack itself answers DNS.
    pub fn dns(self) -> Ipv4Addr {
        self.at(3)
    }

    /// The container's own address.
    pub fn container(self) -> Ipv4Addr {
        self.at(100)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub stack: Stack,
    pub subnet: Subnet,
    /// Give the container IPv6 as well.
    pub ipv6: bool,
    /// The stack was not asked for by name: the container may start without it.
    pub optional: bool,
    /// Publish ports: bind them and start the forwarder.
    pub publish: bool,
    /// Put the container's address on its loopback device: there is no stack to bring a device,
    /// but ports are published all the same.
    pub address_on_loopback: bool,
    /// For stderr, once.
    pub warnings: Vec<String>,
    /// For the container's state: what this host could not give, one sentence each.
    pub lost: Vec<String>,
}

impl Plan {
    /// The container's own IPv4 address; `None` with the host's network or without any.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let own = self.has_stack() || self.address_on_loopback;
        own.then(|| self.subnet.container())
    }

    /// The plan to go on with when the stack did not come up after all; `None` when it was asked
    /// for by name, and the container must not start.
    pub fn without_stack(&self, why: &str) -> Option<Plan> {
        if !self.optional {
            return None;
        }
        let mut plan = Plan { stack: Stack::None, ipv6: false, ..self.clone() };
        degrade(&mut plan, why, self.publish);
        Some(plan)
    }

    /// A process has to be started for the container's network.
    pub fn has_stack(&self) -> bool {
        matches!(self.stack, Stack::Slirp4netns(_) | Stack::Pasta(_))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error(
        "network {stack} needs the program {stack}, which is not installed \
         (package {package}); install it, or use --network none or host"
    )]
    NoProgram { stack: &'static str, package: &'static str },
    #[error(
        "network {stack} needs /dev/net/tun, which cannot be opened; \
         load the module tun and allow the device, or use --network none or host"
    )]
    NoTun { stack: &'static str },
}

/// Decides the network of a container.
///
/// # Errors
/// A stack that was asked for by name but cannot run here. The default never fails: without a
/// stack the container has loopback only, and says so.
pub fn plan(
    mode: &NetworkMode,
    ports: &[PublishedPort],
    tools: &Tools,
    host: &HostNetwork,
) -> Result<Plan, PlanError> {
    let mut plan = Plan {
        stack: Stack::None,
        subnet: Subnet::choose(&host.addresses),
        ipv6: false,
        optional: *mode == NetworkMode::Default,
        publish: false,
        address_on_loopback: false,
        warnings: Vec::new(),
        lost: Vec::new(),
    };
    let wants_ports = !ports.is_empty();
    match mode {
        NetworkMode::None if wants_ports => plan.warnings.push(
            "Published ports are discarded when using no network: \
             a container with --network none cannot be reached"
                .to_owned(),
        ),
        NetworkMode::None => {}
        NetworkMode::Host => {
            plan.stack = Stack::Host;
            if wants_ports {
                // docker's words.
                plan.warnings.push("Published ports are discarded when using host network mode".to_owned());
            }
        }
        NetworkMode::Slirp4netns => plan.stack = require("slirp4netns", tools)?,
        NetworkMode::Pasta => plan.stack = require("pasta", tools)?,
        NetworkMode::Default => match best(tools) {
            Ok(stack) => plan.stack = stack,
            Err(why) => degrade(&mut plan, why, wants_ports),
        },
    }
    plan.ipv6 = plan.has_stack() && host.ipv6;
    plan.publish = wants_ports && plan.address().is_some();
    Ok(plan)
}

fn require(name: &'static str, tools: &Tools) -> Result<Stack, PlanError> {
    let (program, package) = match name {
        "pasta" => (tools.pasta.clone().map(Stack::Pasta), "passt"),
        _ => (tools.slirp4netns.clone().map(Stack::Slirp4netns), "slirp4netns"),
    };
    let stack = program.ok_or(PlanError::NoProgram { stack: name, package })?;
    if tools.tun { Ok(stack) } else { Err(PlanError::NoTun { stack: name }) }
}

/// slirp4netns before pasta: measured in both directions it is even, and it is ready ten times
/// sooner (`docs/networking.md`).
fn best(tools: &Tools) -> Result<Stack, &'static str> {
    let slirp4netns = tools.slirp4netns.clone().map(Stack::Slirp4netns);
    let stack = slirp4netns.or_else(|| tools.pasta.clone().map(Stack::Pasta));
    match stack {
        Some(stack) if tools.tun => Ok(stack),
        Some(_) => Err("/dev/net/tun cannot be opened"),
        None => Err("neither slirp4netns nor pasta is installed"),
    }
}

fn degrade(plan: &mut Plan, why: &str, wants_ports: bool) {
    plan.address_on_loopback = wants_ports;
    let left = if wants_ports { "loopback and its published ports" } else { "loopback only" };
    plan.warnings.push(format!("No network for this container, it has {left}: {why}"));
    plan.lost.push(format!("outgoing connections: {why}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port::parse_publish;

    fn tools(slirp4netns: bool, pasta: bool, tun: bool) -> Tools {
        Tools {
            slirp4netns: slirp4netns.then(|| PathBuf::from("/usr/bin/slirp4netns")),
            pasta: pasta.then(|| PathBuf::from("/usr/bin/pasta")),
            tun,
        }
    }

    fn decide(mode: NetworkMode, publish: &str, tools: &Tools) -> Result<Plan, PlanError> {
        let ports = if publish.is_empty() { vec![] } else { parse_publish(publish).expect("ports") };
        plan(&mode, &ports, tools, &HostNetwork { ipv6: true, ..HostNetwork::default() })
    }

    #[test]
    fn the_default_takes_the_better_stack_that_is_there() {
        for (slirp4netns, pasta, expected) in
            [(true, true, "slirp4netns"), (true, false, "slirp4netns"), (false, true, "pasta")]
        {
            let plan = decide(NetworkMode::Default, "", &tools(slirp4netns, pasta, true)).expect("plan");
            assert_eq!(plan.stack.name(), expected);
            assert!(plan.warnings.is_empty() && plan.lost.is_empty() && plan.ipv6 && !plan.publish);
        }
    }

    #[test]
    fn the_default_degrades_with_one_warning() {
        for tools in [tools(false, false, true), tools(true, true, false)] {
            let plan = decide(NetworkMode::Default, "", &tools).expect("plan");
            assert_eq!((plan.stack.name(), plan.warnings.len(), plan.lost.len()), ("none", 1, 1));
            assert_eq!(plan.address(), None);
        }
    }

    #[test]
    fn without_a_stack_ports_are_published_still() {
        let plan = decide(NetworkMode::Default, "8080:80", &tools(false, false, true)).expect("plan");
        assert!(plan.publish && plan.address_on_loopback && !plan.ipv6);
        assert_eq!(plan.address(), Some(Ipv4Addr::new(10, 0, 2, 100)));
    }

    #[test]
    fn a_stack_that_fails_is_lost_or_fatal() {
        let tools = tools(true, true, true);
        let chosen = decide(NetworkMode::Default, "8080:80", &tools).expect("plan");
        let left = chosen.without_stack("no device for you").expect("plan");
        assert_eq!((left.stack.name(), left.publish, left.address_on_loopback), ("none", true, true));
        assert_eq!(left.lost, ["outgoing connections: no device for you"]);
        let named = decide(NetworkMode::Slirp4netns, "8080:80", &tools).expect("plan");
        assert_eq!(named.without_stack("no device for you"), None);
    }

    #[test]
    fn a_stack_asked_for_by_name_must_be_there() {
        let missing = decide(NetworkMode::Pasta, "", &tools(true, false, true)).expect_err("no pasta");
        assert_eq!(missing, PlanError::NoProgram { stack: "pasta", package: "passt" });
        let missing = decide(NetworkMode::Slirp4netns, "", &tools(true, true, false)).expect_err("no tun");
        assert_eq!(missing, PlanError::NoTun { stack: "slirp4netns" });
    }

    #[test]
    fn host_and_none_discard_ports_and_say_so() {
        let host = decide(NetworkMode::Host, "80", &tools(true, true, true)).expect("plan");
        assert_eq!(host.warnings, ["Published ports are discarded when using host network mode"]);
        let none = decide(NetworkMode::None, "80", &tools(true, true, true)).expect("plan");
        assert_eq!(none.warnings.len(), 1);
        for plan in [host, none] {
            assert!(!plan.publish && !plan.ipv6 && plan.address().is_none());
        }
    }

    #[test]
    fn the_subnet_avoids_the_hosts_networks() {
        let choose = |list: &[(&str, u8)]| {
            let taken: Vec<_> = list.iter().map(|(ip, p)| (ip.parse().expect("ip"), *p)).collect();
            Subnet::choose(&taken).network().to_string()
        };
        assert_eq!(choose(&[("192.168.1.5", 24), ("fe80::1", 64)]), "10.0.2.0");
        assert_eq!(choose(&[("10.0.2.15", 24)]), "172.31.254.0");
        assert_eq!(choose(&[("10.1.2.3", 8), ("172.31.254.1", 32)]), "192.168.254.0");
        assert_eq!(choose(&[("10.1.2.3", 0)]), "10.0.2.0");
    }
}
