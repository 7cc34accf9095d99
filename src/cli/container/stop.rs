//! `coracle stop`: ask containers to end, and end them when they do not.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::stop::stop;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask with this signal
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing; -1 for as long as it takes (default 10)
    #[arg(short, long, alias = "time", value_name = "int")]
    timeout: Option<i64>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container stop", "stop"],
        about: "Stop one or more running containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let signal = self.signal.as_deref().filter(|name| !name.is_empty());
        let engine = context.engine()?;
        targets::each(&context.ui, &words, |name| {
            stop(engine, name, signal, self.timeout).map(|()| true).map_err(CommandError::failure)
        })
    }
}
