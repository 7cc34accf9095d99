//! The table of cases that coracle and a real Docker Engine both run: `tests/oracle/*.cases`.
//!
//! A case is a paragraph of lines; the first letters of a line say what it is:
//!
//! ```text
//! # What the case is about (may be left out).
//! ! alone                                   no other case runs meanwhile, and no container is there
//! docker run -d --name c% tiny sleep 99     set-up: a line of shell that must succeed
//! $ docker stop c%                          a line of shell whose answer is compared
//! ~ stdout KEY                              of the line above: this part differs, and why
//! ~ stderr "words" KEY                      ... both have these words in it (`""`: nothing in common)
//! ```
//!
//! A paragraph without set-up is as many cases as it has lines, which run in any order.
//! `docker` is coracle on one side and docker's client on the other. Each case has a folder of its own
//! as the working directory. `%` becomes what is unique to the case, so that names do not collide (`%%`
//! is a plain one). KEY is the first column of a row of "Known differences" in
//! docs/docker-compatibility.md.

use std::fs;
use std::path::Path;

/// One paragraph.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// `FILE:LINE` of its first line.
    pub place: String,
    pub alone: bool,
    pub steps: Vec<Step>,
    /// Stands for `%`.
    pub mark: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// `FILE:LINE`.
    pub place: String,
    pub script: String,
    /// `None` for set-up.
    pub compared: Option<Vec<Difference>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Stdout,
    Stderr,
    Code,
}

/// A part of the answer that is known to differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub part: Part,
    /// What both say all the same.
    pub shared: Option<String>,
    pub key: String,
}

/// The cases of one area; `letter` keeps its names apart from those of other areas.
pub fn read(area: &str, letter: char) -> Vec<Case> {
    let file = format!("tests/oracle/{area}.cases");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
    parse(&file, &text, letter)
}

fn parse(file: &str, text: &str, letter: char) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_case = false;
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{file}:{number}");
        let line = line.trim();
        if line.is_empty() {
            in_case = false;
            continue;
        }
        if !in_case {
            // Not of hexadecimal digits: it must not be found in an id.
            let mark = format!("q{letter}{:03}z", cases.len());
            cases.push(Case { place: place.clone(), alone: false, steps: Vec::new(), mark });
            in_case = true;
        }
        let case = cases.last_mut().expect("one was pushed");
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match first {
            "#" => {}
            "!" => {
                assert!(rest == "alone", "{place}: {rest:?} is unknown");
                case.alone = true;
            }
            "~" => {
                let step = case.steps.last_mut().unwrap_or_else(|| panic!("{place}: of what?"));
                let known = step.compared.as_mut().unwrap_or_else(|| panic!("{place}: of what?"));
                known.push(difference(rest).unwrap_or_else(|| panic!("{place}: {line:?}")));
            }
            _ => {
                let compared = (first == "$").then(Vec::new);
                let script = if compared.is_some() { rest } else { line };
                let script = script.replace("%%", "\0").replace('%', &case.mark).replace('\0', "%");
                case.steps.push(Step { place, script, compared });
            }
        }
    }
    cases.into_iter().flat_map(Case::apart).collect()
}

impl Case {
    /// A paragraph of nothing but compared lines becomes a case for each of them.
    fn apart(self) -> Vec<Case> {
        if self.alone || self.steps.iter().any(|step| step.compared.is_none()) {
            return vec![self];
        }
        let case = |(number, step): (usize, Step)| {
            // In the compared line the mark is there already: it gets longer.
            let mark = format!("{}{number:02}y", self.mark);
            let script = step.script.replace(&self.mark, &mark);
            Case { place: step.place.clone(), alone: false, mark, steps: vec![Step { script, ..step }] }
        };
        self.steps.into_iter().enumerate().map(case).collect()
    }

    /// How many lines are compared.
    pub fn compared(&self) -> usize {
        self.steps.iter().filter(|step| step.compared.is_some()).count()
    }
}

fn difference(text: &str) -> Option<Difference> {
    let (part, rest) = text.split_once(' ')?;
    let part = match part {
        "stdout" => Part::Stdout,
        "stderr" => Part::Stderr,
        "code" => Part::Code,
        _ => return None,
    };
    let (shared, key) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (words, key) = quoted.split_once('"')?;
            (Some(words.to_owned()), key.trim())
        }
        None => (None, rest),
    };
    // Without a shared word anything on stderr would do.
    (part != Part::Stderr || shared.is_some()).then(|| Difference { part, shared, key: key.to_owned() })
}

/// The first column of the rows of "Known differences".
pub fn known_differences() -> Vec<String> {
    let page = include_str!("../../docs/docker-compatibility.md");
    let section = page.split("## Known differences").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("it has an end");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.filter_map(|row| Some(row.split('|').nth(1)?.trim().to_owned())).collect()
}

#[test]
fn paragraphs_become_cases() {
    let text = "# about\n\n! alone\ndocker create --name c% x\n$ docker ps; date +%%s\n~ stderr \"no\" why\n~ code w\n\n$ docker ps\n$ docker rm c%";
    let cases = parse("f", text, 'a');
    assert_eq!(cases.len(), 3);
    assert_eq!(cases[2].steps[0].script, format!("docker rm c{}", cases[2].mark));
    assert_eq!(cases.iter().map(Case::compared).sum::<usize>(), 3);
    let first = &cases[0];
    assert!(first.alone && first.place == "f:3");
    assert_eq!(first.steps[0].script, format!("docker create --name c{} x", first.mark));
    assert_eq!(first.steps[0].compared, None);
    assert_eq!(first.steps[1].script, "docker ps; date +%s");
    let known = first.steps[1].compared.as_ref().unwrap();
    let stderr = Difference { part: Part::Stderr, shared: Some("no".to_owned()), key: "why".to_owned() };
    assert_eq!(known[0], stderr);
    assert_eq!((known[1].part, known[1].key.as_str()), (Part::Code, "w"));
    assert_ne!(cases[0].mark, cases[1].mark);
}
