//! `coracle container prune`: remove all containers that do not run.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::args::Verb;
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, human, time};
use crate::engine::container::prune::{KEYS, Report, Request, prune};
use crate::spec::filter::Filters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove only containers for which this is true, e.g. "until=24h", "label=a", "label!=a=1"
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Command for Args {
    const VERB: Verb =
        Verb { forms: &["container prune"], about: "Remove all stopped containers", ..Verb::PLAIN };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { filter, force } = self;
        let filters = Filters::parse(&filter, &KEYS);
        // Before it is asked for, only what is malformed; the rest once there is something to do.
        let filters = match filters {
            Err(error @ crate::spec::filter::Error::Format(_)) => {
                return Err(CommandError::flag(error.to_string().replace("-f, ", "")));
            }
            filters => filters,
        };
        let question =
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
        if !force && !context.ui.confirmed(question)? {
            return Ok(ExitCode::SUCCESS);
        }
        let filters = filters.map_err(CommandError::filter)?;
        let until = match filters.values("until") {
            [] => None,
            [moment] => Some(
                time::moment(moment, Timestamp::now(), &TimeZone::system()).map_err(CommandError::failure)?,
            ),
            _ => return Err(CommandError::failure_text("more than one until filter specified")),
        };
        let report = prune(context.engine()?, &Request { filters, until }).map_err(CommandError::failure)?;
        context.ui.print(&text(&report)).map(|()| ExitCode::SUCCESS)
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    if !report.removed.is_empty() {
        text.push_str("Deleted Containers:\n");
        for id in &report.removed {
            text.push_str(id.as_str());
            text.push('\n');
        }
        text.push('\n');
    }
    text + &format!("Total reclaimed space: {}\n", human::size(report.reclaimed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::id::ContainerId;

    #[test]
    fn the_report_is_dockers() {
        assert_eq!(text(&Report::default()), "Total reclaimed space: 0B\n");
        let id = ContainerId::from_bytes([0xab; 32]);
        let report = Report { removed: vec![id], reclaimed: 6 };
        let expected = format!("Deleted Containers:\n{}\n\nTotal reclaimed space: 6B\n", "ab".repeat(32));
        assert_eq!(text(&report), expected);
    }
}
