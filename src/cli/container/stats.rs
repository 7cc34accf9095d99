//! `coracle stats`: what containers use, once or again and again.

use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::args::{Arity, Verb};
use crate::cli::client_config::format_of;
use crate::cli::error::CommandError;
use crate::cli::format::{Field, Format, Row};
use crate::cli::ui::Table;
use crate::cli::{Command, Context, human};
use crate::engine::Engine;
use crate::engine::container::stats::{Sample, Sampler};
use crate::spec::id::ContainerId;
use crate::store::containers::Container;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Print in another form: "table", "table TEMPLATE", "json" or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show what is used now, and end
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten what is printed
    #[arg(long)]
    no_trunc: bool,
}

const FIELDS: [Field; 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("MemPerc", "MEM %"),
    ("PIDs", "PIDS"),
];

/// Between two frames, and so what processor time is measured over.
const INTERVAL: Duration = Duration::from_secs(1);

/// A container that is shown: what it was called, and what it is now.
struct Target {
    called: String,
    container: Container,
}

/// What is known of its use.
enum Use {
    /// Two samples: the last frame's and this one's.
    Known(Sample, Sample),
    /// It does not run, and docker has zeros for that.
    Idle,
    /// It has ended while it was looked at.
    Gone,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container stats", "stats"],
        about: "Display a live stream of container(s) resource usage statistics",
        usage: "[OPTIONS] [CONTAINER...]",
        arity: Arity::AtLeast(0),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { all, format, no_stream, no_trunc } = self;
        let format = Format::new(format_of(format.as_deref(), false, context, |client| &client.stats_format));
        let engine = context.engine()?;
        let mut targets =
            if words.is_empty() { running(engine, all)? } else { named(engine, &words, context)? };
        let mut sampler = Sampler::new(engine);
        let mut last = samples(&mut sampler, &targets)?;
        if sampler.adds_up() {
            context.ui.warning(
                "numbers are sums over the containers' processes: no cgroup v2 with the controllers memory and \
                 pids is delegated to this user",
            );
        }
        let redraw = !no_stream && stdout().is_terminal();
        loop {
            std::thread::sleep(INTERVAL);
            targets = if words.is_empty() { running(engine, all)? } else { again(engine, targets) };
            let now = samples(&mut sampler, &targets)?;
            let text = frame(&targets, &last, &now, &Frame { format: &format, no_trunc, no_stream })?;
            match redraw {
                true => context.ui.print(&redrawn(&text))?,
                false => context.ui.print(&text)?,
            }
            if no_stream {
                return Ok(ExitCode::SUCCESS);
            }
            last = now;
        }
    }
}

type Samples = HashMap<ContainerId, Sample>;

fn samples(sampler: &mut Sampler<'_>, targets: &[Target]) -> Result<Samples, CommandError> {
    let mut all = HashMap::new();
    for Target { container, .. } in targets {
        if let Some(sample) = sampler.sample(container).map_err(CommandError::failure)? {
            all.insert(container.record.id.clone(), sample);
        }
    }
    Ok(all)
}

/// Those that run, or all, the newest first.
fn running(engine: &Engine, all: bool) -> Result<Vec<Target>, CommandError> {
    let mut containers = engine.store.containers().map_err(CommandError::failure)?;
    containers.retain(|container| all || container.is_running());
    containers.sort_by(|a, b| b.record.created.cmp(&a.record.created));
    let target = |container: Container| Target { called: container.record.id.short().to_owned(), container };
    Ok(containers.into_iter().map(target).collect())
}

/// Those that were named, each once; nothing is shown when one of them is not there.
fn named(engine: &Engine, words: &[String], context: &Context) -> Result<Vec<Target>, CommandError> {
    let mut targets: Vec<Target> = Vec::new();
    let mut failed = false;
    for word in words {
        match engine.store.find_container(word) {
            Ok(container) if targets.iter().any(|t| t.container.record.id == container.record.id) => {}
            Ok(container) => targets.push(Target { called: word.clone(), container }),
            Err(error) => {
                context.ui.message(&format!("coracle: {}", CommandError::failure(error).message()));
                failed = true;
            }
        }
    }
    if failed { Err(CommandError::reported(1)) } else { Ok(targets) }
}

/// The same as they are now; one that was removed stays as it was, without a process.
fn again(engine: &Engine, targets: Vec<Target>) -> Vec<Target> {
    let now = |mut target: Target| {
        match engine.store.container(&target.container.record.id) {
            Ok(container) => target.container = container,
            Err(_) => target.container.state.pid = 0,
        }
        target
    };
    targets.into_iter().map(now).collect()
}

struct Frame<'a> {
    format: &'a Format,
    no_trunc: bool,
    no_stream: bool,
}

