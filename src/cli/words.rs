//! The table of commands: which words there are, and which docker has that coracle does not.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use super::args::Verb;
use super::{Command, Context, args, call, completion, container, help, image, inspect, man, network};
use super::{system, volume};

/// One row of the table.
pub struct Entry {
    pub verb: Verb,
    pub call: fn(&str, &[OsString], &Context) -> ExitCode,
    /// The verb's flags, described.
    pub flags: fn() -> clap::Command,
}

const fn entry<C: Command>() -> Entry {
    Entry { verb: C::VERB, call: call::<C>, flags: || args::command::<C>(&C::VERB) }
}

pub static ENTRIES: &[Entry] = &[
    entry::<container::run::Args>(),
    entry::<container::exec::Args>(),
    entry::<container::attach::Args>(),
    entry::<container::ps::Args>(),
    entry::<container::create::Args>(),
    entry::<container::start::Args>(),
    entry::<container::stop::Args>(),
    entry::<container::restart::Args>(),
    entry::<container::kill::Args>(),
    entry::<container::pause::Args>(),
    entry::<container::unpause::Args>(),
    entry::<container::rm::Args>(),
    entry::<container::logs::Args>(),
    entry::<container::wait::Args>(),
    entry::<container::inspect::Args>(),
    entry::<container::cp::Args>(),
    entry::<container::diff::Args>(),
    entry::<container::port::Args>(),
    entry::<container::prune::Args>(),
    entry::<container::rename::Args>(),
    entry::<container::top::Args>(),
    entry::<container::stats::Args>(),
    entry::<container::update::Args>(),
    entry::<image::pull::Args>(),
    entry::<image::images::Args>(),
    entry::<image::rmi::Args>(),
    entry::<image::tag::Args>(),
    entry::<image::import::Args>(),
    entry::<image::inspect::Args>(),
    entry::<network::ls::Args>(),
    entry::<network::inspect::Args>(),
    entry::<volume::ls::Args>(),
    entry::<volume::inspect::Args>(),
    entry::<inspect::Args>(),
    entry::<system::events::Args>(),
    entry::<system::version::Args>(),
    entry::<system::info::Args>(),
    entry::<completion::bash::Args>(),
    entry::<completion::fish::Args>(),
    entry::<completion::zsh::Args>(),
    entry::<man::Args>(),
];

pub const NOUNS: [(&str, &str); 6] = [
    ("completion", "Print the script that completes words in a shell"),
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Look at networks"),
    ("system", "Manage coracle itself"),
    ("volume", "Look at volumes"),
];

pub const COMMON: [&str; 7] = ["run", "exec", "ps", "pull", "images", "version", "info"];

/// docker's commands that do not exist here yet: the noun, and its verbs.
const NOT_YET: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "build",
            "builder",
            "buildx",
            "checkpoint",
            "commit",
            "compose",
            "config",
            "context",
            "export",
            "history",
            "load",
            "login",
            "logout",
            "manifest",
            "node",
            "plugin",
            "push",
            "save",
            "search",
            "secret",
            "service",
            "stack",
            "swarm",
            "trust",
        ],
    ),
    ("completion", &["powershell"]),
    ("container", &["commit", "export"]),
    ("image", &["build", "history", "load", "prune", "push", "save"]),
    ("network", &["connect", "create", "disconnect", "prune", "remove", "rm"]),
    ("system", &["df", "dial-stdio", "prune"]),
    ("volume", &["create", "prune", "remove", "rm", "update"]),
];

/// What a command line asks for.
pub enum Found<'a> {
    /// A verb as typed, with the program's name, and what follows it.
    Verb {
        entry: &'static Entry,
        path: String,
        rest: &'a [OsString],
    },
    /// Help or the version, as asked for.
    Text(String),
    /// Help that was not asked for: the line says too little.
    Advice(String),
    Mistake {
        message: String,
        code: u8,
    },
}

