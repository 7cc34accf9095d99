//! Where in a command line the cursor stands. Pure.

use clap::{Arg, ArgAction};

use crate::cli::words::{Entry, NOUNS, entry_of};

/// What the word under the cursor is, and what of it is there.
pub enum Place {
    /// The first word.
    Program {
        current: String,
    },
    /// The word after a noun.
    Noun {
        noun: String,
        current: String,
    },
    /// The name of a flag; `given` are those that are there.
    Flag {
        command: clap::Command,
        given: Vec<String>,
        current: String,
    },
    /// The value of a flag, by its long name. `head` is what the word has before it: `--name=`.
    Value {
        entry: &'static Entry,
        flag: Arg,
        head: String,
        current: String,
    },
    /// An argument; `given` are those before it.
    Argument {
        entry: &'static Entry,
        given: Vec<String>,
        current: String,
    },
    Nowhere,
}

/// Reads the words without the program's name, the last of which is under the cursor.
pub fn place(words: &[String]) -> Place {
    let Some((current, done)) = words.split_last() else { return Place::Nowhere };
    let current = current.clone();
    match done {
        [] => Place::Program { current },
        [help, rest @ ..] if help == "help" => match (rest, place(&words[1..])) {
            ([] | [_], found @ (Place::Program { .. } | Place::Noun { .. })) => found,
            _ => Place::Nowhere,
        },
        [noun] if is_noun(noun) => Place::Noun { noun: noun.clone(), current },
        [noun, verb, rest @ ..] if is_noun(noun) => of_verb(&format!("{noun} {verb}"), rest, current),
        [verb, rest @ ..] => of_verb(verb, rest, current),
    }
}

fn is_noun(word: &str) -> bool {
    NOUNS.iter().any(|(noun, _)| *noun == word)
}

fn of_verb(form: &str, done: &[String], current: String) -> Place {
    let Some(entry) = entry_of(form) else { return Place::Nowhere };
    let command = (entry.flags)();
    let mut read = Read::default();
    for word in done {
        read.word(word, &command, entry.verb.flags_first);
    }
    let Read { given, words, pending, over } = read;
    if let Some(flag) = pending {
        return Place::Value { entry, flag, head: String::new(), current };
    }
    if !over && current.starts_with('-') {
        let long =
            current.split_once('=').and_then(|(name, value)| Some((long_flag(&command, name)?, value)));
        return match long {
            Some((flag, value)) => {
                let head = current[..current.len() - value.len()].to_owned();
                Place::Value { entry, flag: flag.clone(), head, current: value.to_owned() }
            }
            None => Place::Flag { command, given, current },
        };
    }
    Place::Argument { entry, given: words, current }
}

/// What was read of a verb's line.
#[derive(Default)]
struct Read {
    /// The long names of the flags.
    given: Vec<String>,
    words: Vec<String>,
    /// The flag whose value the next word is.
    pending: Option<Arg>,
    /// There are no more flags.
    over: bool,
}

impl Read {
    fn word(&mut self, word: &str, command: &clap::Command, flags_first: bool) {
        if self.pending.take().is_some() {
        } else if self.over || !word.starts_with('-') || word == "-" {
            self.words.push(word.to_owned());
            self.over |= flags_first;
        } else if word == "--" {
            self.over = true;
        } else if word.starts_with("--") {
            let name = word.split('=').next().unwrap_or(word);
            if let Some(flag) = long_flag(command, name) {
                self.give(flag, !word.contains('='));
            }
        } else {
            self.short_flags(&word[1..], command);
        }
    }

    /// `-it`, `-eA=1`, `-e`.
    fn short_flags(&mut self, letters: &str, command: &clap::Command) {
        for (at, letter) in letters.char_indices() {
            let short = |flag: &&Arg| flag.get_short() == Some(letter);
            let Some(flag) = command.get_arguments().find(short) else { return };
            let last = at + letter.len_utf8() == letters.len();
            self.give(flag, last);
            if takes_value(flag) {
                return;
            }
        }
    }

    fn give(&mut self, flag: &Arg, value_follows: bool) {
        self.given.extend(flag.get_long().map(str::to_owned));
        self.pending = Some(flag).filter(|flag| value_follows && takes_value(flag)).cloned();
    }
}

fn long_flag<'a>(command: &'a clap::Command, typed: &str) -> Option<&'a Arg> {
    let name = typed.strip_prefix("--")?;
    let called = |flag: &&Arg| {
        flag.get_long() == Some(name) || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    command.get_arguments().find(called)
}

/// Whether a flag's value may be the next word; a switch takes one only after `=`.
pub fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !is_switch(flag)
}

pub fn is_switch(flag: &Arg) -> bool {
    flag.get_num_args().is_some_and(|count| count.min_values() == 0)
}

/// Whether a flag may be there more than once.
pub fn repeats(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match place(&words) {
            Place::Program { current } => format!("program {current}"),
            Place::Noun { noun, current } => format!("noun {noun} {current}"),
            Place::Flag { given, current, .. } => format!("flag {} {current}", given.join(",")),
            Place::Value { flag, head, current, .. } => {
                format!("value {} {head}|{current}", flag.get_long().unwrap())
            }
            Place::Argument { entry, given, current } => {
                format!("{} [{}] {current}", entry.verb.forms[0], given.join(","))
            }
            Place::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn the_cursor_is_found() {
        let cases = [
            ("", "program "),
            ("ru", "program ru"),
            ("container ", "noun container "),
            ("container st", "noun container st"),
            ("help co", "program co"),
            ("help image l", "noun image l"),
            ("help run x", "nowhere"),
            ("nope ", "nowhere"),
            ("stop ", "container stop [] "),
            ("stop a b", "container stop [a] b"),
            ("stop a -", "flag  -"),
            ("stop -t ", "value timeout |"),
            ("stop -t 3 w", "container stop [] w"),
            ("stop --time 3 w", "container stop [] w"),
            ("stop -t3 w", "container stop [] w"),
            ("stop --timeout=3 w", "container stop [] w"),
            ("stop --signal=SIG", "value signal --signal=|SIG"),
            ("container stop --", "flag  --"),
            ("run -it --rm -", "flag interactive,tty,rm -"),
            ("run -ite ", "value env |"),
            ("run -itp 80:80 im", "container run [] im"),
            ("run im -", "container run [im] -"),
            ("run --net h", "value network |h"),
            ("run --rm=tr", "value rm --rm=|tr"),
            ("run -- im", "container run [] im"),
            ("exec -it -- we", "container exec [] we"),
        ];
        for (line, expected) in cases {
            assert_eq!(told(line), expected, "{line}");
        }
    }
}
