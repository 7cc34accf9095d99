//! What may stand at a place of a command line.

use super::line::{Place, is_switch, repeats, takes_value};
use super::values;
use super::world::{Named, World};
use crate::cli::args::Verb;
use crate::cli::help;
use crate::cli::words::{COMMON, ENTRIES, Entry, NOUNS, verbs};
use crate::spec::container::Status;

/// A word, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub word: String,
    pub about: String,
}

impl Candidate {
    fn new(word: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate { word: word.into(), about: about.into() }
    }

    pub fn word(word: impl Into<String>) -> Candidate {
        Candidate::new(word, "")
    }

    /// With `head` in front of it.
    pub fn after(self, head: &str) -> Candidate {
        Candidate { word: format!("{head}{}", self.word), about: self.about }
    }
}

/// What else the shell has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// More follows in the same word.
    NoSpace,
    /// Files may be meant, too.
    Files,
    /// Both: more follows a candidate that is no file.
    NoSpaceOrFiles,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub candidates: Vec<Candidate>,
    pub then: Then,
}

impl Answer {
    pub fn of(candidates: Vec<Candidate>) -> Answer {
        Answer { candidates, then: Then::Nothing }
    }

    pub fn words(words: impl IntoIterator<Item = String>) -> Answer {
        Answer::of(words.into_iter().map(Candidate::word).collect())
    }

    /// Beginnings, such as `KEY=`.
    pub fn heads(words: &[&str]) -> Answer {
        let candidates = words.iter().map(|word| Candidate::word(*word)).collect();
        Answer { candidates, then: Then::NoSpace }
    }

    pub fn files() -> Answer {
        Answer { candidates: Vec::new(), then: Then::Files }
    }
}

/// Everything that begins with what is there, in order and once.
pub fn answer(place: Place, world: &dyn World) -> Answer {
    let (mut answer, typed) = match place {
        Place::Program { current } => (program(&current), current),
        Place::Noun { noun, current } => (of_noun(&noun, &current), current),
        Place::Flag { command, given, current } => (flags(&command, &given), current),
        Place::Value { entry, flag, head, current } => {
            let typed = format!("{head}{current}");
            let mut answer = value(entry, &flag, &current, world);
            for candidate in &mut answer.candidates {
                candidate.word.insert_str(0, &head);
            }
            (answer, typed)
        }
        Place::Argument { entry, given, current } => (argument(&entry.verb, &given, world), current),
        Place::Nowhere => (Answer::of(Vec::new()), String::new()),
    };
    answer.candidates.retain(|candidate| candidate.word.starts_with(&typed));
    if answer.candidates.is_empty() && answer.then == Then::NoSpaceOrFiles {
        answer.then = Then::Files;
    }
    answer.candidates.sort_by(|a, b| a.word.cmp(&b.word));
    answer.candidates.dedup_by(|a, b| a.word == b.word);
    answer
}

fn program(current: &str) -> Answer {
    if current.starts_with('-') {
        let help = Candidate::new("--help", "Print usage");
        return Answer::of(vec![help, Candidate::new("--version", "Print version information and quit")]);
    }
    let verbs = ENTRIES.iter().map(|entry| &entry.verb);
    let short = |verb: &&Verb| verb.forms.iter().any(|form| !form.contains(' '));
    let mut found: Vec<Candidate> = verbs
        .filter(short)
        .filter_map(|verb| {
            let form = verb.forms.iter().find(|form| COMMON.contains(form));
            let form = form.or_else(|| verb.forms.iter().find(|form| !form.contains(' ')))?;
            Some(Candidate::new(*form, verb.about))
        })
        .collect();
    found.extend(NOUNS.iter().map(|(noun, about)| Candidate::new(*noun, *about)));
    found.push(Candidate::new("help", "Help about the command"));
    Answer::of(found)
}

