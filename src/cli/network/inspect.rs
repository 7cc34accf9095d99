//! `coracle network inspect`: networks in docker's JSON shape.

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
    /// Show the tasks of a swarm's network (there are none)
    #[arg(short, long)]
    verbose: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["network inspect"],
        about: "Show everything about one or more networks",
        usage: "[OPTIONS] NETWORK [NETWORK...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        // What it adds is about swarms.
        let Args { format, verbose: _ } = self;
        inspect(&words, &Request { kind: Some(Kind::Network), size: false, format }, context)
    }
}
