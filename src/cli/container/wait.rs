//! `coracle wait`: wait for containers to end and print their exit codes.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::wait::wait;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container wait", "wait"],
        about: "Wait for one or more containers to stop, then print their exit codes",
        usage: "CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    /// One after the other: the codes are printed in this order anyway.
    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let mut failed = false;
        for name in &words {
            match wait(context.engine()?, name) {
                Ok(status) => context.ui.line(&status.to_string())?,
                Err(error) => {
                    let error = CommandError::failure(error);
                    context.ui.message(&format!("coracle: {}", error.message()));
                    failed = true;
                }
            }
        }
        if failed { Err(CommandError::reported(1)) } else { Ok(ExitCode::SUCCESS) }
    }
}
