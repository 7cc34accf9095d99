//! `coracle exec`: run a command in a running container.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::args::create::own_environment;
use crate::cli::args::{Arity, Verb, missing};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::exec::{Request, exec};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run the command in the background
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable (KEY=value; KEY alone takes the caller's value)
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Set the environment variables of a file, one a line
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give the command all powers inside the container's user namespace
    #[arg(long)]
    privileged: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// The user to run as (<name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// The working directory of the command
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
}

/// docker's exit code for a working directory that is no absolute path.
const RELATIVE_WORKDIR: u8 = 128;

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container exec", "exec"],
        about: "Run a command in a running container",
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        arity: Arity::AtLeast(2),
        flags_first: true,
        missing: &[missing("detach-keys")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { detach, env, env_file, interactive, privileged, tty, user, workdir } = self;
        if tty && interactive && !detach && !std::io::stdin().is_terminal() {
            return Err(super::no_terminal());
        }
        if workdir.as_deref().is_some_and(|path| !path.is_empty() && !path.starts_with('/')) {
            return Err(CommandError::with_code_text(RELATIVE_WORKDIR, "Cwd must be an absolute path"));
        }
        let mut words = words.into_iter();
        let request = Request {
            container: words.next().expect("two words were asked for"),
            argv: words.collect(),
            env: own_environment(&env_file, &env)?,
            user,
            workdir,
            tty,
            interactive,
            detach,
            privileged,
        };
        let status = exec(context.engine()?, request).map_err(|error| match detach {
            // Nobody waits for the command, so its status is not told either.
            true => CommandError::failure(error),
            false => super::start::error(error),
        })?;
        Ok(super::exit_code(status))
    }
}
