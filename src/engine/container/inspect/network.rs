//! `.NetworkSettings`, and the shape of published ports. Pure; runs in the client.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::spec::container::NetworkMode;
use crate::spec::port::PublishedPort;
use crate::store::containers::Container;

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`; `null` when not published.
pub type PortMap = BTreeMap<String, Option<Vec<Binding>>>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Binding {
    host_ip: String,
    host_port: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    bridge: &'static str,
    #[serde(rename = "SandboxID")]
    sandbox_id: &'static str,
    sandbox_key: String,
    ports: PortMap,
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<Vec<String>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<Vec<String>>,
    #[serde(flatten)]
    default: Address,
    networks: BTreeMap<String, Endpoint>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    mac_address: &'static str,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<()>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    mac_address: &'static str,
    driver_opts: Option<()>,
    gw_priority: i32,
    #[serde(rename = "NetworkID")]
    network_id: &'static str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    gateway: &'static str,
    #[serde(rename = "IPAddress")]
    ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<Vec<String>>,
}

/// What the user asked for, as `--network` writes it.
pub fn mode_name(mode: &NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Default => "default",
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
        NetworkMode::Slirp4netns => "slirp4netns",
        NetworkMode::Pasta => "pasta",
    }
}

pub fn describe(container: &Container) -> NetworkSettings {
    let (options, state) = (&container.record.options, &container.state);
    let running = state.status.has_process();
    let network = match state.network.as_str() {
        "" => mode_name(&options.network),
        chosen => chosen,
    };
    let ports = match network {
        "none" | "host" => PortMap::new(),
        _ if running => bound(&options.exposed_ports, &state.ports),
        _ => PortMap::new(),
    };
    let sandbox_key = if running { format!("/proc/{}/ns/net", state.pid) } else { String::new() };
    NetworkSettings {
        bridge: "",
        sandbox_id: "",
        sandbox_key,
        ports,
        hairpin_mode: false,
        link_local_ipv6_address: "",
        link_local_ipv6_prefix_len: 0,
        secondary_ip_addresses: None,
        secondary_ipv6_addresses: None,
        default: Address::default(),
        networks: BTreeMap::from([(network.to_owned(), Endpoint::default())]),
    }
}

/// Ports as bound: a wildcard is both families' one, an exposed port that is not published `null`.
fn bound(exposed: &[String], ports: &[PublishedPort]) -> PortMap {
    let mut map: PortMap = exposed.iter().map(|port| (port.clone(), None)).collect();
    for port in ports {
        let addresses = match port.host_ip {
            Some(ip) => vec![ip.to_string()],
            None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
        };
        let bindings =
            addresses.into_iter().map(|host_ip| Binding { host_ip, host_port: port.host_port.to_string() });
        map.entry(port.target()).or_default().get_or_insert_default().extend(bindings);
    }
    map
}

/// Ports as asked for: what was left open stays empty.
pub fn asked(ports: &[PublishedPort]) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let host_port = if port.host_port == 0 { String::new() } else { port.host_port.to_string() };
        let host_ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        map.entry(port.target()).or_default().get_or_insert_default().push(Binding { host_ip, host_port });
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port::parse_publish;

    #[test]
    fn ports_as_bound() {
        let mut ports = parse_publish("8080:80").unwrap();
        ports.extend(parse_publish("127.0.0.1:5353:53/udp").unwrap());
        let json = serde_json::to_value(bound(&["443/tcp".into(), "80/tcp".into()], &ports)).unwrap();
        let expected = serde_json::json!({
            "443/tcp": null,
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn ports_as_asked_for() {
        let ports = parse_publish("80").unwrap();
        let json = serde_json::to_value(asked(&ports)).unwrap();
        assert_eq!(json, serde_json::json!({"80/tcp": [{"HostIp": "", "HostPort": ""}]}));
    }
}
