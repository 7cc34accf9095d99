//! `coracle ps`: the table of containers.

use std::collections::HashMap;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::args::{Arity, Verb};
use crate::cli::client_config::format_of;
use crate::cli::error::CommandError;
use crate::cli::format::{Field, Format, Row};
use crate::cli::ui::Table;
use crate::cli::{Command, Context, human, ports};
use crate::engine::Engine;
use crate::engine::container::filter::{KEYS, choose};
use crate::engine::container::list::{Listed, Request, Sizes, list};
use crate::engine::container::remove::sweep_abandoned;
use crate::spec::container::Status;
use crate::spec::digest::Digest;
use crate::spec::filter::Filters;
use crate::spec::health;
use crate::spec::image_ref::ImageRef;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Show only containers for which this is true, e.g. "status=exited"
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Print in another form: "table", "table TEMPLATE", "json" or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show the newest n containers, whatever their state (default -1: no limit)
    #[arg(short = 'n', long, value_name = "int")]
    last: Option<i64>,
    /// Show the newest container, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten what is printed
    #[arg(long)]
    no_trunc: bool,
    /// Print the IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Show how much each container takes
    #[arg(short, long)]
    size: bool,
}

const FIELDS: [Field; 15] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

/// docker's `--format raw`.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
    state: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels:{{pad .Labels 1 0}}\nports:{{pad .Ports 1 0}}\n";
const RAW_SIZE: &str = "size: {{.Size}}\n";

/// How long a command may be in the table.
const COMMAND_WIDTH: usize = 20;
/// And the path of a mount.
const MOUNT_WIDTH: usize = 15;

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container ls", "container list", "container ps", "ps"],
        about: "List containers",
        arity: Arity::None,
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { all, filter, format, last, latest, no_trunc, quiet, size } = self;
        let filters = Filters::parse(&filter, &KEYS).map_err(CommandError::filter)?;
        let ignored = quiet && !matches!(Format::new(format.as_deref()), Format::Table);
        let chosen = format_of(format.as_deref(), quiet, context, |client| &client.ps_format);
        let raw = if size { RAW.to_owned() + RAW_SIZE } else { RAW.to_owned() };
        let format = Format::or_raw(chosen, &raw);
        let all = all || !filters.values("status").is_empty();
        let size = size || format.names(".Size");
        let last =
            if latest { Some(1) } else { last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) };
        let engine = context.engine()?;
        let begun = !all && last.is_none() && filters.is_empty();
        let containers = if begun { engine.store.begun_containers() } else { engine.store.containers() };
        let containers = containers.map_err(CommandError::failure)?;
        let containers = sweep_abandoned(engine, containers);
        let containers = choose(&engine.store, containers, &filters).map_err(CommandError::failure)?;
        let sizes = |container: &_| match size && !quiet {
            true => engine.sizes(container).map(Some),
            false => Ok(None),
        };
        let mut listed = list(containers, &Request { all, last }, sizes).map_err(CommandError::failure)?;
        if quiet {
            if ignored {
                context.ui.warning("Ignoring custom format, because both --format and --quiet are set.");
            }
            return context.ui.print(&ids(&listed, no_trunc)).map(|()| ExitCode::SUCCESS);
        }
        name_by_id(engine, &mut listed);
        let shown = Shown { no_trunc, size, now: Timestamp::now() };
        let own = matches!(format, Format::Table);
        let rows: Vec<Row> = if own { Vec::new() } else { listed.iter().map(|c| row(c, &shown)).collect() };
        let text = format.render(&FIELDS, &rows, || table(&listed, &shown))?;
        context.ui.print(&text).map(|()| ExitCode::SUCCESS)
    }
}

/// As docker: an image that lost the name it was used by, or whose name another one got, is shown by
/// its id.
fn name_by_id(engine: &Engine, listed: &mut [Listed]) {
    let mut meant: HashMap<String, Option<Digest>> = HashMap::new();
    for container in listed {
        let Some(id) = &container.image_id else { continue };
        let found = meant
            .entry(container.image.clone())
            .or_insert_with(|| engine.store.find_image(&container.image).ok().map(|(image, _)| image.id));
        if found.as_ref() != Some(id) {
            container.image = id.to_string();
        }
    }
}

struct Shown {
    no_trunc: bool,
    size: bool,
    now: Timestamp,
}

fn ids(listed: &[Listed], no_trunc: bool) -> String {
    listed.iter().map(|container| format!("{}\n", id(container, no_trunc))).collect()
}

