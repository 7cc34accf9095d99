//! `coracle create`: make a container and do not start it.

use std::process::ExitCode;

use crate::cli::args::create::{CreateFlags, MISSING, with_caller};
use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    create: CreateFlags,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container create", "create"],
        about: "Create a container from an image without starting it",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        arity: Arity::AtLeast(1),
        flags_first: true,
        usage_code: 125,
        missing: MISSING,
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let request = with_caller(|caller| self.create.into_request(words, caller))?;
        crate::cli::image::pull::for_container(&request, context)?;
        let id = crate::engine::container::run::create(context.engine()?, request)
            .map_err(CommandError::failure)?;
        context.ui.line(id.as_str()).map(|()| ExitCode::SUCCESS)
    }
}
