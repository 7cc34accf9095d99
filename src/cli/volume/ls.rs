//! `coracle volume ls`: the table of volumes, without any.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing};
use crate::cli::client_config::format_of;
use crate::cli::error::CommandError;
use crate::cli::format::{Field, Format};
use crate::cli::ui::Table;
use crate::cli::{Command, Context};
use crate::spec::filter::Filters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show only volumes for which this is true, e.g. "dangling=true"
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Print in another form: "table", "table TEMPLATE", "json" or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print the names only
    #[arg(short, long)]
    quiet: bool,
}

const FIELDS: [Field; 10] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

/// docker's keys.
pub const KEYS: [&str; 4] = ["dangling", "driver", "label", "name"];

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["volume ls", "volume list"],
        about: "List volumes (there are none yet)",
        arity: Arity::None,
        missing: &[missing("cluster")],
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { filter, format, quiet } = self;
        let filters = Filters::parse(&filter, &KEYS).map_err(CommandError::filter)?;
        filters.boolean("dangling").map_err(CommandError::filter)?;
        let format =
            Format::new(format_of(format.as_deref(), quiet, context, |client| &client.volumes_format));
        let text = match quiet && format == Format::Table {
            true => String::new(),
            false => format.render(&FIELDS, &[], || Table::new(&["DRIVER", "VOLUME NAME"]).render())?,
        };
        context.ui.print(&text).map(|()| ExitCode::SUCCESS)
    }
}
