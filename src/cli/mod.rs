//! Words in, words out: what a user types becomes one call of `engine`, and its answer becomes
//! docker's words. Runs in the client.
//!
//! Which verb was typed is found before any of clap's trees is built; only that verb's one is.

mod args;
mod client_config;
mod completion;
mod container;
mod error;
mod format;
mod help;
mod human;
mod image;
mod inspect;
mod man;
mod network;
mod ports;
mod progress;
mod system;
mod targets;
mod template;
mod time;
mod ui;
mod volume;
mod words;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::process::ExitCode;

use crate::engine::Engine;
use args::{Parse, Verb};
use client_config::ClientConfig;
use error::CommandError;
use ui::Ui;
use words::Found;

/// A verb: its words, its flags, and what it does.
pub trait Command: clap::Args {
    const VERB: Verb;

    /// `words` is what was typed after the flags; their number was checked.
    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError>;
}

/// What every verb works with.
pub struct Context {
    pub ui: Ui,
    engine: OnceCell<Engine>,
    client: OnceCell<ClientConfig>,
}

impl Context {
    /// docker's configuration of its client, read when a verb first needs it.
    pub fn client(&self) -> &ClientConfig {
        self.client.get_or_init(|| client_config::read(&self.ui))
    }

    /// The engine, opened when a verb first needs it.
    pub fn engine(&self) -> Result<&Engine, CommandError> {
        if self.engine.get().is_none() {
            let engine = Engine::open(|text| Ui.warning(text)).map_err(CommandError::failure)?;
            let _ = self.engine.set(engine);
        }
        Ok(self.engine.get().expect("it was just set"))
    }
}

/// Runs a command line without the program's name and tells the exit code.
pub fn main(argv: &[OsString]) -> ExitCode {
    let context = Context { ui: Ui, engine: OnceCell::new(), client: OnceCell::new() };
    match argv.first().and_then(|word| word.to_str()) {
        Some(completion::EXPLAINED) => return completion::answer::print(&argv[1..], true, &context),
        Some(completion::PLAIN) => return completion::answer::print(&argv[1..], false, &context),
        _ => {}
    }
    match words::find(argv) {
        Found::Verb { entry, path, rest } => (entry.call)(&path, rest, &context),
        Found::Text(text) => told(context.ui.print(&text)),
        Found::Advice(text) => {
            context.ui.message(text.trim_end());
            ExitCode::SUCCESS
        }
        Found::Mistake { message, code } => {
            context.ui.message(&message);
            ExitCode::from(code)
        }
    }
}

fn told(result: Result<(), CommandError>) -> ExitCode {
    result.map_or_else(|error| ExitCode::from(error.exit_code(&Verb::PLAIN)), |()| ExitCode::SUCCESS)
}

/// Parses, runs and reports one verb; the table in `words` names this function once for each.
fn call<C: Command>(path: &str, argv: &[OsString], context: &Context) -> ExitCode {
    let parsed = args::parse::<C>(&C::VERB, path, argv);
    let result = match parsed {
        Ok(Parse::Help) => {
            let text = help::verb(path, &C::VERB, &args::command::<C>(&C::VERB));
            context.ui.print(&text).map(|()| ExitCode::SUCCESS)
        }
        Ok(Parse::Run(parsed)) => parsed.flags.run(parsed.words, context),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        if let Some(text) = error.text(path, &C::VERB) {
            context.ui.message(&text);
        }
        ExitCode::from(error.exit_code(&C::VERB))
    })
}
