//! `coracle unpause`: let paused containers go on.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::unpause::unpause;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container unpause", "unpause"],
        about: "Unpause all processes within one or more containers",
        usage: "CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let engine = context.engine()?;
        targets::each(&context.ui, &words, |name| {
            unpause(engine, name).map(|()| true).map_err(CommandError::failure)
        })
    }
}
