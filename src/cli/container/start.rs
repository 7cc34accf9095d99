//! `coracle start`: start containers that were created or have ended.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing};
use crate::cli::error::{CommandError, NOT_EXECUTABLE, NOT_FOUND};
use crate::cli::{Command, Context, targets};
use crate::engine::container::start::{AttachOptions, Error, start};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the container's output, forward signals and wait for its end
    #[arg(short, long)]
    attach: bool,
    /// Connect stdin, too
    #[arg(short, long)]
    interactive: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container start", "start"],
        about: "Start one or more stopped containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        missing: &[missing("checkpoint"), missing("checkpoint-dir"), missing("detach-keys")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { attach, interactive } = self;
        let engine = context.engine()?;
        if !attach && !interactive {
            let failed = targets::each_of(&context.ui, &words, |name| {
                start(engine, name, None).map(|_| true).map_err(CommandError::failure)
            })?;
            if failed.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            context.ui.message(&format!("failed to start containers: {}", failed.join(", ")));
            return Err(CommandError::reported(1));
        }
        let [name] = &words[..] else {
            return Err(CommandError::usage_text("you cannot start and attach multiple containers at once"));
        };
        let status =
            start(engine, name, Some(AttachOptions { interactive })).map_err(CommandError::failure)?;
        Ok(status.map_or(ExitCode::SUCCESS, super::exit_code))
    }
}

/// A start that failed, told apart as `run` and `exec` tell it: 126, 127 or the verb's own code.
pub fn error(error: Error) -> CommandError {
    match error {
        Error::CommandNotFound { .. } => CommandError::with_code(NOT_FOUND, error),
        Error::CommandNotExecutable { .. } => CommandError::with_code(NOT_EXECUTABLE, error),
        _ => CommandError::failure(error),
    }
}
