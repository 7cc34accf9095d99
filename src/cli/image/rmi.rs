//! `coracle rmi`: remove names of images, and images that have none left.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb, missing};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::image::Error;
use crate::engine::image::remove::Removed;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove names that stopped containers use, too; an image that is not there is no failure
    #[arg(short, long)]
    force: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image rm", "image remove", "rmi"],
        about: "Remove one or more images",
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        arity: Arity::AtLeast(1),
        missing: &[missing("no-prune"), missing("platform")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { force } = self;
        let mut failed = false;
        for name in &words {
            match context.engine()?.remove_image(name, force) {
                Ok(removed) => context.ui.print(&removed.iter().map(line).collect::<String>())?,
                Err(error) => {
                    // Like docker: with -f it is said, and still a success.
                    failed |= !(force && matches!(error, Error::NoSuch(_)));
                    context.ui.message(&format!("coracle: {}", CommandError::failure(error).message()));
                }
            }
        }
        if failed { Err(CommandError::reported(1)) } else { Ok(ExitCode::SUCCESS) }
    }
}

fn line(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(name) => format!("Untagged: {name}\n"),
        Removed::Deleted(id) => format!("Deleted: {id}\n"),
    }
}
