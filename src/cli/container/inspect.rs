//! `coracle container inspect`: containers in docker's JSON shape.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing_short};
use crate::cli::error::CommandError;
use crate::cli::inspect::{Kind, inspect};
use crate::cli::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show how much each container takes
    #[arg(short, long)]
    size: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container inspect"],
        about: "Show everything about one or more containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        missing: &[missing_short("format", 'f')],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        inspect(&words, Some(Kind::Container), self.size, context)
    }
}
