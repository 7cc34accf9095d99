//! `coracle kill`: send running containers a signal.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::kill::kill;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The signal to send (default "KILL")
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container kill", "kill"],
        about: "Kill one or more running containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let signal = self.signal.as_deref().filter(|name| !name.is_empty());
        let signal = signal.unwrap_or("KILL");
        let engine = context.engine()?;
        targets::each(&context.ui, &words, |name| {
            kill(engine, name, signal).map(|()| true).map_err(CommandError::failure)
        })
    }
}
