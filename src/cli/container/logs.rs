//! `coracle logs`: what a container wrote.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, time};
use crate::engine::container::logs::{Entry, Error, Request, Sink, read};
use crate::spec::container::Status;
use crate::spec::log::Driver;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what goes with each line (--log-opt labels=, env=, tag=)
    #[arg(long)]
    details: bool,
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
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { details, follow, since, tail, timestamps, until } = self;
        let request = Request {
            follow,
            // As docker: whatever is no count means all.
            tail: tail.and_then(|text| text.parse().ok()),
            since: moment("since", since.as_deref())?,
            // As docker: a `0` is no end.
            until: moment("until", until.as_deref().filter(|text| *text != "0"))?,
        };
        let engine = context.engine()?;
        let container = engine.store.find_container(&words[0]).map_err(CommandError::failure)?;
        let id = &container.record.id;
        readable(container.record.options.log.driver, id.as_str())?;
        let path = engine.store.container_log_path(id);
        let running = || {
            let status = engine.store.container(id).map(|c| c.state.status);
            status.is_ok_and(|status| !matches!(status, Status::Created | Status::Exited))
        };
        let mut screen =
            Screen::new(BufWriter::with_capacity(1 << 18, io::stdout().lock()), timestamps, details);
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

/// Whether there is something to read; docker's words when not.
fn readable(driver: Driver, id: &str) -> Result<(), CommandError> {
    let none = "configured logging driver does not support reading";
    match driver {
        Driver::JsonFile => Ok(()),
        Driver::None => Err(CommandError::failure_text(none)),
        Driver::Journald => {
            Err(CommandError::failure_text(format!("{none}: see journalctl CONTAINER_ID_FULL={id}")))
        }
    }
}

/// The container's stdout on ours, its stderr on ours, in the order they were written.
struct Screen<W: Write> {
    stdout: BufWriter<W>,
    timestamps: bool,
    details: Option<Details>,
    stderr: Vec<u8>,
}

impl<W: Write> Screen<W> {
    fn new(stdout: BufWriter<W>, timestamps: bool, details: bool) -> Screen<W> {
        Screen { stdout, timestamps, details: details.then(Details::default), stderr: Vec::new() }
    }
}

impl<W: Write> Sink for Screen<W> {
    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if !entry.stderr {
            return write_entry(&mut self.stdout, entry, self.timestamps, self.details.as_mut());
        }
        // Who reads both streams in one place must see them in order.
        self.stdout.flush()?;
        self.stderr.clear();
        write_entry(&mut self.stderr, entry, self.timestamps, self.details.as_mut())?;
        io::stderr().lock().write_all(&self.stderr)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

fn write_entry(
    out: &mut impl Write,
    entry: &Entry<'_>,
    timestamps: bool,
    details: Option<&mut Details>,
) -> io::Result<()> {
    if timestamps {
        out.write_all(entry.padded_time().as_bytes())?;
        out.write_all(b" ")?;
    }
    if let Some(details) = details {
        out.write_all(details.of(entry.attributes).as_bytes())?;
        out.write_all(b" ")?;
    }
    out.write_all(entry.text)
}

/// The attributes of a line as docker shows them: `key=value,key=value`, encoded as in a URL's query.
/// They are the same from line to line, so the last ones are kept.
#[derive(Default)]
struct Details {
    json: String,
    shown: String,
}

impl Details {
    fn of(&mut self, json: &str) -> &str {
        if self.json != json {
            let known: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
            let pairs: Vec<_> = known.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
            (self.json, self.shown) = (json.to_owned(), pairs.join(","));
        }
        &self.shown
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_their_time_and_details_when_asked() {
        let entry = Entry {
            text: b"a\n",
            stderr: false,
            time: "2026-01-01T00:00:00.5Z",
            attributes: r#"{"E":"f,g","b":"x y"}"#,
        };
        let mut out = Vec::new();
        let mut details = Details::default();
        write_entry(&mut out, &entry, true, None).unwrap();
        write_entry(&mut out, &entry, false, Some(&mut details)).unwrap();
        write_entry(&mut out, &Entry { attributes: "", ..entry }, true, Some(&mut details)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2026-01-01T00:00:00.500000000Z a\nE=f%2Cg,b=x+y a\n2026-01-01T00:00:00.500000000Z  a\n"
        );
    }

    #[test]
    fn a_moment_that_is_none_names_its_flag() {
        let error = moment("since", Some("x")).unwrap_err();
        assert!(error.message().starts_with("invalid value for \"since\": failed to parse"));
        assert_eq!(moment("since", None).unwrap(), None);
    }
}
