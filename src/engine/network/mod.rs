//! What can be found out about networks: one file per verb. Nothing here prints.
//!
//! Those that containers choose among are built in; a stack is one of them where its program is installed.

pub mod inspect;
pub mod list;

use crate::engine::Error;
use crate::network::plan::{HostNetwork, Plan, Stack, Tools, plan};
use crate::spec::container::NetworkMode;
use crate::spec::digest::{Algorithm, Digest};

/// A built-in network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub name: &'static str,
    /// docker's word for who carries its packets.
    pub driver: &'static str,
    /// What a container that joins now would get.
    pub plan: Plan,
}

impl Network {
    /// 64 hexadecimal digits, the same on every machine.
    pub fn id(&self) -> String {
        Digest::of(Algorithm::Sha256, format!("coracle network {}", self.name).as_bytes()).hex().to_owned()
    }

    fn of(plan: Plan) -> Network {
        let name = plan.stack.name();
        let driver = if plan.stack == Stack::None { "null" } else { name };
        Network { name, driver, plan }
    }
}

/// Those that this host can give, by name.
pub fn all(tools: &Tools, host: &HostNetwork) -> Vec<Network> {
    let modes = [NetworkMode::Host, NetworkMode::None, NetworkMode::Pasta, NetworkMode::Slirp4netns];
    // What cannot be planned is not there.
    modes.iter().filter_map(|mode| plan(mode, &[], tools, host).ok()).map(Network::of).collect()
}

impl crate::engine::Engine {
    /// The networks of this host.
    ///
    /// # Errors
    /// When the kernel does not tell its addresses.
    pub fn networks(&self) -> Result<Vec<Network>, Error> {
        let tools = crate::network::links::find_tools(&self.config.path);
        Ok(all(&tools, &crate::network::links::host_network()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_there_with_its_program() {
        let names = |tools: &Tools| -> Vec<&str> {
            all(tools, &HostNetwork::default()).iter().map(|network| network.name).collect()
        };
        assert_eq!(names(&Tools::default()), ["host", "none"]);
        let tools = Tools { pasta: Some("/bin/pasta".into()), tun: true, ..Tools::default() };
        assert_eq!(names(&tools), ["host", "none", "pasta"]);
    }

    #[test]
    fn ids_are_lasting_and_apart() {
        let ids: Vec<String> =
            all(&Tools::default(), &HostNetwork::default()).iter().map(Network::id).collect();
        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 64));
    }
}
