//! `ps --filter`: which containers are meant. Runs in the client.

use regex_lite::Regex;

use super::list::image_name;
use crate::spec::container::{ImageUse, NetworkMode, Status};
use crate::spec::digest::Digest;
use crate::spec::filter::{self, Filters};
use crate::spec::port::Protocol;
use crate::store::Store;
use crate::store::containers::Container;
use crate::store::images::Image;

/// docker's keys. All containers here are no tasks and have the default isolation.
pub const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Filter(#[from] filter::Error),
    #[error("No such container: {0}")]
    NoSuch(String),
}

/// docker's words for what a container can be; not all of them happen here.
pub const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// And for its health.
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Keeps what the filters admit. `all` are the containers to look among.
pub fn choose(store: &Store, all: Vec<Container>, filters: &Filters) -> Result<Vec<Container>, Error> {
    if filters.is_empty() {
        return Ok(all);
    }
    let wanted = Wanted::new(store, &all, filters)?;
    Ok(all.into_iter().filter(|container| wanted.admits(container)).collect())
}

/// The filters with everything resolved that is the same for all containers.
struct Wanted<'a> {
    filters: &'a Filters,
    names: Vec<Pattern>,
    ids: Vec<Pattern>,
    exited: Vec<i32>,
    /// Creation times: the container has to be older, or newer.
    before: Option<String>,
    since: Option<String>,
    ancestors: Vec<(String, Option<Image>)>,
    published: Vec<Ports>,
    exposed: Vec<Ports>,
    /// Whether the tasks of a swarm are meant, of which there are none.
    tasks: Option<bool>,
}

/// A regular expression, or a text where it is none.
struct Pattern(String, Option<Regex>);

impl Pattern {
    fn all(values: &[String]) -> Vec<Pattern> {
        values.iter().map(|value| Pattern(value.clone(), Regex::new(value).ok())).collect()
    }

    fn matches(&self, text: &str) -> bool {
        self.0 == text || self.1.as_ref().is_some_and(|pattern| pattern.is_match(text))
    }
}

/// `8080`, `8000-8090/udp`.
struct Ports {
    first: u16,
    last: u16,
    /// `None` is one that no container here has.
    protocol: Option<Protocol>,
}

impl Ports {
    fn parse(key: &str, value: &str) -> Result<Ports, filter::Error> {
        let wrong = |why: &str| filter::Error::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            why: why.to_owned(),
        };
        let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let protocol = match protocol {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "sctp" => None,
            _ => return Err(wrong("the protocol is tcp, udp or sctp")),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse().map_err(|_| wrong("a port is a number up to 65535"));
        Ok(Ports { first: port(first)?, last: port(last)?, protocol })
    }

    fn holds(&self, port: u16, protocol: Protocol) -> bool {
        self.protocol == Some(protocol) && (self.first..=self.last).contains(&port)
    }
}

impl<'a> Wanted<'a> {
    fn new(store: &Store, all: &[Container], filters: &'a Filters) -> Result<Wanted<'a>, Error> {
        let wrong = |key: &str, value: &str, why: &str| filter::Error::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            why: why.to_owned(),
        };
        for (key, noun, words) in [("status", "state", &STATUSES[..]), ("health", "health", &HEALTHS)] {
            if let Some(value) = filters.values(key).iter().find(|value| !words.contains(&value.as_str())) {
                let why = format!("invalid value for {noun} ({value}): must be one of {}", words.join(", "));
                return Err(wrong(key, value, &why).into());
            }
        }
        filters.boolean("is-task")?;
        let exited = filters
            .values("exited")
            .iter()
            .map(|value| value.parse().map_err(|_| wrong("exited", value, "an exit code is a number")));
        let created = |key: &str| match filters.values(key).last() {
            None => Ok(None),
            Some(name) => find(all, name).map(|c| Some(c.record.created.clone())),
        };
        let ports = |key: &'static str| {
            filters.values(key).iter().map(move |value| Ports::parse(key, value)).collect::<Result<_, _>>()
        };
        let ancestor = |name: &String| (name.clone(), store.find_image(name).ok().map(|(image, _)| image));
        Ok(Wanted {
            filters,
            names: Pattern::all(filters.values("name")),
            ids: Pattern::all(filters.values("id")),
            exited: exited.collect::<Result<_, _>>()?,
            before: created("before")?,
            since: created("since")?,
            ancestors: filters.values("ancestor").iter().map(ancestor).collect(),
            published: ports("publish")?,
            exposed: ports("expose")?,
            tasks: filters.boolean("is-task")?,
        })
    }

    fn admits(&self, container: &Container) -> bool {
        let (record, state, filters) = (&container.record, &container.state, self.filters);
        let health = container.health.as_ref().map_or("none", |health| health.status.name());
        let slashed = format!("/{}", container.name);
        let any = |patterns: &[Pattern], texts: &[&str]| {
            patterns.is_empty() || patterns.iter().any(|p| texts.iter().any(|text| p.matches(text)))
        };
        any(&self.names, &[&container.name, &slashed])
            && any(&self.ids, &[record.id.as_str()])
            && filters.admits("status", |status| status == state.status.name())
            && (self.exited.is_empty()
                || state.status == Status::Exited && self.exited.contains(&state.exit_code))
            && self.before.as_ref().is_none_or(|moment| record.created < *moment)
            && self.since.as_ref().is_none_or(|moment| record.created > *moment)
            && filters.labels("label", &record.options.labels)
            && filters.admits("network", |network| network == network_name(&record.options.network))
            && self.tasks != Some(true)
            && filters.admits("health", |wanted| wanted == health)
            && filters.admits("volume", |volume| self.has_volume(container, volume))
            && (self.ancestors.is_empty() || self.ancestors.iter().any(|a| descends(&record.image, a)))
            && self.admits_ports(container)
    }

    fn has_volume(&self, container: &Container, volume: &str) -> bool {
        let path = std::path::Path::new(volume);
        container.record.options.binds.iter().any(|bind| bind.source == path || bind.target == path)
    }

    /// As docker: only what runs has ports; the host's side counts for `publish`, the container's for `expose`.
    fn admits_ports(&self, container: &Container) -> bool {
        let (options, state) = (&container.record.options, &container.state);
        let has_ports = container.is_running() && !matches!(state.network.as_str(), "none" | "host");
        let published = |wanted: &Ports| {
            has_ports && state.ports.iter().any(|port| wanted.holds(port.host_port, port.protocol))
        };
        let open = |wanted: &Ports| {
            state.ports.iter().any(|port| wanted.holds(port.container_port, port.protocol))
                || options.exposed_ports.iter().any(|port| {
                    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                    let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
                    number.parse().is_ok_and(|number| wanted.holds(number, protocol))
                })
        };
        let exposed = |wanted: &Ports| has_ports && open(wanted);
        (self.published.is_empty() || self.published.iter().any(published))
            && (self.exposed.is_empty() || self.exposed.iter().any(exposed))
    }
}