fn id(container: &Listed, no_trunc: bool) -> &str {
    if no_trunc { container.id.as_str() } else { container.id.short() }
}

fn table(listed: &[Listed], shown: &Shown) -> String {
    let mut heading = vec!["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    heading.extend(shown.size.then_some("SIZE"));
    let mut table = Table::new(&heading);
    for container in listed {
        let mut row = vec![
            id(container, shown.no_trunc).to_owned(),
            image(&container.image, shown.no_trunc),
            command(&container.command, shown.no_trunc),
            format!("{} ago", human::since(&container.created, shown.now)),
            status(container, shown.now),
            ports::table(&container.ports, &container.exposed),
            container.name.clone(),
        ];
        row.extend(container.sizes.filter(|_| shown.size).map(size));
        table.row(row);
    }
    table.render()
}

fn row(container: &Listed, shown: &Shown) -> Row {
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| if shown.no_trunc { mount.clone() } else { human::ellipsis(mount, MOUNT_WIDTH) })
        .collect();
    Row::default()
        .set("ID", id(container, shown.no_trunc))
        .set("Image", image(&container.image, shown.no_trunc))
        .set("Command", command(&container.command, shown.no_trunc))
        .set("CreatedAt", human::moment(&container.created))
        .set("RunningFor", format!("{} ago", human::since(&container.created, shown.now)))
        .set("Ports", ports::table(&container.ports, &container.exposed))
        .set("State", container.status.name())
        .set("Status", status(container, shown.now))
        .set("Size", container.sizes.map(size).unwrap_or_else(|| "0B".to_owned()))
        .set("Names", container.name.clone())
        .labels(&container.labels)
        .set("Mounts", mounts.join(","))
        .set("LocalVolumes", "0")
        .set("Networks", container.network)
        .set("Platform", serde_json::Value::Null)
}

/// The familiar name without a digest; of an id the first digits.
fn image(name: &str, no_trunc: bool) -> String {
    if no_trunc {
        return name.to_owned();
    }
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return hex[..12].to_owned();
    }
    let Ok(reference) = ImageRef::parse(name) else { return name.to_owned() };
    // The parser adds the tag that was not typed.
    let typed = name
        .split('@')
        .next()
        .and_then(|name| name.rsplit('/').next())
        .is_some_and(|last| last.contains(':'));
    match reference.tag().filter(|_| typed) {
        Some(tag) => format!("{}:{tag}", reference.familiar_name()),
        None => reference.familiar_name(),
    }
}

fn command(line: &str, no_trunc: bool) -> String {
    if no_trunc { human::quoted(line) } else { human::quoted(&human::ellipsis(line, COMMAND_WIDTH)) }
}

fn status(container: &Listed, now: Timestamp) -> String {
    match container.status {
        Status::Created => "Created".to_owned(),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", container.exit_code, human::since(&container.finished_at, now))
        }
        Status::Running => {
            let up = human::since(&container.started_at, now);
            match container.health {
                None => format!("Up {up}"),
                Some(health::Status::Starting) => format!("Up {up} (health: starting)"),
                Some(health) => format!("Up {up} ({})", health.name()),
            }
        }
        Status::Paused => format!("Up {} (Paused)", human::since(&container.started_at, now)),
        Status::Exited => {
            format!("Exited ({}) {} ago", container.exit_code, human::since(&container.finished_at, now))
        }
    }
}

