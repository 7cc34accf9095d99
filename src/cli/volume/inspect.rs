//! `coracle volume inspect`: no volume is there.

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
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["volume inspect"],
        about: "Show everything about one or more volumes",
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { format } = self;
        inspect(&words, &Request { kind: Some(Kind::Volume), size: false, format }, context)
    }
}
