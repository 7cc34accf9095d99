//! `coracle __complete WORD...`: what the word under the cursor, the last one, may become. The scripts
//! alone call it.
//!
//! Each line is a candidate, a tab and what it is; then `:nospace` (after them) and `:files` (may be meant, too) may come. It never
//! fails: where there is nothing to say, it says nothing.

use std::ffi::OsString;
use std::process::ExitCode;

use super::candidates::{Answer, Then, answer};
use super::line::place;
use super::world::Own;
use crate::cli::Context;

pub fn print(argv: &[OsString], explained: bool, context: &Context) -> ExitCode {
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let text = text(&answer(place(&words), &Own(context)), explained);
    // There is nobody to tell.
    let _ = context.ui.print(&text);
    ExitCode::SUCCESS
}

fn text(answer: &Answer, explained: bool) -> String {
    let mut text = String::new();
    for candidate in &answer.candidates {
        text.push_str(&candidate.word);
        if explained && !candidate.about.is_empty() {
            text.push('\t');
            text.push_str(&candidate.about);
        }
        text.push('\n');
    }
    match answer.then {
        Then::Nothing => {}
        Then::NoSpace => text.push_str(":nospace\n"),
        Then::Files => text.push_str(":files\n"),
        Then::NoSpaceOrFiles => text.push_str(":nospace\n:files\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::candidates::Candidate;
    use super::*;

    #[test]
    fn a_candidate_a_line() {
        let candidates = vec![
            Candidate { word: "web:".into(), about: "nginx".into() },
            Candidate { word: "x".into(), about: String::new() },
        ];
        let answer = Answer { candidates, then: Then::Files };
        assert_eq!(text(&answer, true), "web:\tnginx\nx\n:files\n");
        assert_eq!(text(&answer, false), "web:\nx\n:files\n");
    }
}
