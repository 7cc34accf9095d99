//! `coracle logs`: what a container wrote.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::{Arity, Verb, missing};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, time};
use crate::engine::container::logs::{Entry, Error, Request, Sink, read};
use crate::spec::container::Status;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on showing what is written until the container stops
    #[arg(short, long)]
    follow: bool,
    /// Show what was written since a moment (2026-01-31T12:00:00Z) or a time ago (42m)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Show the last so many lines (default "all")
    #[arg(short = 'n', long, value_name = "string")]
    tail: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show what was written before a moment (2026-01-31T12:00:00Z) or a time ago (42m)
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container logs", "logs"],
        about: "Show what a container wrote",
        usage: "[OPTIONS] CONTAINER",
        arity: Arity::Exactly(1),
        missing: &[missing("details")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { follow, since, tail, timestamps, until } = self;
        let request = Request {
            follow,
            // As docker: whatever is no count means all.
            tail: tail.and_then(|text| text.parse().ok()),
            since: moment("since", since.as_deref())?,
            until: moment("until", until.as_deref())?,
        };
        let engine = context.engine()?;
        let id = engine.store.find_container(&words[0]).map_err(CommandError::failure)?.record.id;
        let path = engine.store.container_log_path(&id);
        let running =
            || engine.store.find_container(id.as_str()).is_ok_and(|c| c.state.status == Status::Running);
        let mut screen =
            Screen { stdout: BufWriter::with_capacity(1 << 16, io::stdout().lock()), timestamps };
        match read(&path, &request, running, &mut screen) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Error::Show(error)) => Err(CommandError::output(error)),
            Err(error) => Err(CommandError::failure(error)),
        }
    }
}

fn moment(flag: &str, text: Option<&str>) -> Result<Option<Timestamp>, CommandError> {
    text.filter(|text| !text.is_empty())
        .map(|text| time::moment(text, Timestamp::now(), &TimeZone::system()))
        .transpose()
        .map_err(|error| CommandError::failure_text(format!("invalid value for \"{flag}\": {error}")))
}

/// The container's stdout on ours, its stderr on ours, in the order they were written.
struct Screen<W: Write> {
    stdout: BufWriter<W>,
    timestamps: bool,
}

impl<W: Write> Sink for Screen<W> {
    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if !entry.is_stderr() {
            return write_entry(&mut self.stdout, entry, self.timestamps);
        }
        // Who reads both streams in one place must see them in order.
        self.stdout.flush()?;
        let mut line = Vec::with_capacity(entry.log.len() + 32);
        write_entry(&mut line, entry, self.timestamps)?;
        io::stderr().lock().write_all(&line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

fn write_entry(out: &mut impl Write, entry: &Entry<'_>, timestamps: bool) -> io::Result<()> {
    if timestamps {
        write!(out, "{} ", entry.padded_time())?;
    }
    out.write_all(entry.log.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_their_time_when_asked() {
        let json = r#"{"log":"a\n","stream":"stdout","time":"2026-01-01T00:00:00.5Z"}"#;
        let entry: Entry<'_> = serde_json::from_str(json).unwrap();
        let mut out = Vec::new();
        write_entry(&mut out, &entry, true).unwrap();
        write_entry(&mut out, &entry, false).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "2026-01-01T00:00:00.500000000Z a\na\n");
    }

    #[test]
    fn a_moment_that_is_none_names_its_flag() {
        let error = moment("since", Some("x")).unwrap_err();
        assert!(error.message().starts_with("invalid value for \"since\": failed to parse"));
        assert_eq!(moment("since", None).unwrap(), None);
    }
}