fn of_noun(noun: &str, current: &str) -> Answer {
    if current.starts_with('-') {
        return Answer::of(vec![Candidate::new("--help", "Print usage")]);
    }
    let rows = help::rows_of(noun, &verbs());
    Answer::of(rows.into_iter().map(|(verb, about)| Candidate::new(verb, about)).collect())
}

/// Names of flags, without those that are there and count once.
fn flags(command: &clap::Command, given: &[String]) -> Answer {
    let mut found = Vec::new();
    for flag in command.get_arguments() {
        let Some(long) = flag.get_long() else { continue };
        if given.iter().any(|name| name == long) && !repeats(flag) {
            continue;
        }
        let about = flag.get_help().map(ToString::to_string).unwrap_or_default();
        found.push(Candidate::new(format!("--{long}"), &about));
        found.extend(flag.get_short().map(|short| Candidate::new(format!("-{short}"), &about)));
    }
    Answer::of(found)
}

fn value(entry: &'static Entry, flag: &clap::Arg, current: &str, world: &dyn World) -> Answer {
    if is_switch(flag) && !takes_value(flag) {
        return Answer::words(["false", "true"].map(str::to_owned));
    }
    values::of_flag(&entry.verb, flag.get_long().unwrap_or_default(), current, world)
}

/// What an argument names, by the word for it in the usage line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Container,
    Image,
    Network,
    /// Of any kind.
    Any,
    /// `CONTAINER:PATH` or a path.
    Copied,
    File,
    Nothing,
}

/// The subject of the argument with that number, counted from 0.
fn subject(usage: &str, number: usize) -> Subject {
    let line = usage.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "[OPTIONS]").collect();
    let last = words.last().filter(|word| word.contains("...") && number >= words.len());
    let Some(word) = words.get(number).or(last) else { return Subject::Nothing };
    let word = word.trim_start_matches('[');
    let name = word.split(['[', ']', '.']).next().unwrap_or_default();
    match name {
        "CONTAINER" => Subject::Container,
        "IMAGE" | "SOURCE_IMAGE" | "TARGET_IMAGE" | "REPOSITORY" | "NAME" => Subject::Image,
        "NETWORK" => Subject::Network,
        "NAME|ID" => Subject::Any,
        _ if name.contains("_PATH") => Subject::Copied,
        "COMMAND" | "ARG" | "DIRECTORY" => Subject::File,
        _ if name.starts_with("file") => Subject::File,
        _ => Subject::Nothing,
    }
}

/// Which containers a verb is for; as docker's own completion chooses.
fn suits(verb: &Verb, status: Status) -> bool {
    let name = verb.forms[0].rsplit(' ').next().unwrap_or_default();
    let runs = !matches!(status, Status::Created | Status::Exited);
    match name {
        "pause" => status == Status::Running,
        "unpause" => status == Status::Paused,
        "attach" | "exec" | "kill" | "stats" | "stop" | "top" => runs,
        "start" => !runs,
        _ => true,
    }
}

fn argument(verb: &Verb, given: &[String], world: &dyn World) -> Answer {
    let mut answer = match subject(verb.usage, given.len()) {
        Subject::Container => Answer::of(containers(world, |container| suits(verb, container.status))),
        Subject::Image => Answer::of(images(world)),
        Subject::Network => Answer::of(networks(world)),
        Subject::Any => Answer::of([containers(world, |_| true), images(world), networks(world)].concat()),
        Subject::Copied => copied(world),
        Subject::File => Answer::files(),
        Subject::Nothing => Answer::of(Vec::new()),
    };
    // The image that is on every machine.
    if verb.usage.contains("IMAGE [COMMAND]") && given.is_empty() {
        answer.candidates.push(Candidate::new("host", "this machine's own files"));
    }
    answer.candidates.retain(|candidate| !given.contains(&candidate.word));
    answer
}

pub fn containers(world: &dyn World, wanted: impl Fn(&Named) -> bool) -> Vec<Candidate> {
    let found = world.containers().into_iter().filter(wanted);
    found.map(|c| Candidate::new(c.name, format!("{}, {}", c.image, c.status.name()))).collect()
}

