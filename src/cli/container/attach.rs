//! `coracle attach`: sit down at a container that runs.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::client_config::detach_keys;
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::attach::running::{Options, attach};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The keys that leave the container (default "ctrl-p,ctrl-q")
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not connect stdin
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container (default true)
    #[arg(long, value_name = "bool", default_value = "true")]
    sig_proxy: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container attach", "attach"],
        about: "Attach your terminal's streams to a running container",
        usage: "[OPTIONS] CONTAINER",
        arity: Arity::Exactly(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { detach_keys: keys, no_stdin, sig_proxy } = self;
        let engine = context.engine()?;
        let container = engine.store.find_container(&words[0]).map_err(CommandError::failure)?;
        let terminal = container.record.process.tty && !no_stdin;
        if terminal && container.is_running() && !std::io::stdin().is_terminal() {
            return Err(super::no_terminal());
        }
        let keys = detach_keys(keys.as_deref(), terminal, context)?;
        let options = Options { stdin: !no_stdin, sig_proxy, keys };
        super::start::left_or_ended(attach(engine, &container, &options), context)
    }
}
