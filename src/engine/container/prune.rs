//! `container prune`: removes what does not run. Runs in the client.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::remove::{self, remove};
use crate::engine::Engine;
use crate::spec::filter::Filters;
use crate::spec::id::ContainerId;
use crate::store::containers::{self, Container};
use crate::store::events::of_prune;

/// docker's keys.
pub const KEYS: [&str; 3] = ["label", "label!", "until"];

/// Which of the containers that do not run are meant.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub filters: Filters,
    /// Only those made until then.
    pub until: Option<Timestamp>,
}

/// What went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Newest first.
    pub removed: Vec<ContainerId>,
    /// Bytes in the writable layers of these.
    pub reclaimed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error(transparent)]
    Remove(#[from] remove::Error),
}

/// Removes them, one after the other; one that somebody started or removed meanwhile is left out.
///
/// # Errors
/// The first that cannot be removed.
pub fn prune(engine: &Engine, request: &Request) -> Result<Report, Error> {
    let mut report = Report::default();
    for container in chosen(engine.store.containers()?, request) {
        let id = container.record.id.clone();
        // How much it takes is told, not decided by.
        let size = engine.sizes(&container).map_or(0, |sizes| sizes.writable);
        match remove(engine, id.as_str(), false, true) {
            Ok(()) => {
                report.reclaimed += size;
                report.removed.push(id);
            }
            Err(remove::Error::Running { .. } | remove::Error::NoSuch(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), report.reclaimed.to_string())]);
    engine.store.note(&of_prune(reclaimed));
    Ok(report)
}

/// Newest first, as docker.
fn chosen(mut all: Vec<Container>, request: &Request) -> Vec<Container> {
    all.retain(|container| !container.is_running() && admits(container, request));
    all.sort_by(|a, b| b.record.created.cmp(&a.record.created));
    all
}

fn admits(container: &Container, Request { filters, until }: &Request) -> bool {
    let labels = &container.record.options.labels;
    let unwanted = !filters.values("label!").is_empty() && filters.labels("label!", labels);
    let late = until.is_some_and(|until| {
        container.record.created.parse::<Timestamp>().is_ok_and(|created| created > until)
    });
    filters.labels("label", labels) && !unwanted && !late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::container::sample;
    use crate::spec::container::Status;

    fn names(filters: &[&str], until: Option<&str>) -> Vec<String> {
        let mut old = sample::container("old", "2026-01-01T00:00:01.000000000Z", Status::Exited);
        old.record.options.labels.insert("keep".into(), "yes".into());
        let all = vec![
            old,
            sample::container("runs", "2026-01-01T00:00:02.000000000Z", Status::Running),
            sample::container("new", "2026-01-01T00:00:03.000000000Z", Status::Created),
        ];
        let typed: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filters::parse(&typed, &KEYS).unwrap();
        let until = until.map(|text| text.parse().unwrap());
        chosen(all, &Request { filters, until }).into_iter().map(|container| container.name).collect()
    }

    #[test]
    fn what_does_not_run_and_is_meant() {
        assert_eq!(names(&[], None), ["new", "old"]);
        assert_eq!(names(&["label=keep"], None), ["old"]);
        assert_eq!(names(&["label=keep=no"], None), [""; 0]);
        assert_eq!(names(&["label!=keep"], None), ["new"]);
        assert_eq!(names(&["label!=keep=no"], None), ["new", "old"]);
        assert_eq!(names(&[], Some("2026-01-01T00:00:02Z")), ["old"]);
    }
}
