//! `coracle run`: make a container, start it and stay with it until it ends.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::args::create::{CreateFlags, MISSING, with_caller};
use crate::cli::args::{Arity, Verb};
use crate::cli::client_config::detach_keys;
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::run::{Mode, Outcome, run};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    create: CreateFlags,
    /// Leave the container running in the background and print its ID
    #[arg(short, long)]
    detach: bool,
    /// The keys that leave the container (default "ctrl-p,ctrl-q")
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Pass signals on to the container (default true)
    #[arg(long, value_name = "bool", default_value = "true")]
    sig_proxy: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container run", "run"],
        about: "Create a container from an image and run it",
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        arity: Arity::AtLeast(1),
        flags_first: true,
        usage_code: 125,
        failure_code: 125,
        missing: MISSING,
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { create, detach, detach_keys: keys, sig_proxy } = self;
        let (interactive, tty) = (create.interactive, create.tty);
        let keys = detach_keys(keys.as_deref(), interactive && tty && !detach, context)?;
        let mode = Mode { detach, interactive, tty, sig_proxy, keys };
        refuse_a_missing_terminal(&mode)?;
        let mut request = with_caller(|caller| create.into_request(words, caller))?;
        request.attached = !detach;
        crate::cli::image::pull::for_container(&request, context)?;
        match run(context.engine()?, request, mode).map_err(super::start::error)? {
            Outcome::Detached(id) => context.ui.line(id.as_str()).map(|()| ExitCode::SUCCESS),
            Outcome::Left => Ok(ExitCode::SUCCESS),
            Outcome::Exited(status) => Ok(super::exit_code(status)),
        }
    }
}

/// A terminal inside whose keys come from a file or pipe would hang or print rubbish.
fn refuse_a_missing_terminal(mode: &Mode) -> Result<(), CommandError> {
    match mode.tty && mode.interactive && !mode.detach && !std::io::stdin().is_terminal() {
        true => Err(super::no_terminal()),
        false => Ok(()),
    }
}
