//! `coracle image inspect`: images in docker's JSON shape.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing, missing_short};
use crate::cli::error::CommandError;
use crate::cli::inspect::{Kind, inspect};
use crate::cli::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image inspect"],
        about: "Show everything about one or more images",
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        arity: Arity::AtLeast(1),
        missing: &[missing_short("format", 'f'), missing("platform")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        inspect(&words, Some(Kind::Image), false, context)
    }
}
