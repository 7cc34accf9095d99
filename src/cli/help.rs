//! `--help` in docker's layout, for one verb, one noun and the whole program. Runs in the client.

use std::fmt::Write;

use super::args::Verb;

/// Text is wrapped to this many columns, as docker does when there is no terminal to ask.
const COLUMNS: usize = 80;

/// The help of one verb. `path` is the verb as typed, with the program's name.
pub fn verb(path: &str, verb: &Verb, command: &clap::Command) -> String {
    let mut text = format!("Usage:  {path} {}\n\n{}\n", verb.usage, verb.about);
    if verb.forms.len() > 1 {
        let forms: Vec<String> = verb.forms.iter().map(|form| format!("coracle {form}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", forms.join(", "));
    }
    let options = options(command);
    if !options.is_empty() {
        let _ = write!(text, "\nOptions:\n{options}");
    }
    text
}

/// The flags, sorted by their long names: `  -a, --all   Show all containers`.
fn options(command: &clap::Command) -> String {
    let rows = rows(command);
    let width = rows.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (heading, about) in rows {
        for (i, line) in wrapped(&about, COLUMNS.saturating_sub(width)).iter().enumerate() {
            let heading = if i == 0 { heading.as_str() } else { "" };
            let _ = writeln!(text, "{heading:width$}{line}");
        }
    }
    text
}

/// `  -a, --all` and `Show all containers` of each flag that is shown.
pub fn rows(command: &clap::Command) -> Vec<(String, String)> {
    let hidden = |arg: &clap::Arg| arg.get_long().is_none_or(|l| l == "help" && arg.get_short().is_some());
    let mut rows: Vec<(&str, String, String)> = command
        .get_arguments()
        .filter(|arg| !hidden(arg))
        .map(|arg| (arg.get_long().unwrap_or_default(), heading(arg), about(arg)))
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, heading, about)| (heading, about)).collect()
}

fn heading(arg: &clap::Arg) -> String {
    let short = arg.get_short().map_or_else(|| "      ".to_owned(), |short| format!("  -{short}, "));
    let long = arg.get_long().unwrap_or_default();
    let is_switch = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    let takes_value = arg.get_action().takes_values() && !is_switch;
    match arg.get_value_names().filter(|_| takes_value) {
        Some([name, ..]) => format!("{short}--{long} {name}"),
        _ => format!("{short}--{long}"),
    }
}

fn about(arg: &clap::Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

/// Breaks a text at spaces so that no line is longer than `width`, if its words allow it.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it starts with one line");
        let length = line.chars().count();
        if length == 0 {
            line.push_str(word);
        } else if length + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The help of a noun: what can be done to a container, an image, the system.
pub fn noun(noun: &str, about: &str, verbs: &[&Verb]) -> String {
    let mut text = format!("Usage:  coracle {noun} COMMAND\n\n{about}\n\nCommands:\n");
    list(&mut text, &rows_of(noun, verbs));
    let _ = write!(text, "\nRun 'coracle {noun} COMMAND --help' for more information on a command.\n");
    text
}

/// What follows a noun, by name, and what it does.
pub fn rows_of<'v>(noun: &str, verbs: &[&'v Verb]) -> Vec<(&'v str, &'v str)> {
    let mut rows: Vec<_> = verbs.iter().filter_map(|v| Some((short_form(v, noun)?, v.about))).collect();
    rows.sort_unstable();
    rows
}

/// The word after the noun in the first form that has it.
fn short_form<'v>(verb: &'v Verb, noun: &str) -> Option<&'v str> {
    verb.forms.iter().find_map(|form| form.strip_prefix(noun)?.strip_prefix(' '))
}

/// The help of the program: the common verbs, the nouns, then every other verb.
pub fn program(common: &[&str], nouns: &[(&str, &str)], verbs: &[&Verb]) -> String {
    let mut text = String::from(
        "Usage:  coracle [OPTIONS] COMMAND\n\nContainers for one unprivileged user: no daemon, no root\n\nCommon Commands:\n",
    );
    let named = |name: &str| verbs.iter().find(|v| v.forms.contains(&name)).map(|v| v.about);
    let rows: Vec<(&str, &str)> = common.iter().filter_map(|name| Some((*name, named(name)?))).collect();
    list(&mut text, &rows);
    text.push_str("\nManagement Commands:\n");
    list(&mut text, nouns);
    text.push_str("\nCommands:\n");
    list(&mut text, &further(common, verbs));
    text.push_str(
        "\nGlobal Options:\n  -v, --version   Print version information and quit\n\nRun 'coracle COMMAND --help' for more information on a command.\n",
    );
    text
}

/// The verbs without a noun that are not among the common ones.
pub fn further<'v>(common: &[&str], verbs: &[&'v Verb]) -> Vec<(&'v str, &'v str)> {
    let short = |verb: &&'v Verb| Some((*verb.forms.iter().find(|form| !form.contains(' '))?, verb.about));
    let mut rows: Vec<_> =
        verbs.iter().filter_map(short).filter(|(name, _)| !common.contains(name)).collect();
    rows.sort_unstable();
    rows
}

fn list(text: &mut String, rows: &[(&str, &str)]) {
    for (name, about) in rows {
        let _ = writeln!(text, "  {name:<11} {about}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_at_spaces() {
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("longer-than-five b", 5), ["longer-than-five", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