/// Finds the verb at the start of a command line.
pub fn find(argv: &[OsString]) -> Found<'_> {
    let word = |i: usize| argv.get(i).and_then(|word| word.to_str());
    match word(0) {
        None if argv.is_empty() => Found::Advice(program_help()),
        Some("--help" | "-h") => Found::Text(program_help()),
        Some("-v" | "--version") => Found::Text(format!("coracle version {}\n", env!("CARGO_PKG_VERSION"))),
        Some("help") => help_on(&argv[1..]),
        Some(flag) if flag.starts_with('-') => unknown_flag(flag, ""),
        Some(noun) if NOUNS.iter().any(|(name, _)| *name == noun) => match word(1) {
            None if argv.len() == 1 => Found::Advice(noun_help(noun)),
            Some("--help" | "-h") => Found::Text(noun_help(noun)),
            Some(flag) if flag.starts_with('-') => unknown_flag(flag, noun),
            _ => verb(&format!("{noun} {}", lossy(&argv[1])), &argv[2..], noun),
        },
        _ => verb(&lossy(&argv[0]), &argv[1..], ""),
    }
}

fn lossy(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

fn verb<'a>(form: &str, rest: &'a [OsString], noun: &str) -> Found<'a> {
    if let Some(entry) = entry_of(form) {
        // As docker: by a further name, a verb still tells the noun's first one.
        let prefix = format!("{noun} ");
        let first = entry.verb.forms.iter().find(|first| !noun.is_empty() && first.starts_with(&prefix));
        return Found::Verb { entry, path: format!("coracle {}", first.unwrap_or(&form)), rest };
    }
    let name = form.rsplit(' ').next().unwrap_or(form);
    let not_yet = NOT_YET.iter().any(|(of, verbs)| *of == noun && verbs.contains(&name));
    let message = if not_yet {
        format!("coracle: '{form}' is not supported yet")
    } else if noun.is_empty() {
        format!("coracle: unknown command: coracle {form}\n\nRun 'coracle --help' for more information")
    } else {
        format!(
            "coracle: unknown command: coracle {form}\n\nUsage:  coracle {noun}\n\nRun 'coracle {noun} --help' for more information"
        )
    };
    Found::Mistake { message, code: 1 }
}

fn unknown_flag(flag: &str, noun: &str) -> Found<'static> {
    let what = match flag.strip_prefix("--") {
        Some(_) => format!("unknown flag: {}", flag.split('=').next().unwrap_or(flag)),
        None => format!("unknown shorthand flag: '{}' in {flag}", flag.chars().nth(1).unwrap_or('-')),
    };
    let (usage, of) = match noun {
        "" => ("coracle [OPTIONS] COMMAND [ARG...]".to_owned(), "coracle".to_owned()),
        noun => (format!("coracle {noun}"), format!("coracle {noun}")),
    };
    let message = format!("{what}\n\nUsage:  {usage}\n\nRun '{of} --help' for more information");
    Found::Mistake { message, code: 125 }
}

/// `help`, `help VERB`, `help NOUN VERB`: the same as `VERB --help`.
fn help_on(words: &[OsString]) -> Found<'_> {
    static HELP: std::sync::LazyLock<[OsString; 1]> = std::sync::LazyLock::new(|| ["--help".into()]);
    match find(words) {
        Found::Verb { entry, path, .. } => Found::Verb { entry, path, rest: &HELP[..] },
        Found::Mistake { .. } => {
            let of_noun = words[0].to_str().is_some_and(|word| NOUNS.iter().any(|(noun, _)| *noun == word));
            let unknown = words.iter().skip(usize::from(of_noun)).map(|word| lossy(word));
            let topic = unknown.collect::<Vec<_>>().join(" ");
            Found::Mistake { message: format!("unknown help topic: {topic}"), code: 1 }
        }
        Found::Advice(text) | Found::Text(text) => Found::Text(text),
    }
}

/// The verb that is typed so.
pub fn entry_of(form: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.verb.forms.contains(&form))
}

pub fn verbs() -> Vec<&'static Verb> {
    ENTRIES.iter().map(|entry| &entry.verb).collect()
}

fn noun_help(noun: &str) -> String {
    let about = NOUNS.iter().find(|(name, _)| *name == noun).map_or("", |(_, about)| about);
    help::noun(noun, about, &verbs())
}

