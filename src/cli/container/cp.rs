//! `coracle cp`: copy between a container and the caller's files.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::cli::args::{Arity, Verb, parse_bool};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, human};
use crate::engine::container::cp::{Direction, Request, cp, direction};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the user and group ids of the files
    #[arg(short, long)]
    archive: bool,
    /// Always follow a symbolic link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Show neither progress nor result; the default when standard output is no terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, value_name = "bool")]
    quiet: Option<bool>,
}

/// As often as docker redraws.
const TICK: Duration = Duration::from_millis(75);

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container cp", "cp"],
        about: "Copy files/folders between a container and the local filesystem",
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcoracle cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        arity: Arity::Exactly(2),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { archive, follow_link, quiet } = self;
        let [source, destination] = <[String; 2]>::try_from(words).expect("two words were asked for");
        let request = Request { source, destination, archive, follow_link };
        let direction = direction(&request).map_err(CommandError::failure)?;
        let quiet = quiet.unwrap_or_else(|| !std::io::stdout().is_terminal());
        let engine = context.engine()?;
        let done = AtomicU64::new(0);
        let copied = std::thread::scope(|scope| {
            // Dropped on the way out, it ends the thread.
            let (_end, ended) = channel::<()>();
            let shown = !quiet && std::io::stderr().is_terminal();
            let to_stdout = matches!(&direction, Direction::Out { to, .. } if to == "-");
            if shown && !to_stdout {
                let heading = match &direction {
                    Direction::In { .. } => "Copying to container - ",
                    Direction::Out { .. } => "Copying from container - ",
                };
                let done = &done;
                scope.spawn(move || show(heading, done, &ended));
            }
            cp(engine, &request, &direction, &done)
        });
        let copied = copied.map_err(CommandError::failure)?;
        for note in &copied.notes {
            context.ui.warning(&note.to_string());
        }
        if let Some(to) = copied.to.filter(|_| !quiet) {
            let size = human::size(done.load(Ordering::Relaxed));
            context.ui.message(&format!("Successfully copied {size} to {to}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line that is redrawn in place until the copy has ended, and then taken away.
fn show(heading: &str, done: &AtomicU64, ended: &Receiver<()>) {
    let draw = |text: &str| {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush());
    };
    let mut drawn = false;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
        draw(&format!("{heading}{}", human::size(done.load(Ordering::Relaxed))));
        drawn = true;
    }
    if drawn {
        draw("");
    }
}
