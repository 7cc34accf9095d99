//! `coracle import`: make an image of one layer from an archive of a root file system.

use std::process::ExitCode;

use crate::cli::args::create::platform_of;
use crate::cli::args::{Arity, Verb, missing_short};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::spec::platform::Platform;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say this in the image's history
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// The platform the files are for (os[/arch[/variant]])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image import", "import"],
        about: "Make an image from an archive of a root file system",
        usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        arity: Arity::AtLeast(1),
        missing: &[missing_short("change", 'c')],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { message, platform } = self;
        if let Some(word) = words.get(2) {
            return Err(CommandError::usage_text(format!("{word:?} is one word too many")));
        }
        let name = words.get(1).map(|text| text.parse()).transpose().map_err(CommandError::failure)?;
        let platform = platform_of(platform.as_deref())?;
        if platform.as_ref().is_some_and(|platform| platform.os() != Platform::host().os()) {
            return Err(CommandError::failure_text("operating system is not supported"));
        }
        let source = &words[0];
        let message = message.unwrap_or_else(|| format!("Imported from {source}"));
        let engine = context.engine()?;
        let platform = platform.unwrap_or_else(Platform::host);
        let id = engine.import(source, name, platform, message).map_err(CommandError::failure)?;
        context.ui.line(&id.to_string()).map(|()| ExitCode::SUCCESS)
    }
}