fn program_help() -> String {
    help::program(&COMMON, &NOUNS, &verbs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn path(line: &str) -> String {
        match find(&argv(line)) {
            Found::Verb { path, rest, .. } => format!("{path}|{}", rest.len()),
            Found::Text(text) => format!("TEXT {}", text.lines().next().unwrap_or_default()),
            Found::Advice(text) => format!("ADVICE {}", text.lines().next().unwrap_or_default()),
            Found::Mistake { message, code } => {
                format!("{code} {}", message.lines().next().unwrap_or_default())
            }
        }
    }

    #[test]
    fn every_form_leads_to_its_verb() {
        for entry in ENTRIES {
            for form in entry.verb.forms {
                let told = path(form);
                let (noun, verb) = form.split_once(' ').unwrap_or(("", form));
                let first = entry.verb.forms.iter().find(|first| first.starts_with(&format!("{noun} ")));
                let told_form = if noun.is_empty() { verb } else { first.unwrap() };
                assert_eq!(told, format!("coracle {told_form}|0"));
            }
        }
    }

    #[test]
    fn no_form_is_taken_twice() {
        let mut forms: Vec<&str> = ENTRIES.iter().flat_map(|entry| entry.verb.forms).copied().collect();
        forms.sort_unstable();
        let before = forms.len();
        forms.dedup();
        assert_eq!(forms.len(), before);
        for (noun, words) in NOT_YET {
            for word in *words {
                assert!(!forms.contains(&format!("{noun} {word}").trim_start()), "{noun} {word}");
            }
        }
    }

    #[test]
    fn the_page_about_docker_names_every_missing_command() {
        let page = include_str!("../../docs/docker-compatibility.md");
        let refused = page.split("## Refused by name").nth(1).unwrap().split("**Options of").next().unwrap();
        for (noun, words) in NOT_YET {
            let heading = format!("`{noun}`: `");
            let list = if noun.is_empty() { refused } else { refused.split(&heading).nth(1).unwrap() };
            let list = if noun.is_empty() { list } else { list.split('`').next().unwrap() };
            let named: Vec<&str> = list.split(|c: char| c.is_whitespace() || "`.;".contains(c)).collect();
            for word in *words {
                assert!(named.contains(word), "{noun} {word}");
            }
        }
    }

    #[test]
    fn lines() {
        let cases = [
            ("run -it x", "coracle run|2"),
            ("container run x", "coracle container run|1"),
            ("image ls -q", "coracle image ls|1"),
            ("help ps", "coracle ps|1"),
            ("help image ls", "coracle image ls|1"),
            ("", "ADVICE Usage:  coracle [OPTIONS] COMMAND"),
            ("--help", "TEXT Usage:  coracle [OPTIONS] COMMAND"),
            ("container", "ADVICE Usage:  coracle container COMMAND"),
            ("system --help", "TEXT Usage:  coracle system COMMAND"),
            ("foo", "1 coracle: unknown command: coracle foo"),
            ("container foo", "1 coracle: unknown command: coracle container foo"),
            ("save x", "1 coracle: 'save' is not supported yet"),
            ("container commit x", "1 coracle: 'container commit' is not supported yet"),
            ("volume create", "1 coracle: 'volume create' is not supported yet"),
            ("network rm x", "1 coracle: 'network rm' is not supported yet"),
            ("container save x", "1 coracle: unknown command: coracle container save"),
            ("container --foo ls", "125 unknown flag: --foo"),
            ("container -x", "125 unknown shorthand flag: 'x' in -x"),
            ("system prune", "1 coracle: 'system prune' is not supported yet"),
            ("prune", "1 coracle: unknown command: coracle prune"),
            ("help foo", "1 unknown help topic: foo"),
            ("help container foo", "1 unknown help topic: foo"),
            ("container list -a", "coracle container ls|1"),
            ("--foo ps", "125 unknown flag: --foo"),
            ("-x", "125 unknown shorthand flag: 'x' in -x"),
        ];
        for (line, expected) in cases {
            assert_eq!(path(line), expected, "{line}");
        }
        assert!(matches!(find(&argv("-v")), Found::Text(text) if text.starts_with("coracle version ")));
    }
}
