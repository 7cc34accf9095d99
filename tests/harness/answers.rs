//! Two answers to one command, and whether they say the same once ids, times and places are masked.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::cases::{Difference, Part};
use super::invocation::Output;

/// What a command said and how it ended.
#[derive(Debug, Clone)]
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        let (stdout, stderr, code) = output.parts();
        Answer { stdout, stderr, code }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (mark, text) in [('|', &self.stdout), ('!', &self.stderr)] {
            for line in text.lines() {
                writeln!(f, "{mark} {line}")?;
            }
            if !text.is_empty() && !text.ends_with('\n') {
                writeln!(f, "{mark} (no newline at the end)")?;
            }
        }
        write!(f, "ends with {}", self.code)
    }
}

/// What tells the answers of one case and side apart from any other.
pub struct Own<'a> {
    pub folder: &'a str,
    pub mark: &'a str,
}

/// Patterns and what stands for them, in their order.
static MASKS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let masks = [
        (r"\b[0-9a-f]{64}\b", "ID64"),
        (r"\b[0-9a-f]{12}\b", "ID12"),
        (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?(Z|[+-][0-9:]{5})", "TIME"),
        // How long ago decides how wide the column is.
        (
            r"(Less than a second|About a minute|About an hour|[0-9]+ (second|minute|hour|day|week|month|year)s?)( ago)?\b *",
            "AGE ",
        ),
        (r"\b(CREATED|STATUS|Created) +", "$1 "),
        // A container's random name, at the end of its row.
        (r"(?m)(AGE |  )[a-z]+_[a-z]+[0-9]?$", "${1}RANDOM_NAME"),
        // What docker's client logs when the other side has stopped to read: now and then.
        (r#"(?m)^time="[^"]*" level=error msg="Can't add file .*\n"#, ""),
        // A port that nobody asked for.
        (r":(3[2-9]|[45][0-9])[0-9]{3}->", ":PORT->"),
    ];
    masks.iter().map(|(pattern, mask)| (Regex::new(pattern).expect("a pattern"), *mask)).collect()
});

fn mask(text: &str, own: &Own<'_>) -> String {
    let text = text.replace(own.folder, "FOLDER").replace(own.mark, "%").replace("coracle", "docker");
    let mut text = Cow::Owned(text);
    for (pattern, mask) in MASKS.iter() {
        text = Cow::Owned(pattern.replace_all(&text, *mask).into_owned());
    }
    text.into_owned()
}

/// Who says it: docker names the daemon, its runtime and their steps, which coracle does not have (the
/// row "error texts"); its hints after a wrong number of arguments are worded in three ways ("slips").
fn without_speaker(text: &str) -> String {
    let speakers = [
        "docker: ",
        "Error response from daemon: ",
        "Error: ",
        "failed to create task for container: ",
        "failed to create shim task: ",
        "OCI runtime create failed: runc create failed: ",
        "OCI runtime exec failed: exec failed: ",
        "unable to start container process: ",
        "error during container init: ",
    ];
    let mut said = String::new();
    for (i, line) in text.split('\n').enumerate() {
        let told = speakers.iter().fold(line, |line, speaker| line.strip_prefix(speaker).unwrap_or(line));
        // The runtime's lines end as those of a terminal.
        let line = if told == line { line } else { told.trim_end_matches('\r') };
        let hint = line.strip_prefix("See '").or_else(|| line.strip_prefix("SRun '"));
        said += if i == 0 { "" } else { "\n" };
        said += &hint.map_or(line.to_owned(), |rest| format!("Run '{rest}"));
    }
    said
}

/// Whether a message has docker's words, whatever the letters' case (the packaged engine has other
/// capitals than docker's own). coracle may go on after them with advice (the row "advice").
fn same_words(coracle: &str, docker: &str) -> bool {
    let (coracle, docker) = (coracle.to_lowercase(), docker.to_lowercase());
    let goes_on = |ours: &str, theirs: &str| {
        ours.strip_prefix(theirs)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(": ") || rest.starts_with(" ("))
    };
    coracle.lines().count() == docker.lines().count()
        && coracle.lines().zip(docker.lines()).all(|(ours, theirs)| goes_on(ours, theirs))
}

