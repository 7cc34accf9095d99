//! The one place where an error becomes text and an exit code. Runs in the client.
//!
//! docker's rules: a flag that cannot be parsed ends every command with 125, a wrong number of
//! arguments with 1. Flags that make no sense end `run` and `create` with 125, what fails afterwards
//! ends `run` with 125; both end other commands with 1. A command that cannot be executed ends `run`
//! and `exec` with 126, one that is not there with 127.

use super::args::{Arity, Verb};

/// What an unsuccessful command tells its user, and how it ends.
#[derive(Debug)]
pub struct CommandError {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A flag is unknown or its value malformed.
    Flag,
    /// Too few or too many arguments.
    Count,
    /// The arguments are well-formed and cannot be meant together, or their values are wrong.
    Usage,
    /// The work itself failed.
    Failure,
    /// As `Failure`, with the exit code given.
    Code(u8),
    /// Everything there is to say was said on stderr.
    Reported(u8),
    /// Nobody reads our output any more.
    OutputClosed,
}

/// The container's command exists and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The container's command is not there.
pub const NOT_FOUND: u8 = 127;
/// The exit code a shell shows for a program ended by SIGPIPE.
const BY_SIGPIPE: u8 = 128 + 13;

impl CommandError {
    pub fn flag(message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Flag, message: message.into() }
    }

    /// A flag's value that is wrong; `flag` is every form of it: `-e, --env`.
    pub fn flag_value(flag: &str, value: &str, why: impl std::fmt::Display) -> CommandError {
        CommandError::flag(format!("invalid argument {value:?} for \"{flag}\" flag: {why}"))
    }

    /// A `--filter` that is malformed is a wrong flag; one that makes no sense a failure.
    pub fn filter(error: crate::spec::filter::Error) -> CommandError {
        match error {
            error @ crate::spec::filter::Error::Format(_) => CommandError::flag(error.to_string()),
            error => CommandError::failure(error),
        }
    }

    /// A wrong number of arguments for the verb that was typed as `path`.
    pub fn count(path: &str, arity: Arity) -> CommandError {
        CommandError { kind: Kind::Count, message: format!("'{path}' {}", arity.sentence()) }
    }

    pub fn usage(error: impl std::error::Error) -> CommandError {
        CommandError { kind: Kind::Usage, message: chain(&error) }
    }

    pub fn usage_text(message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Usage, message: message.into() }
    }

    pub fn failure(error: impl std::error::Error) -> CommandError {
        CommandError { kind: Kind::Failure, message: chain(&error) }
    }

    pub fn failure_text(message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Failure, message: message.into() }
    }

    pub fn with_code(code: u8, error: impl std::error::Error) -> CommandError {
        CommandError { kind: Kind::Code(code), message: chain(&error) }
    }

    pub fn with_code_text(code: u8, message: impl Into<String>) -> CommandError {
        CommandError { kind: Kind::Code(code), message: message.into() }
    }

    /// For a command that already reported each of its failures.
    pub fn reported(code: u8) -> CommandError {
        CommandError { kind: Kind::Reported(code), message: String::new() }
    }

    /// The result of writing to standard output.
    pub fn output(error: std::io::Error) -> CommandError {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => {
                CommandError { kind: Kind::OutputClosed, message: String::new() }
            }
            _ => CommandError::failure_text(format!("cannot write to standard output: {}", chain(&error))),
        }
    }

    /// What failed and why, without the program's name.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text for stderr, without the final newline; `None` when there is nothing to say.
    pub fn text(&self, path: &str, verb: &Verb) -> Option<String> {
        let usage = || format!("Usage:  {path} {}", verb.usage);
        let hint = || format!("Run '{path} --help' for more information");
        match self.kind {
            Kind::Reported(_) | Kind::OutputClosed => None,
            Kind::Flag => Some(format!("{}\n\n{}\n\n{}", self.message, usage(), hint())),
            Kind::Count => Some(format!("coracle: {}\n\n{}\n\n{}", self.message, usage(), hint())),
            // `run` and `create` have so many flags that the advice is worth its lines.
            Kind::Usage if verb.usage_code == 125 => Some(format!("coracle: {}\n\n{}", self.message, hint())),
            Kind::Usage | Kind::Failure | Kind::Code(_) => Some(format!("coracle: {}", self.message)),
        }
    }

    pub fn exit_code(&self, verb: &Verb) -> u8 {
        match self.kind {
            Kind::Flag => 125,
            Kind::Count => 1,
            Kind::Usage => verb.usage_code,
            Kind::Failure => verb.failure_code,
            Kind::Code(code) | Kind::Reported(code) => code,
            Kind::OutputClosed => BY_SIGPIPE,
        }
    }
}

/// The error and its causes in one line: `what: why: why`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = without_number(error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&without_number(error.to_string()));
        cause = error.source();
    }
    text
}

/// `No such file or directory (os error 2)` without the number, which tells a user nothing.
fn without_number(mut text: String) -> String {
    let number = text.rfind(" (os error ").filter(|start| {
        let rest = &text[start + " (os error ".len()..];
        rest.strip_suffix(')').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    if let Some(start) = number {
        text.truncate(start);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start web")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn a_chain_is_told_once() {
        let error = Outer("x".parse::<i32>().unwrap_err());
        assert_eq!(chain(&error), "cannot start web: invalid digit found in string");
    }

    #[test]
    fn system_errors_lose_their_number() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(chain(&error), "No such file or directory");
        assert_eq!(without_number("a (os error x)".into()), "a (os error x)");
    }

    #[test]
    fn codes_follow_the_verb() {
        let run = Verb { failure_code: 125, ..Verb::PLAIN };
        let ps = Verb::PLAIN;
        let failure = CommandError::failure_text("no");
        assert_eq!((failure.exit_code(&run), failure.exit_code(&ps)), (125, 1));
        let flag = CommandError::flag("unknown flag: --x");
        assert_eq!((flag.exit_code(&run), flag.exit_code(&ps)), (125, 125));
        let closed = CommandError::output(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit_code(&ps), 141);
        assert_eq!(closed.text("coracle ps", &ps), None);
    }
}
