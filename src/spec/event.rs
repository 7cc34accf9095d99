//! What happened to a container or an image, in docker's words. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::filter::Filters;

/// docker's kinds of objects that exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Container,
    Image,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
        }
    }
}

/// One event: a line of the store's event log, and of `events --format json`. Names and order are docker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The action again, the object's id and its image: docker keeps these for old clients.
    pub status: String,
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub kind: Kind,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event at `time_nano` nanoseconds since 1970.
    pub fn new(
        kind: Kind,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
        time_nano: i64,
    ) -> Event {
        let (action, id) = (action.into(), id.into());
        Event {
            status: action.clone(),
            from: attributes.get("image").cloned().unwrap_or_default(),
            id: id.clone(),
            kind,
            action,
            actor: Actor { id, attributes },
            scope: "local".to_owned(),
            time: time_nano.div_euclid(1_000_000_000),
            time_nano,
        }
    }

    /// Whether the event is meant by the filters of `events`.
    pub fn matches(&self, filters: &Filters) -> bool {
        let attribute = |name: &str| self.actor.attributes.get(name).map_or("", String::as_str);
        let is = |kind: Kind, wanted: &str| {
            self.kind == kind
                && (attribute("name") == wanted || !wanted.is_empty() && self.id.starts_with(wanted))
        };
        // `exec_start: sh -c true` is meant by `exec_start` too.
        let action = self.action.split(':').next().unwrap_or_default();
        let image = |wanted: &str| {
            let name = if self.kind == Kind::Image { attribute("name") } else { attribute("image") };
            name == wanted
                || name.rsplit_once(':').is_some_and(|(repository, _)| repository == wanted)
                || is(Kind::Image, wanted)
        };
        filters.admits("type", |wanted| wanted == self.kind.name())
            && filters.admits("event", |wanted| wanted == action || wanted == self.action)
            && filters.admits("container", |wanted| is(Kind::Container, wanted.trim_start_matches('/')))
            && filters.admits("image", image)
            && filters.admits("scope", |wanted| wanted == self.scope)
            && filters.labels("label", &self.actor.attributes)
            && ["daemon", "network", "plugin", "volume", "service", "node", "secret", "config"]
                .iter()
                .all(|key| filters.values(key).is_empty())
    }
}

/// docker's keys of `events --filter`.
pub const KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str) -> Event {
        let attributes = [("name", "web"), ("image", "nginx:1"), ("tier", "front")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Event::new(Kind::Container, action, "abc123", attributes, 1_500_000_000_000_000_001)
    }

    fn matches(action: &str, typed: &[&str]) -> bool {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        event(action).matches(&Filters::parse(&typed, &KEYS).unwrap())
    }

    #[test]
    fn the_json_is_dockers() {
        let expected = r#"{"status":"start","id":"abc123","from":"nginx:1","Type":"container","Action":"start","Actor":{"ID":"abc123","Attributes":{"image":"nginx:1","name":"web","tier":"front"}},"scope":"local","time":1500000000,"timeNano":1500000000000000001}"#;
        let json = serde_json::to_string(&event("start")).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event("start"));
    }

    #[test]
    fn filters_choose() {
        assert!(matches("start", &[]));
        assert!(matches("start", &["container=web", "event=start", "event=die"]));
        assert!(matches("start", &["container=abc"]));
        assert!(!matches("start", &["container=db"]));
        assert!(!matches("start", &["event=die"]));
        assert!(matches("exec_start: sh", &["event=exec_start"]));
        assert!(matches("start", &["type=container", "image=nginx", "label=tier=front"]));
        assert!(!matches("start", &["type=image"]));
        assert!(!matches("start", &["network=x"]));
    }
}