/// The advice that docker gives after every failure of `run`, coracle only after a wrong command line
/// (the row "hint after a failed `run`").
fn without_hint(text: &str) -> &str {
    let hint = text.rfind("\n\nRun 'docker run --help' for more information");
    hint.map_or(text, |at| &text[..=at])
}

impl Answer {
    /// With what is by chance or by place masked.
    pub fn masked(&self, own: &Own<'_>) -> Answer {
        Answer {
            stdout: without_speaker(&mask(&self.stdout, own)),
            stderr: without_speaker(&mask(&self.stderr, own)),
            code: self.code,
        }
    }

    fn same(&self, other: &Answer, part: Part) -> bool {
        match part {
            Part::Stdout => self.stdout == other.stdout,
            Part::Stderr => {
                same_words(&self.stderr, &other.stderr)
                    || same_words(&self.stderr, without_hint(&other.stderr))
            }
            Part::Code => self.code == other.code,
        }
    }

    fn has(&self, part: Part, words: &str) -> bool {
        let text = if part == Part::Stdout { &self.stdout } else { &self.stderr };
        text.to_lowercase().contains(&words.to_lowercase())
    }
}

/// What is wrong with coracle's masked answer, seen from docker's. `exact`: the words count too.
pub fn compare(coracle: &Answer, docker: &Answer, known: &[Difference], exact: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (part, name) in [(Part::Stdout, "stdout"), (Part::Stderr, "stderr"), (Part::Code, "code")] {
        let same = coracle.same(docker, part);
        let Some(difference) = known.iter().find(|difference| difference.part == part) else {
            let well = match (part, exact) {
                (Part::Stderr, false) => coracle.stderr.is_empty() == docker.stderr.is_empty(),
                _ => same,
            };
            faults.extend((!well).then(|| format!("{name} differs")));
            continue;
        };
        if same && exact {
            faults.push(format!("{name} is the same, and is said to differ"));
        }
        if let Some(words) = &difference.shared {
            for (who, answer) in [("coracle", coracle), ("docker", docker)] {
                if (exact || who == "coracle") && !answer.has(part, words) {
                    faults.push(format!("{who} does not say {words:?} on {name}"));
                }
            }
        }
    }
    faults
}

#[test]
fn what_is_by_chance_does_not_count() {
    let own = Own { folder: "/tmp/x", mark: "qa001z" };
    let say = |text: &str| mask(text, &own);
    assert_eq!(say("/tmp/x/a cqa001z"), "FOLDER/a c%");
    assert_eq!(say(&"0a".repeat(32)), "ID64");
    assert_eq!(say("CREATED          X\n2 seconds ago    X\n"), "CREATED X\nAGE X\n");
    assert_eq!(say("Up Less than a second   "), "Up AGE ");
    assert_eq!(say("Exited (0) About a minute ago   x"), "Exited (0) AGE x");
    assert_eq!(say("80/tcp  elated_bohr3\nno_such x"), "80/tcp  RANDOM_NAME\nno_such x");
    assert_eq!(say("0.0.0.0:32768->80/tcp, [::]:8080->80/tcp"), "0.0.0.0:PORT->80/tcp, [::]:8080->80/tcp");
    assert_eq!(without_speaker("docker: Error response from daemon: a\nb\n"), "a\nb\n");
}

#[test]
fn a_known_difference_must_be_one() {
    let answer = |stderr: &str| Answer { stdout: String::new(), stderr: stderr.to_owned(), code: 1 };
    let known = [Difference { part: Part::Stderr, shared: Some("no".to_owned()), key: String::new() }];
    assert!(
        same_words("no such file (try y)\n", "No such file\n")
            && !same_words("no such files", "no such file")
    );
    let (one, other) = (answer("no a"), answer("No b"));
    assert!(compare(&one, &other, &known, true).is_empty());
    assert_eq!(compare(&one, &one, &known, true).len(), 1);
    assert_eq!(compare(&one, &other, &[], true).len(), 1);
    assert_eq!(compare(&answer("x"), &other, &known, true).len(), 1);
    assert!(
        compare(&answer("a\n"), &answer("a\n\nRun 'docker run --help' for more information\n"), &[], true)
            .is_empty()
    );
}
