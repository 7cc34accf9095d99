//! `coracle container inspect`: containers in docker's JSON shape.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::inspect::{Kind, Request, inspect};
use crate::cli::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template instead; "json" prints JSON in one line
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
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
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { format, size } = self;
        inspect(&words, &Request { kind: Some(Kind::Container), size, format }, context)
    }
}