fn find<'a>(all: &'a [Container], key: &str) -> Result<&'a Container, Error> {
    let named = all.iter().find(|container| container.name == key.trim_start_matches('/'));
    named
        .or_else(|| all.iter().find(|container| container.record.id.as_str().starts_with(key)))
        .ok_or_else(|| Error::NoSuch(key.to_owned()))
}

/// docker's name of a container's network; the default one is called as docker's is.
pub fn network_name(mode: &NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Default => "bridge",
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
        NetworkMode::Slirp4netns => "slirp4netns",
        NetworkMode::Pasta => "pasta",
    }
}

/// Whether a container was made of that image, or of one built on it.
fn descends(image: &ImageUse, (name, ancestor): &(String, Option<Image>)) -> bool {
    let ImageUse::Stored { id, layers, .. } = image else { return name == "host" };
    let same_layers = |below: &[Digest]| !below.is_empty() && layers.starts_with(below);
    match ancestor {
        Some(ancestor) => ancestor.id == *id || same_layers(&ancestor.layers),
        None => image_name(image) == *name || id.hex().starts_with(name.trim_start_matches("sha256:")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::container::sample;
    use crate::spec::health::Health;

    fn chosen(typed: &[&str]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_owned());
        let mut web = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        web.record.options.labels.insert("tier".into(), "front".into());
        web.state.ports = crate::spec::port::parse_publish("8080:80").unwrap();
        web.record.options.exposed_ports = vec!["54/udp".into()];
        web.record.options.network = NetworkMode::None;
        let mut db = sample::container("db", "2026-01-01T00:00:02Z", Status::Exited);
        db.state.exit_code = 3;
        db.record.options.exposed_ports = vec!["53/udp".into()];
        db.record.options.health = Some(crate::spec::health::Config::default());
        web.health =
            Some(Health { status: crate::spec::health::Status::Healthy, failing_streak: 0, log: Vec::new() });
        let web2 = sample::container("web2", "2026-01-01T00:00:03Z", Status::Created);
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filters::parse(&typed, &KEYS).map_err(|error| error.to_string())?;
        let kept = choose(&store, vec![web, db, web2], &filters).map_err(|error| error.to_string())?;
        Ok(kept.into_iter().map(|container| container.name).collect())
    }

    #[test]
    fn every_key_does_what_dockers_does() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &["web", "db", "web2"]),
            (&["name=web"], &["web", "web2"]),
            (&["name=^web$"], &["web"]),
            (&["name=^/db"], &["db"]),
            (&["name=db", "name=web2"], &["db", "web2"]),
            (&["status=exited"], &["db"]),
            (&["status=exited", "status=created"], &["db", "web2"]),
            (&["exited=3"], &["db"]),
            (&["exited=0"], &[]),
            (&["before=web2"], &["web", "db"]),
            (&["since=web"], &["db", "web2"]),
            (&["label=tier"], &["web"]),
            (&["label=tier=back"], &[]),
            (&["network=none"], &["web"]),
            (&["publish=8080"], &["web"]),
            (&["publish=8000-8090/tcp"], &["web"]),
            (&["publish=80"], &[]),
            (&["publish=8080/sctp"], &[]),
            (&["is-task=false", "name=db"], &["db"]),
            (&["expose=80"], &["web"]),
            (&["expose=54/udp"], &["web"]),
            // It does not run.
            (&["expose=53/udp"], &[]),
            (&["is-task=true"], &[]),
            (&["health=healthy"], &["web"]),
            (&["health=none"], &["db", "web2"]),
            (&["health=starting", "health=healthy"], &["web"]),
        ];
        for (typed, expected) in cases {
            assert_eq!(chosen(typed).unwrap(), *expected, "{typed:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        assert!(chosen(&["status=nope"]).unwrap_err().contains("invalid filter 'status=nope'"));
        assert!(chosen(&["health=sick"]).unwrap_err().ends_with(
            "invalid filter 'health=sick': invalid value for health (sick): must be one of none, starting, healthy, unhealthy"
        ));
        assert!(chosen(&["exited=x"]).unwrap_err().contains("invalid filter 'exited=x'"));
        assert_eq!(chosen(&["before=nobody"]).unwrap_err(), "No such container: nobody");
        assert_eq!(chosen(&["nope=1"]).unwrap_err(), "invalid filter 'nope'");
        assert!(chosen(&["publish=80/x"]).is_err());
        assert_eq!(chosen(&["is-task=x"]).unwrap_err(), "invalid filter 'is-task=[x]'");
    }
}
