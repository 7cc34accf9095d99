//! `coracle wait`: wait for containers to end and print their exit codes.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::wait::{Condition, wait};
use crate::spec::container::Status;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to wait for ("not-running", "next-exit", "removed", or a state: "created", "running",
    /// "paused", "restarting", "exited") (default "not-running")
    #[arg(long, value_name = "string")]
    condition: Option<String>,
}

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
        let condition = condition(self.condition.as_deref())?;
        let mut failed = false;
        for name in &words {
            match wait(context.engine()?, name, condition) {
                // As podman, where no end was waited for.
                Ok(None) => context.ui.line("-1")?,
                Ok(Some(status)) => context.ui.line(&status.to_string())?,
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

/// Docker's words of the API and podman's for states.
fn condition(text: Option<&str>) -> Result<Condition, CommandError> {
    match text.unwrap_or("not-running") {
        "not-running" | "stopped" => Ok(Condition::NotRunning),
        "next-exit" => Ok(Condition::NextExit),
        "removed" => Ok(Condition::Removed),
        word => match Status::ALL.iter().find(|status| status.name() == word) {
            Some(status) => Ok(Condition::Is(*status)),
            None => Err(CommandError::usage_text(format!("invalid condition: {word:?}"))),
        },
    }
}
