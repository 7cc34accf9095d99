//! `coracle tag`: give an image a further name.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::image::tag::tag;
use crate::spec::image_ref::ImageRef;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image tag", "tag"],
        about: "Give an image a further name",
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        arity: Arity::Exactly(2),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let target: ImageRef = words[1].parse().map_err(|error| {
            CommandError::failure_text(format!("{:?} is not a valid repository/tag: {error}", words[1]))
        })?;
        tag(&context.engine()?.store, &words[0], &target).map_err(CommandError::failure)?;
        Ok(ExitCode::SUCCESS)
    }
}
