//! The contents of /etc/hosts, /etc/resolv.conf and /etc/hostname. Pure.
//!
//! Called by the monitor; the file system code writes them and mounts them.

use std::net::IpAddr;

use super::plan::{HostNetwork, Plan, Stack};

/// Names by which a container finds its host: docker's and podman's.
const HOST_NAMES: &str = "host.docker.internal host.containers.internal";
/// resolv.conf(5): the resolver of the C library reads three servers.
const MAX_SERVERS: usize = 3;

/// The first lines of every /etc/hosts that docker makes.
const LOCALHOST: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// /etc/hosts. `host_file` is the host's own, used with the host's network alone.
///
/// The host's names point to its address in use, because the stacks keep the host's loopback
/// out of reach; with the host's network that is loopback itself.
pub fn hosts(plan: &Plan, hostname: &str, host: &HostNetwork, host_file: &str) -> String {
    if plan.stack == Stack::Host {
        let mut text = host_file.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        return text + &format!("127.0.0.1\t{HOST_NAMES}\n");
    }
    let mut text = LOCALHOST.to_owned();
    if let Some(ip) = host.outbound.filter(|_| plan.has_stack()) {
        text += &format!("{ip}\t{HOST_NAMES}\n");
    }
    // Without a network the name still resolves, as on a Debian machine.
    let own = plan.address().map_or("127.0.1.1".to_owned(), |ip| ip.to_string());
    // A name with a domain is found by its first part, too.
    let short = hostname.split_once('.').map_or(String::new(), |(short, _)| format!(" {short}"));
    text + &format!("{own}\t{hostname}{short}\n")
}

/// /etc/resolv.conf from the host's.
///
/// With a stack, its own resolver comes first: it asks whatever the host asks now, also after the
/// host moved to another network, and reaches resolvers on the host's loopback. The host's
/// other servers follow where the container can reach them.
pub fn resolv_conf(plan: &Plan, host_text: &str) -> String {
    if !plan.has_stack() {
        return host_text.to_owned();
    }
    let dns = IpAddr::V4(plan.subnet.dns());
    let mut servers = vec![dns];
    let mut rest = String::new();
    for line in host_text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().and_then(|ip| usable_server(plan, ip))),
            Some("search" | "domain" | "options") => {
                rest += line.trim();
                rest.push('\n');
            }
            _ => {}
        }
    }
    servers.dedup();
    let servers = servers.iter().take(MAX_SERVERS).map(|ip| format!("nameserver {ip}\n"));
    servers.collect::<String>() + &rest
}

/// A server of the host's that means the same inside the container.
fn usable_server(plan: &Plan, text: &str) -> Option<IpAddr> {
    // An address with a zone (fe80::1%eth0) names a device of the host and does not parse.
    let ip: IpAddr = text.parse().ok()?;
    let usable = match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified() && !plan.subnet.contains(v4),
        IpAddr::V6(v6) => {
            plan.ipv6 && !v6.is_loopback() && !v6.is_unspecified() && !v6.is_unicast_link_local()
        }
    };
    usable.then_some(ip)
}

/// /etc/hostname
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Tools, plan};
    use super::*;
    use crate::spec::container::NetworkMode;

    fn planned(mode: NetworkMode, ipv6: bool) -> (Plan, HostNetwork) {
        let tools = Tools { slirp4netns: Some("/usr/bin/slirp4netns".into()), pasta: None, tun: true };
        let host =
            HostNetwork { ipv6, outbound: Some("192.0.2.7".parse().expect("ip")), ..HostNetwork::default() };
        (plan(&mode, &[], &tools, &host).expect("plan"), host)
    }

    #[test]
    fn hosts_names_the_container_and_its_host() {
        let (plan, host) = planned(NetworkMode::Default, false);
        let text = hosts(&plan, "box", &host, "");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(
            text.ends_with("\n192.0.2.7\thost.docker.internal host.containers.internal\n10.0.2.100\tbox\n")
        );
    }

    #[test]
    fn hosts_without_a_stack() {
        let (plan, host) = planned(NetworkMode::None, false);
        let text = hosts(&plan, "box", &host, "10.1.1.1 printer\n");
        assert!(text.ends_with("127.0.1.1\tbox\n") && !text.contains("internal"), "{text}");
        let (plan, host) = planned(NetworkMode::Host, false);
        assert_eq!(
            hosts(&plan, "box", &host, "10.1.1.1 printer"),
            "10.1.1.1 printer\n127.0.0.1\thost.docker.internal host.containers.internal\n"
        );
    }

    #[test]
    fn loopback_resolvers_give_way_to_the_stacks_own() {
        let (plan, _) = planned(NetworkMode::Default, false);
        let text = "# local stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org lan\n";
        assert_eq!(
            resolv_conf(&plan, text),
            "nameserver 10.0.2.3\noptions edns0 trust-ad\nsearch example.org lan\n"
        );
    }

    #[test]
    fn reachable_servers_stay_up_to_three_in_all() {
        let (plan, _) = planned(NetworkMode::Default, true);
        let text = "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n\
                    nameserver 10.0.2.3\nnameserver 9.9.9.9\nnameserver 1.1.1.1\n";
        assert_eq!(
            resolv_conf(&plan, text),
            "nameserver 10.0.2.3\nnameserver 2001:db8::1\nnameserver 9.9.9.9\n"
        );
        let (plan, _) = planned(NetworkMode::Default, false);
        assert_eq!(resolv_conf(&plan, text), "nameserver 10.0.2.3\nnameserver 9.9.9.9\nnameserver 1.1.1.1\n");
        let (plan, _) = planned(NetworkMode::Host, false);
        assert_eq!(resolv_conf(&plan, text), text);
    }

    #[test]
    fn hostname_is_one_line() {
        assert_eq!(hostname("box"), "box\n");
    }
}
