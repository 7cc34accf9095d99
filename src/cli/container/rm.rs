//! `coracle rm`: remove containers.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing_short};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::remove::{Error, remove};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill the container first when it runs; one that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Remove the container's anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container rm", "container remove", "rm"],
        about: "Remove one or more containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        missing: &[missing_short("link", 'l')],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { force, volumes } = self;
        let (engine, ui) = (context.engine()?, &context.ui);
        targets::each(ui, &words, |name| match remove(engine, name, force, volumes) {
            Ok(()) => Ok(true),
            // Like docker: said, and still a success.
            Err(error @ Error::NoSuch(_)) if force => {
                ui.message(&format!("coracle: {error}"));
                Ok(false)
            }
            Err(error) => Err(CommandError::failure(error)),
        })
    }
}