fn size(sizes: Sizes) -> String {
    format!("{} (virtual {})", human::size(sizes.writable), human::size(sizes.root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::id::ContainerId;

    fn web() -> Listed {
        Listed {
            id: ContainerId::from_bytes([0xb3; 32]),
            name: "web".into(),
            image: format!("nginx:1.29@sha256:{}", "0".repeat(64)),
            image_id: None,
            labels: [("tier".to_owned(), "front".to_owned())].into(),
            mounts: vec!["/srv/a-long-path-of-data".into()],
            network: "bridge",
            command: "nginx -g 'daemon off;' -c /etc/nginx.conf".into(),
            created: "2026-01-01T00:00:00Z".into(),
            status: Status::Running,
            started_at: "2026-01-01T00:00:01Z".into(),
            finished_at: String::new(),
            exit_code: 0,
            ports: crate::spec::port::parse_publish("127.0.0.1:8080:80").unwrap(),
            exposed: vec!["443/tcp".into()],
            health: None,
            sizes: Some(Sizes { writable: 12, root: 130_000_000 }),
        }
    }

    fn shown(no_trunc: bool, size: bool) -> Shown {
        Shown { no_trunc, size, now: "2026-01-01T00:05:01Z".parse().unwrap() }
    }

    #[test]
    fn the_table_is_dockers() {
        let ended = Listed {
            id: ContainerId::from_bytes([0xef; 32]),
            name: "quirky_lamport".into(),
            image: "bb:1".into(),
            command: "sh".into(),
            status: Status::Exited,
            exit_code: 137,
            finished_at: "2026-01-01T00:00:03Z".into(),
            ports: Vec::new(),
            exposed: Vec::new(),
            sizes: Some(Sizes { writable: 0, root: 1_982_263 }),
            ..web()
        };
        let created = Listed { status: Status::Created, name: "c".into(), ..ended.clone() };
        let all = [web(), ended, created];
        insta::assert_snapshot!(table(&all, &shown(false, true)), @r#"
        CONTAINER ID   IMAGE        COMMAND                  CREATED         STATUS                       PORTS                             NAMES            SIZE
        b3b3b3b3b3b3   nginx:1.29   "nginx -g 'daemon of…"   5 minutes ago   Up 5 minutes                 443/tcp, 127.0.0.1:8080->80/tcp   web              12B (virtual 130MB)
        efefefefefef   bb:1         "sh"                     5 minutes ago   Exited (137) 4 minutes ago                                     quirky_lamport   0B (virtual 1.98MB)
        efefefefefef   bb:1         "sh"                     5 minutes ago   Created                                                        c                0B (virtual 1.98MB)
        "#);
        assert_eq!(ids(&all, false), "b3b3b3b3b3b3\nefefefefefef\nefefefefefef\n");
    }

    #[test]
    fn health_is_shown_while_it_runs() {
        let now = shown(false, false).now;
        let with = |health, status| super::status(&Listed { health, status, ..web() }, now);
        let healthy = Some(health::Status::Healthy);
        assert_eq!(with(None, Status::Running), "Up 5 minutes");
        assert_eq!(with(Some(health::Status::Starting), Status::Running), "Up 5 minutes (health: starting)");
        assert_eq!(with(healthy, Status::Running), "Up 5 minutes (healthy)");
        assert_eq!(with(Some(health::Status::Unhealthy), Status::Running), "Up 5 minutes (unhealthy)");
        assert!(!with(healthy, Status::Exited).contains("healthy"));
    }

    #[test]
    fn nothing_is_shortened_when_asked() {
        let text = table(&[web()], &shown(true, false));
        assert!(text.contains(&"b3".repeat(32)));
        assert!(text.contains("\"nginx -g 'daemon off;' -c /etc/nginx.conf\""));
        assert!(text.contains("nginx:1.29@sha256:0000"));
    }

    #[test]
    fn rows_have_dockers_fields() {
        let rows = [row(&web(), &shown(false, false))];
        let line = |format: &str| Format::new(Some(format)).render(&FIELDS, &rows, String::new).unwrap();
        assert_eq!(line("{{.ID}} {{.Names}} {{.State}}"), "b3b3b3b3b3b3 web running\n");
        assert_eq!(line("{{.Label \"tier\"}} {{.Mounts}} {{.Networks}}"), "front /srv/a-long-pa… bridge\n");
        assert_eq!(line("table {{.Names}}\t{{.RunningFor}}"), "NAMES     CREATED\nweb       5 minutes ago\n");
        assert!(FIELDS.iter().all(|(name, _)| line("json").contains(&format!("\"{name}\":"))));
    }

    #[test]
    fn image_names_are_shortened() {
        let id = "ab".repeat(32);
        assert_eq!(image(&id, false), "abababababab");
        assert_eq!(image(&format!("sha256:{id}"), false), "abababababab");
        let digest = format!("sha256:{id}");
        let cases = [
            (format!("host:5000/a@{digest}"), "host:5000/a"),
            (format!("host:5000/a:1@{digest}"), "host:5000/a:1"),
            ("docker.io/library/redis".to_owned(), "redis"),
            ("library/redis:7".to_owned(), "redis:7"),
            ("host".to_owned(), "host"),
            ("d6446515".to_owned(), "d6446515"),
        ];
        for (name, shown) in cases {
            assert_eq!(image(&name, false), shown);
        }
    }
}
