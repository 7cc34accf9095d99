//! `coracle ps`: the table of containers.

use std::collections::HashMap;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::args::{Arity, Verb, missing, missing_short};
use crate::cli::error::CommandError;
use crate::cli::ui::Table;
use crate::cli::{Command, Context, human, ports};
use crate::engine::Engine;
use crate::engine::container::list::{Listed, Request, Sizes, list};
use crate::engine::container::remove::sweep_abandoned;
use crate::spec::container::Status;
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
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

/// How long a command may be in the table.
const COMMAND_WIDTH: usize = 20;

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container ls", "container list", "container ps", "ps"],
        about: "List containers",
        arity: Arity::None,
        missing: &[missing_short("filter", 'f'), missing("format")],
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { all, last, latest, no_trunc, quiet, size } = self;
        let last =
            if latest { Some(1) } else { last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) };
        let engine = context.engine()?;
        let containers = engine.store.containers().map_err(CommandError::failure)?;
        let containers = sweep_abandoned(engine, containers);
        let sizes = |container: &_| match size && !quiet {
            true => engine.sizes(container).map(Some),
            false => Ok(None),
        };
        let mut listed = list(containers, &Request { all, last }, sizes).map_err(CommandError::failure)?;
        if !quiet {
            name_by_id(engine, &mut listed);
        }
        let text = match quiet {
            true => ids(&listed, no_trunc),
            false => table(&listed, &Shown { no_trunc, size, now: Timestamp::now() }),
        };
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
        Status::Running => format!("Up {}", human::since(&container.started_at, now)),
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
            command: "nginx -g 'daemon off;' -c /etc/nginx.conf".into(),
            created: "2026-01-01T00:00:00Z".into(),
            status: Status::Running,
            started_at: "2026-01-01T00:00:01Z".into(),
            finished_at: String::new(),
            exit_code: 0,
            ports: crate::spec::port::parse_publish("127.0.0.1:8080:80").unwrap(),
            exposed: vec!["443/tcp".into()],
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
    fn nothing_is_shortened_when_asked() {
        let text = table(&[web()], &shown(true, false));
        assert!(text.contains(&"b3".repeat(32)));
        assert!(text.contains("\"nginx -g 'daemon off;' -c /etc/nginx.conf\""));
        assert!(text.contains("nginx:1.29@sha256:0000"));
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
