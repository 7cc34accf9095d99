//! `coracle completion bash`: the script for bash.

use std::process::ExitCode;

use super::script;
use crate::cli::args::Verb;
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show words without what they are
    #[arg(long)]
    no_descriptions: bool,
}

pub const SCRIPT: &str = include_str!("coracle.bash");

impl Command for Args {
    const VERB: Verb =
        Verb { forms: &["completion bash"], about: "Print the script for bash", ..Verb::PLAIN };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { no_descriptions } = self;
        context.ui.print(&script(SCRIPT, no_descriptions)).map(|()| ExitCode::SUCCESS)
    }
}
