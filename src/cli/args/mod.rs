//! docker's command-line grammar on top of clap. Runs in the client.
//!
//! Only the tree of the verb that was typed is built. clap's derive describes the flags; this
//! module bends them to docker's grammar: `--rm=false`, `-dit`, the last of a repeated flag wins, a
//! flag's value may start with a dash, and the arguments after the flags come as one list whose
//! length is checked here, so that all messages are worded like docker's.

pub mod create;
mod health;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use super::error::CommandError;

/// How many arguments a verb takes after its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

impl Arity {
    fn admits(self, count: usize) -> bool {
        match self {
            Arity::None => count == 0,
            Arity::Exactly(n) => count == n,
            Arity::AtLeast(n) => count >= n,
            Arity::AtMost(n) => count <= n,
            Arity::Between(low, high) => (low..=high).contains(&count),
        }
    }

    pub fn sentence(self) -> String {
        let noun = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match self {
            Arity::None => "accepts no arguments".to_owned(),
            Arity::Exactly(n) => format!("requires {n} {}", noun(n)),
            Arity::AtLeast(n) => format!("requires at least {n} {}", noun(n)),
            Arity::AtMost(n) => format!("requires at most {n} {}", noun(n)),
            Arity::Between(low, high) => {
                format!("requires at least {low} and at most {high} {}", noun(high))
            }
        }
    }
}

/// One verb's words: its names, its help and its grammar.
#[derive(Debug, Clone, Copy)]
pub struct Verb {
    /// Every way to type it, the noun form first: `container run`, `run`.
    pub forms: &'static [&'static str],
    /// One sentence, as `--help` and the list of commands show it.
    pub about: &'static str,
    /// What follows the verb in the usage line.
    pub usage: &'static str,
    pub arity: Arity,
    /// Flags end at the first argument that is none, as for `run IMAGE COMMAND --flag-of-command`.
    pub flags_first: bool,
    /// The exit code when well-formed flags make no sense.
    pub usage_code: u8,
    /// The exit code when the work fails.
    pub failure_code: u8,
    /// docker's flags that coracle does not have yet; each is refused by its name.
    pub missing: &'static [Missing],
}

/// A flag of docker's that is refused by name.
#[derive(Debug, Clone, Copy)]
pub struct Missing {
    pub long: &'static str,
    pub short: Option<char>,
}

/// Shorthand for the tables of [`Verb::missing`].
pub const fn missing(long: &'static str) -> Missing {
    Missing { long, short: None }
}

pub const fn missing_short(long: &'static str, short: char) -> Missing {
    Missing { long, short: Some(short) }
}

impl Verb {
    /// What most verbs are: flags anywhere, exit code 1.
    pub const PLAIN: Verb = Verb {
        forms: &[],
        about: "",
        usage: "[OPTIONS]",
        arity: Arity::None,
        flags_first: false,
        usage_code: 1,
        failure_code: 1,
        missing: &[],
    };
}

/// A parsed command line: the flags, and what came after them.
pub struct Parsed<A> {
    pub flags: A,
    pub words: Vec<String>,
}

/// The outcome of parsing: something to run, or the wish for help.
pub enum Parse<A> {
    Run(Parsed<A>),
    Help,
}

const WORDS: &str = "words";

/// clap's description of a verb's flags, bent to docker's grammar.
pub fn command<A: clap::Args>(verb: &Verb) -> clap::Command {
    let plain = clap::Command::new("coracle")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    let command = A::augment_args(plain).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        _ => arg.allow_hyphen_values(true),
    });
    let h_is_taken = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help").long("help").help("Print usage").action(ArgAction::Help);
    let words = Arg::new(WORDS).num_args(0..).action(ArgAction::Append).trailing_var_arg(verb.flags_first);
    command.arg(if h_is_taken { help } else { help.short('h') }).arg(words)
}

/// A flag that is true when present (or, with a default of its own, when not) and also takes `=true` or `=false`.
fn switch(arg: Arg) -> Arg {
    let arg = if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg };
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(parse_bool)
}

/// Parses what follows the verb. `path` is the verb as typed, with the program's name.
pub fn parse<A: clap::Args>(verb: &Verb, path: &str, argv: &[OsString]) -> Result<Parse<A>, CommandError> {
    let mut command = command::<A>(verb);
    let mut matches = match command.try_get_matches_from_mut(argv) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Parse::Help),
        Err(error) => return Err(reworded(&error, verb, &command, argv)),
    };
    let words = take_words(&mut matches);
    if !verb.arity.admits(words.len()) {
        return Err(CommandError::count(path, verb.arity));
    }
    let flags = A::from_arg_matches(&matches).map_err(|error| reworded(&error, verb, &command, argv))?;
    Ok(Parse::Run(Parsed { flags, words }))
}

