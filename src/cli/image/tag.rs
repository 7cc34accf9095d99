//! `coracle tag`: give an image a further name.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::image::tag::tag;
use crate::spec::image_ref::{ImageRef, InvalidReference};

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image tag", "tag"],
        about: "Give an image a further name",
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        arity: Arity::Exactly(2),
        flags_first: true,
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let reference = |text: &str| {
            ImageRef::parse(text).map_err(|error| {
                let text =
                    format!("Error parsing reference: {text:?} is not a valid repository/tag: {error}");
                CommandError::failure_text(text)
            })
        };
        // The source may be an id, which is not to be looked for here.
        match ImageRef::parse(&words[0]) {
            Ok(_) | Err(InvalidReference::LooksLikeId(_)) => {}
            Err(_) => drop(reference(&words[0])?),
        }
        let target = reference(&words[1])?;
        tag(&context.engine()?.store, &words[0], &target).map_err(CommandError::failure)?;
        Ok(ExitCode::SUCCESS)
    }
}
