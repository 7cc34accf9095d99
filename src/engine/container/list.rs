//! Which containers `ps` shows, and what it knows of each. Pure; runs in the client.

use std::collections::BTreeMap;

use super::filter::network_name;
use crate::spec::container::{ImageUse, Status};
use crate::spec::digest::Digest;
use crate::spec::health;
use crate::spec::id::ContainerId;
use crate::spec::port::PublishedPort;
use crate::store::containers::Container;

/// What to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Those that do not run, too.
    pub all: bool,
    /// Only the newest so many, whatever their state.
    pub last: Option<usize>,
}

/// What a container's writable layer and its whole root file system take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub writable: u64,
    pub root: u64,
}

/// One container of the list. Times are RFC 3339 in UTC, empty for never.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: ContainerId,
    pub name: String,
    /// The image as the user named it.
    pub image: String,
    /// `None` for the built-in image.
    pub image_id: Option<Digest>,
    pub labels: BTreeMap<String, String>,
    /// What of the host is mounted, as `ps` shows it.
    pub mounts: Vec<String>,
    /// docker's name of its network.
    pub network: &'static str,
    /// In one line, arguments with spaces in single quotes.
    pub command: String,
    pub created: String,
    pub status: Status,
    pub started_at: String,
    pub finished_at: String,
    pub exit_code: i32,
    /// As bound; empty unless the container runs.
    pub ports: Vec<PublishedPort>,
    /// `80/tcp` and the like: open in a running container and not published.
    pub exposed: Vec<String>,
    /// `None` without a health check, or before the first start.
    pub health: Option<health::Status>,
    /// Asked for with [`Sizes`] only.
    pub sizes: Option<Sizes>,
}

/// Chooses and describes, newest first. `sizes` is called for what is shown only; measuring means
/// walking files.
///
/// # Errors
/// Those of `sizes`.
pub fn list<E>(
    containers: Vec<Container>,
    request: &Request,
    mut sizes: impl FnMut(&Container) -> Result<Option<Sizes>, E>,
) -> Result<Vec<Listed>, E> {
    let mut chosen = containers;
    if request.last.is_none() && !request.all {
        chosen.retain(Container::is_running);
    }
    chosen.sort_by(|a, b| b.record.created.cmp(&a.record.created));
    chosen.truncate(request.last.unwrap_or(usize::MAX));
    chosen.into_iter().map(|container| Ok(listed(&container, sizes(&container)?))).collect()
}

fn listed(container: &Container, sizes: Option<Sizes>) -> Listed {
    let (record, state) = (&container.record, &container.state);
    let running = state.status.has_process();
    // As docker: without a network of its own a container's ports say nothing.
    let own_network = !matches!(state.network.as_str(), "none" | "host");
    let ports = if running { state.ports.clone() } else { Vec::new() };
    let published = |port: &String| ports.iter().any(|p| *port == p.target());
    let mut exposed = record.options.exposed_ports.clone();
    exposed.retain(|port| running && own_network && !published(port));
    Listed {
        id: record.id.clone(),
        name: container.name.clone(),
        image: image_name(&record.image),
        image_id: match &record.image {
            ImageUse::Stored { id, .. } => Some(id.clone()),
            ImageUse::Host => None,
        },
        labels: record.options.labels.clone(),
        mounts: record.options.binds.iter().map(|bind| bind.source.display().to_string()).collect(),
        network: network_name(&record.options.network),
        command: command_line(&record.process.argv),
        created: record.created.clone(),
        status: state.status,
        started_at: state.started_at.clone(),
        finished_at: state.finished_at.clone(),
        exit_code: state.exit_code,
        ports,
        exposed,
        health: container.health.as_ref().map(|health| health.status),
        sizes,
    }
}

/// The image as the user named it.
pub fn image_name(image: &ImageUse) -> String {
    match image {
        ImageUse::Stored { reference, .. } => reference.clone(),
        ImageUse::Host => "host".to_owned(),
    }
}

/// The program, then its arguments, those with spaces in single quotes.
fn command_line(argv: &[String]) -> String {
    let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let quoted = arguments.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { a.clone() });
    std::iter::once(program.to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::engine::container::sample;

    fn names(containers: Vec<Container>, request: Request) -> Vec<String> {
        let none = |_: &Container| Ok::<_, Infallible>(None);
        list(containers, &request, none).unwrap().into_iter().map(|listed| listed.name).collect()
    }

    fn three() -> Vec<Container> {
        vec![
            sample::container("old", "2026-01-01T00:00:01.000000000Z", Status::Running),
            sample::container("new", "2026-01-01T00:00:03.000000000Z", Status::Exited),
            sample::container("middle", "2026-01-01T00:00:02.000000000Z", Status::Created),
        ]
    }

    #[test]
    fn only_running_ones_unless_asked() {
        assert_eq!(names(three(), Request::default()), ["old"]);
        assert_eq!(names(three(), Request { all: true, last: None }), ["new", "middle", "old"]);
        assert_eq!(names(three(), Request { all: false, last: Some(2) }), ["new", "middle"]);
    }

    #[test]
    fn sizes_are_measured_for_what_is_shown_only() {
        let mut measured = Vec::new();
        let sizes = |container: &Container| {
            measured.push(container.name.clone());
            Ok::<_, Infallible>(Some(Sizes { writable: 1, root: 2 }))
        };
        let shown = list(three(), &Request::default(), sizes).unwrap();
        assert_eq!(measured, ["old"]);
        assert_eq!(shown[0].sizes, Some(Sizes { writable: 1, root: 2 }));
    }

    #[test]
    fn exposed_ports_are_shown_while_running_and_unpublished() {
        let mut container = sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        container.record.options.exposed_ports = vec!["443/udp".into(), "80/tcp".into()];
        container.state.ports = crate::spec::port::parse_publish("8080:80").unwrap();
        let shown = listed(&container, None);
        assert_eq!(shown.exposed, ["443/udp"]);
        container.state.status = Status::Exited;
        let shown = listed(&container, None);
        assert!(shown.exposed.is_empty() && shown.ports.is_empty());
    }

    #[test]
    fn commands_are_one_line() {
        let argv = ["/bin/sh", "-c", "a \"b c\""].map(str::to_owned);
        assert_eq!(command_line(&argv), "/bin/sh -c 'a \"b c\"'");
    }
}
