//! `coracle diff`: what a container changed in its files.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::diff::diff;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container diff", "diff"],
        about: "Inspect changes to files or directories on a container's filesystem",
        usage: "CONTAINER",
        arity: Arity::Exactly(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let changes = diff(context.engine()?, &words[0]).map_err(CommandError::failure)?;
        let mut text = String::new();
        for change in changes {
            text.push_str(&format!("{} {}\n", change.kind.letter(), change.path));
        }
        context.ui.print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
