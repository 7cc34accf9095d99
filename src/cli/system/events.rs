//! `coracle events`: what happens to containers and images.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::Verb;
use crate::cli::error::CommandError;
use crate::cli::inspect::BAD_TEMPLATE;
use crate::cli::template::Template;
use crate::cli::{Command, Context, time};
use crate::engine::system::events::{Request, events};
use crate::spec::event::{Event, KEYS};
use crate::spec::filter::Filters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show only events for which this is true, e.g. "event=die"
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Print by a Go template; "json" prints JSON
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show events of the past too, from this moment on
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// End at this moment
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["system events", "events"],
        about: "Show what happens to containers and images, as it happens",
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { filter, format, since, until } = self;
        let now = Timestamp::now();
        let moment = |text: Option<String>| {
            text.map(|text| time::moment(&text, now, &TimeZone::system()))
                .transpose()
                .map_err(CommandError::failure)
        };
        let template = match format.as_deref() {
            None | Some("") => None,
            Some("json") => Some("{{json .}}"),
            Some(text) => Some(text),
        };
        let template = template.map(Template::parse).transpose();
        let template = template.map_err(|error| CommandError::with_code(BAD_TEMPLATE, error))?;
        let filters = Filters::parse(&filter, &KEYS).map_err(CommandError::filter)?;
        let request = Request { since: moment(since)?, until: moment(until)?, filters };
        let mut printed = Ok(());
        let mut show = |event: &Event| {
            printed = text(event, template.as_ref()).and_then(|line| context.ui.line(&line));
            printed.is_ok()
        };
        events(context.engine()?, &request, &mut show).map_err(CommandError::failure)?;
        printed.map(|()| ExitCode::SUCCESS)
    }
}

fn text(event: &Event, template: Option<&Template>) -> Result<String, CommandError> {
    let Some(template) = template else { return Ok(line(event, &TimeZone::system())) };
    let json = serde_json::to_value(event).map_err(CommandError::failure)?;
    let mut typed = json.clone();
    // Go's names of the fields that are called differently in JSON.
    for (go, name) in [
        ("Status", "status"),
        ("ID", "id"),
        ("From", "from"),
        ("Scope", "scope"),
        ("Time", "time"),
        ("TimeNano", "timeNano"),
    ] {
        typed[go] = json.get(name).cloned().unwrap_or_else(|| "".into());
    }
    template.execute_typed(&json, &typed).map_err(CommandError::failure)
}

/// `2026-01-31T12:00:00.000000000Z container start ID (image=…, name=…)`.
fn line(event: &Event, zone: &TimeZone) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(event.time_nano)).unwrap_or(Timestamp::UNIX_EPOCH);
    let local = moment.to_zoned_datetime(zone.clone());
    let stamp = local.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    let stamp = stamp.strip_suffix("+00:00").map_or(stamp.clone(), |utc| format!("{utc}Z"));
    let mut line = format!("{stamp} {} {} {}", event.kind.name(), event.action, event.id);
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::event::Kind;

    #[test]
    fn a_line_is_dockers() {
        let attributes = [("name", "web"), ("image", "nginx:1")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let event = Event::new(Kind::Container, "start", "abc", attributes, 1_500_000_000_000_000_001);
        assert_eq!(
            line(&event, &TimeZone::UTC),
            "2017-07-14T02:40:00.000000001Z container start abc (image=nginx:1, name=web)"
        );
        assert_eq!(
            line(&event, &TimeZone::fixed(jiff::tz::offset(2))),
            "2017-07-14T04:40:00.000000001+02:00 container start abc (image=nginx:1, name=web)"
        );
        let shown = |template: &str| text(&event, Some(&Template::parse(template).unwrap())).unwrap();
        assert_eq!(
            shown("{{.Action}} {{.Actor.Attributes.name}} {{.Status}} {{.TimeNano}}"),
            "start web start 1500000000000000001"
        );
        assert!(shown("{{json .}}").starts_with(r#"{"status":"start","id":"abc""#));
    }
}