fn take_words(matches: &mut ArgMatches) -> Vec<String> {
    matches.remove_many::<String>(WORDS).map(Iterator::collect).unwrap_or_default()
}

/// What Go's `strconv.ParseBool` takes.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// clap's error in docker's words.
fn reworded(error: &clap::Error, verb: &Verb, command: &clap::Command, argv: &[OsString]) -> CommandError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let typed = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let flag = flag_of(&typed);
    CommandError::flag(match error.kind() {
        ErrorKind::UnknownArgument => unknown(flag, verb),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("flag needs an argument: {}", without_argument(flag, argv))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map_or_else(String::new, |e| format!(": {e}"));
            format!("invalid argument {value:?} for \"{}\" flag{why}", both_forms(flag, command))
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        ErrorKind::TooManyValues => {
            format!("invalid argument {value:?} for \"{}\" flag", both_forms(flag, command))
        }
        _ => error.to_string().trim_end().to_owned(),
    })
}

/// The flag at the end of the line: `--name`, or `'n' in -n` as docker tells short ones.
fn without_argument(flag: &str, argv: &[OsString]) -> String {
    let last = argv.last().and_then(|word| word.to_str()).unwrap_or_default();
    match last.strip_prefix('-').and_then(|letters| letters.chars().last()) {
        Some(letter) if !last.starts_with("--") => format!("'{letter}' in {last}"),
        _ => flag.to_owned(),
    }
}

/// `--name` of clap's `--name <string>` or `--rm[=<rm>]`.
fn flag_of(typed: &str) -> &str {
    typed.split([' ', '=', '[']).next().unwrap_or(typed)
}

fn unknown(flag: &str, verb: &Verb) -> String {
    let known = |m: &&Missing| match flag.strip_prefix("--") {
        Some(long) => m.long == long,
        None => m.short.is_some_and(|short| flag.strip_prefix('-').is_some_and(|s| s.starts_with(short))),
    };
    if let Some(missing) = verb.missing.iter().find(known) {
        return format!("--{} is not supported yet", missing.long);
    }
    match flag.strip_prefix('-').and_then(|rest| rest.chars().next()) {
        Some(short) if short != '-' => format!("unknown shorthand flag: '{short}' in {flag}"),
        _ => format!("unknown flag: {flag}"),
    }
}

