//! `inspect` of a network, in docker's shape (API 1.51). Runs in the client.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Network;
use crate::engine::container::inspect::NEVER;
use crate::engine::{self, Engine};
use crate::network::plan::{Stack, Subnet};
use crate::store::containers::{self, Container};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("network {0} not found")]
    NoSuch(String),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Containers(#[from] containers::Error),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    name: &'static str,
    id: String,
    created: &'static str,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Endpoint>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    options: Option<()>,
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    subnet: String,
    gateway: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
    mac_address: &'static str,
    #[serde(rename = "IPv4Address")]
    ipv4_address: &'static str,
    #[serde(rename = "IPv6Address")]
    ipv6_address: &'static str,
}

/// The network of that name, of that id, or of one that begins so.
///
/// # Errors
/// When there is none, and when the containers that use it cannot be read.
pub fn inspect(engine: &Engine, key: &str) -> Result<Inspected, Error> {
    let all = engine.networks()?;
    let network = find(&all, key).ok_or_else(|| Error::NoSuch(key.to_owned()))?;
    Ok(describe(network, &engine.store.containers()?))
}

fn find<'a>(all: &'a [Network], key: &str) -> Option<&'a Network> {
    let begins = |network: &&Network| !key.is_empty() && network.id().starts_with(key);
    all.iter().find(|network| network.name == key).or_else(|| {
        let mut found = all.iter().filter(begins);
        found.next().filter(|_| found.next().is_none())
    })
}

fn describe(network: &Network, containers: &[Container]) -> Inspected {
    let plan = &network.plan;
    let own = plan.has_stack().then(|| {
        let subnet = format!("{}/{}", plan.subnet.network(), Subnet::PREFIX);
        vec![Pool { subnet, gateway: plan.subnet.gateway().to_string() }]
    });
    let uses = |container: &&Container| container.is_running() && container.state.network == network.name;
    let endpoint = |container: &Container| {
        let (name, none) = (container.name.clone(), "");
        let endpoint =
            Endpoint { name, endpoint_id: none, mac_address: none, ipv4_address: none, ipv6_address: none };
        (container.record.id.to_string(), endpoint)
    };
    Inspected {
        name: network.name,
        id: network.id(),
        created: NEVER,
        scope: "local",
        driver: network.driver,
        enable_ipv4: true,
        enable_ipv6: plan.ipv6 && plan.stack != Stack::None,
        ipam: Ipam { driver: "default", options: None, config: own },
        internal: false,
        attachable: false,
        ingress: false,
        config_from: ConfigFrom::default(),
        config_only: false,
        containers: containers.iter().filter(uses).map(endpoint).collect(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::container::sample;
    use crate::network::plan::{HostNetwork, Tools};
    use crate::spec::container::Status;

    fn networks() -> Vec<Network> {
        let tools = Tools { slirp4netns: Some("/bin/slirp4netns".into()), tun: true, ..Tools::default() };
        super::super::all(&tools, &HostNetwork::default())
    }

    #[test]
    fn a_name_goes_before_an_id() {
        let all = networks();
        let id = all[0].id();
        assert_eq!(find(&all, "host").unwrap().name, "host");
        assert_eq!(find(&all, &id).unwrap().name, "host");
        assert_eq!(find(&all, &id[..12]).unwrap().name, "host");
        assert_eq!(find(&all, ""), None);
        assert_eq!(find(&all, "bridge"), None);
    }

    #[test]
    fn the_shape_is_dockers() {
        let mut web = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        web.state.network = "slirp4netns".into();
        let mut over = sample::container("over", "2026-01-01T00:00:01Z", Status::Exited);
        over.state.network = "slirp4netns".into();
        let all = networks();
        let json = serde_json::to_value(describe(&all[2], &[web, over])).unwrap();
        insta::assert_snapshot!(json.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" "),
            @"Name Id Created Scope Driver EnableIPv4 EnableIPv6 IPAM Internal Attachable Ingress ConfigFrom ConfigOnly Containers Options Labels");
        assert_eq!(json["IPAM"]["Config"][0]["Subnet"], "10.0.2.0/24");
        let containers = json["Containers"].as_object().unwrap();
        assert_eq!(containers.values().map(|c| c["Name"].as_str().unwrap()).collect::<Vec<_>>(), ["web"]);
        assert_eq!(describe(&all[1], &[]).driver, "null");
    }
}
