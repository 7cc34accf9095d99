//! `coracle rename`: give a container another name.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::rename::{Error, rename};

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container rename", "rename"],
        about: "Rename a container",
        usage: "CONTAINER NEW_NAME",
        arity: Arity::Exactly(2),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        match rename(context.engine()?, &words[0], &words[1]) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ Error::Empty) => Err(CommandError::failure(error)),
            Err(error) => Err(CommandError::failure_text(format!(
                "{}\nError: failed to rename container named {}",
                CommandError::failure(error).message(),
                words[0]
            ))),
        }
    }
}