pub fn images(world: &dyn World) -> Vec<Candidate> {
    world.images().into_iter().map(Candidate::word).collect()
}

pub fn networks(world: &dyn World) -> Vec<Candidate> {
    world.networks().into_iter().map(|(name, driver)| Candidate::new(name, driver)).collect()
}

/// `NAME:`, and files.
fn copied(world: &dyn World) -> Answer {
    let mut found = containers(world, |_| true);
    for candidate in &mut found {
        candidate.word.push(':');
    }
    Answer { candidates: found, then: Then::NoSpaceOrFiles }
}

#[cfg(test)]
mod tests {
    use super::super::line::place;
    use super::*;

    struct Fake;

    impl World for Fake {
        fn containers(&self) -> Vec<Named> {
            let named = |name: &str, status| Named { name: name.into(), image: "nginx".into(), status };
            vec![named("web", Status::Running), named("old", Status::Exited), named("new", Status::Created)]
        }

        fn images(&self) -> Vec<String> {
            vec!["redis:7".into(), "nginx:latest".into()]
        }

        fn networks(&self) -> Vec<(String, String)> {
            vec![("host".into(), "host".into()), ("none".into(), "null".into())]
        }

        fn variables(&self) -> Vec<String> {
            vec!["HOME".into()]
        }
    }

    fn words(line: &str) -> String {
        let typed: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let answer = answer(place(&typed), &Fake);
        let mut words: Vec<&str> = answer.candidates.iter().map(|found| found.word.as_str()).collect();
        match answer.then {
            Then::Nothing => {}
            Then::NoSpace => words.push(":nospace"),
            Then::Files => words.push(":files"),
            Then::NoSpaceOrFiles => words.push(":nospace :files"),
        }
        words.join(" ")
    }

    #[test]
    fn each_place_has_its_words() {
        let cases = [
            ("st", "start stats stop"),
            ("imag", "image images"),
            ("container r", "rename restart rm run"),
            ("network ", "inspect ls"),
            ("help netw", "network"),
            ("stop ", "web"),
            ("start ", "new old"),
            ("rm ", "new old web"),
            ("rm web ", "new old"),
            ("container rm o", "old"),
            ("exec ", "web"),
            ("exec web l", ":files"),
            ("rename old ", ""),
            ("run ", "host nginx:latest redis:7"),
            ("run re", "redis:7"),
            ("rmi re", "redis:7"),
            ("tag redis:7 n", "nginx:latest"),
            ("inspect n", "new nginx:latest none"),
            ("network inspect ", "host none"),
            ("cp w", "web: :nospace :files"),
            ("cp x", ":files"),
            ("cp web:/x ", "new: old: web: :nospace :files"),
            ("stop --t", "--timeout"),
            ("stop -t 1 --t", ""),
            ("run -e A --env", "--env --env-file"),
            ("run --network ", "host none"),
            ("run --network=n", "--network=none"),
            ("run --rm=t", "--rm=true"),
            ("run -e H", "HOME"),
            ("run --pull ", "always missing never"),
            ("kill -s SIGK", "SIGKILL"),
            ("ps -f st", "status= :nospace"),
            ("ps --filter status=r", "status=removing status=restarting status=running"),
            ("ps --filter=name=w", "--filter=name=web"),
            ("images -f since=r", "since=redis:7"),
            ("events --filter type=c", "type=container"),
            ("network ls -f type=", "type=builtin type=custom"),
            ("completion ", "bash fish zsh"),
            ("nope ", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn every_filter_knows_its_keys() {
        for entry in ENTRIES {
            let form = entry.verb.forms[0];
            if (entry.flags)().get_arguments().any(|flag| flag.get_long() == Some("filter")) {
                assert!(words(&format!("{form} --filter ")).contains('='), "{form}");
            }
        }
    }
}
