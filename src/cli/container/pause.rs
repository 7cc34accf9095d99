//! `coracle pause`: let nothing of a container run.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::pause::{Means, pause};

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container pause", "pause"],
        about: "Pause all processes within one or more containers",
        usage: "CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let engine = context.engine()?;
        let by_signals = AtomicBool::new(false);
        let result = targets::each(&context.ui, &words, |name| {
            let means = pause(engine, name).map_err(CommandError::failure)?;
            by_signals.fetch_or(means == Means::Signals, Ordering::Relaxed);
            Ok(true)
        });
        if by_signals.into_inner() {
            context.ui.warning(
                "paused by stopping its processes: no cgroup v2 that could be frozen is delegated to this user",
            );
        }
        result
    }
}