fn frame(
    targets: &[Target],
    last: &Samples,
    now: &Samples,
    shown: &Frame<'_>,
) -> Result<String, CommandError> {
    let rows: Vec<Row> = targets
        .iter()
        .map(|target| {
            let id = &target.container.record.id;
            let used = match now.get(id) {
                Some(sample) => Use::Known(*last.get(id).unwrap_or(sample), *sample),
                None if shown.no_stream => Use::Idle,
                None => Use::Gone,
            };
            row(target, &used, shown.no_trunc)
        })
        .collect();
    shown.format.render(&FIELDS, &rows, || table(&rows))
}

fn row(target: &Target, used: &Use, no_trunc: bool) -> Row {
    let record = &target.container.record;
    let id = if no_trunc { record.id.as_str() } else { record.id.short() };
    let pair = |(a, b): (u64, u64)| format!("{} / {}", human::size(a), human::size(b));
    let percent = |value: f64| format!("{value:.2}%");
    let [cpu, memory, network, io, share, tasks] = match used {
        Use::Known(last, now) => [
            percent(now.cpu_percent(last)),
            format!("{} / {}", human::memory(now.memory), human::memory(now.memory_limit)),
            pair(now.network),
            pair(now.io),
            percent(now.memory_percent()),
            now.tasks.to_string(),
        ],
        Use::Idle => ["0.00%", "0B / 0B", "0B / 0B", "0B / 0B", "0.00%", "0"].map(str::to_owned),
        Use::Gone => ["--", "-- / --", "--", "--", "--", "--"].map(str::to_owned),
    };
    Row::default()
        .set("Container", target.called.clone())
        .set("Name", target.container.name.clone())
        .set("ID", id)
        .set("CPUPerc", cpu)
        .set("MemUsage", memory)
        .set("NetIO", network)
        .set("BlockIO", io)
        .set("MemPerc", share)
        .set("PIDs", tasks)
}

/// docker's columns.
const COLUMNS: [&str; 8] = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

fn table(rows: &[Row]) -> String {
    let heading =
        |name: &&str| FIELDS.iter().find(|(field, _)| field == name).map_or("", |(_, title)| *title);
    let mut table = Table::new(&COLUMNS.iter().map(heading).collect::<Vec<_>>());
    for row in rows {
        table.row(COLUMNS.iter().map(|name| row.text(name).to_owned()).collect());
    }
    table.render()
}

/// Over the frame before: each line's rest and what is below is cleared.
fn redrawn(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::spec::container::Status;

    fn target() -> Target {
        let container =
            crate::engine::container::sample::container("web", "2026-01-01T00:00:01Z", Status::Running);
        Target { called: "w".into(), container }
    }

    fn sample(cpu: u64, seconds: u64, start: Instant) -> Sample {
        Sample {
            at: start + Duration::from_secs(seconds),
            cpu,
            memory: 580 << 10,
            memory_limit: 25_273_552_896,
            tasks: 2,
            network: (1250, 126),
            io: (0, 4096),
        }
    }

    fn shown(format: &str, known: bool, no_stream: bool) -> String {
        let start = Instant::now();
        let target = target();
        let id = target.container.record.id.clone();
        let samples = |sample| if known { HashMap::from([(id.clone(), sample)]) } else { HashMap::new() };
        let (last, now) = (samples(sample(0, 0, start)), samples(sample(505_000, 1, start)));
        let format = Format::new(Some(format));
        frame(&[target], &last, &now, &Frame { format: &format, no_trunc: false, no_stream }).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        insta::assert_snapshot!(shown("table", true, true), @r"
        CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O         BLOCK I/O    PIDS
        1a1a1a1a1a1a   web       50.50%    580KiB / 23.54GiB   0.00%     1.25kB / 126B   0B / 4.1kB   2
        ");
        insta::assert_snapshot!(shown("table", false, true), @r"
        CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS
        1a1a1a1a1a1a   web       0.00%     0B / 0B             0.00%     0B / 0B   0B / 0B     0
        ");
        insta::assert_snapshot!(shown("table", false, false), @r"
        CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS
        1a1a1a1a1a1a   web       --        -- / --             --        --        --          --
        ");
    }

    #[test]
    fn templates_have_dockers_fields() {
        let line = shown("{{.Container}} {{.Name}} {{.ID}} {{.CPUPerc}} {{.PIDs}}", true, true);
        assert_eq!(line, "w web 1a1a1a1a1a1a 50.50% 2\n");
        let json = shown("json", true, true);
        assert!(FIELDS.iter().all(|(name, _)| json.contains(&format!("\"{name}\":"))), "{json}");
    }

    #[test]
    fn a_frame_covers_the_one_before() {
        assert_eq!(redrawn("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
