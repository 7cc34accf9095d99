//! The verbs about containers, one file each.

pub mod attach;
pub mod cp;
pub mod create;
pub mod diff;
pub mod exec;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod pause;
pub mod port;
pub mod prune;
pub mod ps;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod unpause;
pub mod update;
pub mod wait;

use std::process::ExitCode;

use super::error::CommandError;

/// The exit code of a command whose result is a container's exit status (0 to 255).
fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(status as u8)
}

/// `-it` when stdin is no terminal; docker ends with 1 here, even for `run`.
fn no_terminal() -> CommandError {
    CommandError::with_code_text(
        1,
        "the input device is not a TTY (without a terminal, as in a CI job, use -i without -t)",
    )
}
