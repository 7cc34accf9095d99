//! `network ls`: which networks are meant. Pure; runs in the client.

use super::Network;
use crate::spec::filter::{self, Filters};

/// docker's keys.
pub const KEYS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error(transparent)]
    Filter(#[from] filter::Error),
    #[error("invalid filter: 'type'='{0}'")]
    Type(String),
    #[error("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")]
    Dangling,
}

/// Keeps what the filters admit. A built-in network has no labels and never is in the way.
pub fn choose(all: Vec<Network>, filters: &Filters) -> Result<Vec<Network>, Error> {
    if let Some(kind) =
        filters.values("type").iter().find(|kind| !matches!(kind.as_str(), "builtin" | "custom"))
    {
        return Err(Error::Type(kind.clone()));
    }
    let dangling = filters.boolean("dangling").map_err(|_| Error::Dangling)?;
    let admits = |network: &Network| {
        filters.admits("name", |name| network.name.contains(name))
            && filters.admits("id", |id| network.id().contains(id))
            && filters.admits("driver", |driver| driver == network.driver)
            && filters.admits("scope", |scope| scope == "local")
            && filters.admits("type", |kind| kind == "builtin")
            && filters.values("label").is_empty()
            && dangling != Some(true)
    };
    Ok(all.into_iter().filter(admits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plan::{HostNetwork, Tools};

    fn names(typed: &[&str]) -> Result<Vec<&'static str>, String> {
        let tools = Tools { pasta: Some("/bin/pasta".into()), tun: true, ..Tools::default() };
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filters::parse(&typed, &KEYS).map_err(|error| error.to_string())?;
        let kept = super::super::all(&tools, &HostNetwork::default());
        let kept = choose(kept, &filters).map_err(|error| error.to_string())?;
        Ok(kept.iter().map(|network| network.name).collect())
    }

    #[test]
    fn every_key_does_what_dockers_does() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &["host", "none", "pasta"]),
            (&["name=o"], &["host", "none"]),
            (&["driver=null"], &["none"]),
            (&["driver=bridge"], &[]),
            (&["scope=local", "type=builtin"], &["host", "none", "pasta"]),
            (&["scope=swarm"], &[]),
            (&["type=custom"], &[]),
            (&["dangling=false"], &["host", "none", "pasta"]),
            (&["dangling=true"], &[]),
            (&["label=a"], &[]),
            (&["id=x"], &[]),
        ];
        for (typed, expected) in cases {
            assert_eq!(names(typed).unwrap(), *expected, "{typed:?}");
        }
        assert_eq!(names(&["type=x"]).unwrap_err(), "invalid filter: 'type'='x'");
        assert!(names(&["dangling=x"]).unwrap_err().contains("must be \"true\""));
    }
}