/// `-e, --env` for either form of a flag that has both.
fn both_forms(flag: &str, command: &clap::Command) -> String {
    let same = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long))
            || arg.get_short().is_some_and(|short| flag.strip_prefix('-') == Some(short.to_string().as_str()))
    };
    match command.get_arguments().find(same).map(|arg| (arg.get_short(), arg.get_long())) {
        Some((Some(short), Some(long))) => format!("-{short}, --{long}"),
        _ => flag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Args, Debug)]
    struct Flags {
        #[arg(short, long)]
        detach: bool,
        #[arg(short, long)]
        interactive: bool,
        #[arg(short, long)]
        tty: bool,
        #[arg(long)]
        rm: bool,
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(long)]
        name: Option<String>,
        #[arg(short = 'n', long)]
        last: Option<i64>,
    }

    const FIRST: Verb = Verb {
        arity: Arity::AtLeast(1),
        flags_first: true,
        missing: &[missing("restart"), missing_short("publish-all", 'P')],
        ..Verb::PLAIN
    };
    const ANYWHERE: Verb = Verb { arity: Arity::AtLeast(1), ..Verb::PLAIN };

    fn try_parse(verb: &Verb, line: &[&str]) -> Result<(Flags, Vec<String>), String> {
        let argv: Vec<OsString> = line.iter().map(OsString::from).collect();
        match parse::<Flags>(verb, "coracle x", &argv) {
            Ok(Parse::Run(parsed)) => Ok((parsed.flags, parsed.words)),
            Ok(Parse::Help) => Err("HELP".to_owned()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn short_flags_combine() {
        let (flags, words) = try_parse(&FIRST, &["-dit", "img"]).unwrap();
        assert!(flags.detach && flags.interactive && flags.tty && !flags.rm);
        assert_eq!(words, ["img"]);
        let (flags, _) = try_parse(&FIRST, &["-ditn", "3", "img"]).unwrap();
        assert_eq!(flags.last, Some(3));
        let (flags, _) = try_parse(&FIRST, &["-dit=false", "img"]).unwrap();
        assert!(flags.detach && flags.interactive && !flags.tty);
    }

    #[test]
    fn booleans_take_a_value_only_after_an_equals_sign() {
        for word in ["false", "0", "f", "F", "FALSE", "False"] {
            let (flags, _) = try_parse(&FIRST, &[&format!("--rm={word}"), "img"]).unwrap();
            assert!(!flags.rm, "{word}");
        }
        let (flags, words) = try_parse(&FIRST, &["--rm", "false"]).unwrap();
        assert!(flags.rm);
        assert_eq!(words, ["false"]);
        assert_eq!(
            try_parse(&FIRST, &["--rm=maybe", "x"]).unwrap_err(),
            "invalid argument \"maybe\" for \"--rm\" flag: expected true or false"
        );
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins_and_lists_grow() {
        let line =
            ["--name", "a", "--name=b", "--rm", "--rm=false", "-e", "A", "--env=B=1", "-eC", "-e=D", "i"];
        let (flags, _) = try_parse(&FIRST, &line).unwrap();
        assert_eq!(flags.name.as_deref(), Some("b"));
        assert!(!flags.rm);
        assert_eq!(flags.env, ["A", "B=1", "C", "D"]);
    }

    #[test]
    fn values_may_start_with_a_dash_or_be_empty() {
        let (flags, _) = try_parse(&FIRST, &["--name", "-x", "-n", "-1", "-e", "", "img"]).unwrap();
        assert_eq!(flags.name.as_deref(), Some("-x"));
        assert_eq!(flags.last, Some(-1));
        assert_eq!(flags.env, [""]);
        let (flags, _) = try_parse(&FIRST, &["--name=", "img"]).unwrap();
        assert_eq!(flags.name.as_deref(), Some(""));
    }

    #[test]
    fn flags_end_at_the_first_word_where_docker_says_so() {
        let (flags, words) = try_parse(&FIRST, &["-i", "img", "-t", "--rm", "--", "--help"]).unwrap();
        assert!(flags.interactive && !flags.tty && !flags.rm);
        assert_eq!(words, ["img", "-t", "--rm", "--", "--help"]);
        let (_, words) = try_parse(&FIRST, &["--", "img", "--", "x"]).unwrap();
        assert_eq!(words, ["img", "--", "x"]);
    }

    #[test]
    fn flags_may_follow_words_elsewhere() {
        let (flags, words) = try_parse(&ANYWHERE, &["a", "-t", "b", "--rm", "--", "-c"]).unwrap();
        assert!(flags.tty && flags.rm);
        assert_eq!(words, ["a", "b", "-c"]);
        let (_, words) = try_parse(&ANYWHERE, &["-", "b"]).unwrap();
        assert_eq!(words, ["-", "b"]);
    }

    #[test]
    fn help_is_asked_for() {
        for line in [&["--help"][..], &["-h"], &["-d", "--help", "x"]] {
            assert_eq!(try_parse(&FIRST, line).unwrap_err(), "HELP", "{line:?}");
        }
        assert_eq!(try_parse(&ANYWHERE, &["x", "--help"]).unwrap_err(), "HELP");
    }

    #[test]
    fn mistakes_are_worded_as_docker_words_them() {
        let cases: &[(&[&str], &str)] = &[
            (&["--foo", "x"], "unknown flag: --foo"),
            (&["--foo=1", "x"], "unknown flag: --foo"),
            (&["-Z", "x"], "unknown shorthand flag: 'Z' in -Z"),
            (&["--restart=always", "x"], "--restart is not supported yet"),
            (&["-P", "x"], "--publish-all is not supported yet"),
            (&["-dP", "x"], "--publish-all is not supported yet"),
            (&["--name"], "flag needs an argument: --name"),
            (&[], "'coracle x' requires at least 1 argument"),
        ];
        for (line, message) in cases {
            assert_eq!(&try_parse(&FIRST, line).unwrap_err(), message, "{line:?}");
        }
        let error = try_parse(&FIRST, &["-n", "x", "img"]).unwrap_err();
        assert_eq!(error, "invalid argument \"x\" for \"-n, --last\" flag: invalid digit found in string");
    }

    #[test]
    fn counts_are_checked() {
        let sentences = [
            (Arity::None, 1, "accepts no arguments"),
            (Arity::Exactly(1), 2, "requires 1 argument"),
            (Arity::Exactly(2), 1, "requires 2 arguments"),
            (Arity::AtLeast(2), 1, "requires at least 2 arguments"),
            (Arity::AtMost(1), 2, "requires at most 1 argument"),
        ];
        for (arity, count, sentence) in sentences {
            assert!(!arity.admits(count));
            assert_eq!(arity.sentence(), sentence);
        }
    }
}
