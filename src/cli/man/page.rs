//! Manual pages in roff (man(7)): one for the program, for each noun and for each verb. Pure.

use std::fmt::Write;

use super::texts;
use crate::cli::args::Verb;
use crate::cli::help;
use crate::cli::words::{COMMON, ENTRIES, NOUNS, verbs};

/// A page of section 1.
pub struct Page {
    /// `coracle-run`.
    pub name: String,
    /// Further names it is found by.
    pub aliases: Vec<String>,
    pub text: String,
}

impl Page {
    pub fn file(&self) -> String {
        format!("{}.1", self.name)
    }
}

pub fn all() -> Vec<Page> {
    let mut pages = vec![program()];
    pages.extend(NOUNS.iter().map(|(noun, about)| of_noun(noun, about)));
    pages.extend(ENTRIES.iter().map(|entry| of_verb(&entry.verb, &(entry.flags)())));
    pages
}

/// The form that the page is called by: the one without a noun, where there is one.
fn main_form(verb: &Verb) -> &'static str {
    verb.forms.iter().find(|form| !form.contains(' ')).unwrap_or(&verb.forms[0])
}

fn page_name(form: &str) -> String {
    format!("coracle-{}", form.replace(' ', "-"))
}

/// Text as roff takes it: no letter of it is a command.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split('\n') {
        if !out.is_empty() {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for letter in line.chars() {
            match letter {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '…' => out.push_str("..."),
                other => out.push(other),
            }
        }
    }
    out
}

/// A text of the tables, in lines that people can read and as roff takes it.
fn filled(text: &str) -> String {
    escaped(&help::wrapped(text, COLUMNS).join("\n"))
}

/// How long a line of the source is, without escapes.
const COLUMNS: usize = 70;

/// A page as it grows.
struct Roff(String);

impl Roff {
    fn new(name: &str, about: &str) -> Roff {
        let mut roff = Roff(String::new());
        let title = escaped(&name.to_uppercase());
        let version = env!("CARGO_PKG_VERSION");
        roff.line(&format!(".TH \"{title}\" 1 \"\" \"coracle {version}\" \"coracle\""));
        roff.section("NAME");
        roff.line(&filled(&format!("{name} - {about}")));
        roff
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.line(&format!(".SH {name}"));
    }

    /// A paragraph; the first of a section needs no space above it.
    fn paragraphs(&mut self, texts: &[&str]) {
        for (number, text) in texts.iter().enumerate() {
            if number > 0 {
                self.line(".PP");
            }
            self.line(&filled(text));
        }
    }

    /// What is explained, in roff, and its explanation, as text.
    fn item(&mut self, tag: &str, text: &str) {
        self.line(".TP");
        self.line(tag);
        self.line(&filled(text));
    }

    fn bold_item(&mut self, tag: &str, text: &str) {
        self.item(&format!("\\fB{}\\fR", escaped(tag)), text);
    }

    fn see_also(&mut self, names: &[String]) {
        self.section("SEE ALSO");
        let list: Vec<String> = names.iter().map(|name| format!("\\fB{}\\fR(1)", escaped(name))).collect();
        self.line(&list.join(",\n"));
    }
}

fn program() -> Page {
    let mut roff = Roff::new("coracle", "containers for one unprivileged user");
    roff.section("SYNOPSIS");
    roff.line("\\fBcoracle\\fR \\fICOMMAND\\fR [\\fIARG\\fR...]");
    roff.section("DESCRIPTION");
    roff.paragraphs(texts::PROGRAM);
    let verbs = verbs();
    roff.section("COMMON COMMANDS");
    for name in COMMON {
        if let Some(verb) = verbs.iter().find(|verb| verb.forms.contains(&name)) {
            roff.bold_item(name, verb.about);
        }
    }
    roff.section("MANAGEMENT COMMANDS");
    for (noun, about) in NOUNS {
        roff.bold_item(noun, about);
    }
    roff.section("COMMANDS");
    for (name, about) in help::further(&COMMON, &verbs) {
        roff.bold_item(name, about);
    }
    roff.section("OPTIONS");
    roff.item("\\fB\\-v\\fR, \\fB\\-\\-version\\fR", "Print version information and quit");
    roff.item("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Print usage");
    exit_status(&mut roff, &Verb::PLAIN, &[]);
    roff.section("ENVIRONMENT");
    for (name, about) in texts::environment() {
        roff.bold_item(&name, &about);
    }
    roff.section("FILES");
    for (path, about) in texts::FILES {
        roff.item(&format!("\\fI{}\\fR", escaped(path)), about);
    }
    let others: Vec<String> = ENTRIES.iter().map(|entry| page_name(main_form(&entry.verb))).collect();
    roff.see_also(&others);
    Page { name: "coracle".to_owned(), aliases: Vec::new(), text: roff.0 }
}

fn of_noun(noun: &str, about: &str) -> Page {
    let name = page_name(noun);
    let mut roff = Roff::new(&name, about);
    roff.section("SYNOPSIS");
    roff.line(&format!("\\fBcoracle {}\\fR \\fICOMMAND\\fR", escaped(noun)));
    roff.section("COMMANDS");
    let verbs = verbs();
    let mut see = vec!["coracle".to_owned()];
    for (word, about) in help::rows_of(noun, &verbs) {
        roff.bold_item(word, about);
        let form = format!("{noun} {word}");
        see.extend(verbs.iter().find(|v| v.forms.contains(&form.as_str())).map(|v| page_name(main_form(v))));
    }
    roff.see_also(&see);
    Page { name, aliases: Vec::new(), text: roff.0 }
}

fn of_verb(verb: &Verb, flags: &clap::Command) -> Page {
    let form = main_form(verb);
    let name = page_name(form);
    let text = texts::of(form);
    let mut roff = Roff::new(&name, verb.about);
    roff.section("SYNOPSIS");
    let mut usage = verb.usage.lines();
    let first = usage.next().unwrap_or_default();
    for (number, form) in verb.forms.iter().enumerate() {
        if number > 0 {
            roff.line(".br");
        }
        roff.line(&format!("\\fBcoracle {}\\fR {}", escaped(form), escaped(first)).trim_end().to_owned());
    }
    for further in usage {
        roff.line(".br");
        roff.line(&escaped(further.trim()));
    }
    roff.section("DESCRIPTION");
    roff.paragraphs(&[format!("{}.", verb.about).as_str()]);
    for paragraph in text.description {
        roff.line(".PP");
        roff.line(&filled(paragraph));
    }
    roff.section("OPTIONS");
    for (heading, about) in help::rows(flags) {
        roff.item(&option_tag(&heading), &about);
    }
    exit_status(&mut roff, verb, text.exit);
    if !text.examples.is_empty() {
        roff.section("EXAMPLES");
        for (line, about) in text.examples {
            roff.bold_item(line, about);
        }
    }
    let noun = verb.forms.iter().find_map(|form| form.split_once(' ')).map(|(noun, _)| page_name(noun));
    let mut see = vec!["coracle".to_owned()];
    see.extend(noun);
    see.extend(text.see.iter().map(|form| page_name(form)));
    roff.see_also(&see);
    let aliases = verb.forms.iter().filter(|other| **other != form).map(|form| page_name(form)).collect();
    Page { name, aliases, text: roff.0 }
}

/// `  -f, --filter filter` with what is typed in bold and what stands for something in italics.
fn option_tag(heading: &str) -> String {
    let mut tag = String::new();
    for (number, word) in heading.split_whitespace().enumerate() {
        if number > 0 {
            tag.push(' ');
        }
        let (name, comma) = word.strip_suffix(',').map_or((word, ""), |name| (name, ","));
        let font = if word.starts_with('-') { 'B' } else { 'I' };
        let _ = write!(tag, "\\f{font}{}\\fR{comma}", escaped(name));
    }
    tag
}

/// What holds for every command, in the order of numbers; `own` goes before it.
fn exit_status(roff: &mut Roff, verb: &Verb, own: &[(&str, &str)]) {
    roff.section("EXIT STATUS");
    let mut rows = vec![("0".to_owned(), "All went well.".to_owned())];
    let failed = "The command failed, also for one of several names";
    let counted = "the number of arguments is wrong";
    if verb.failure_code == 1 {
        rows.push(("1".to_owned(), format!("{failed}; {counted}.")));
    } else {
        rows.push(("1".to_owned(), format!("{}.", counted.replacen('t', "T", 1))));
        let code = verb.failure_code.to_string();
        rows.push((code, "coracle failed; an option is unknown or makes no sense.".to_owned()));
    }
    if verb.failure_code != 125 {
        let meaningless = if verb.usage_code == 125 { " or makes no sense" } else { " or malformed" };
        rows.push(("125".to_owned(), format!("An option is unknown{meaningless}.")));
    }
    rows.extend(own.iter().map(|(code, about)| ((*code).to_owned(), (*about).to_owned())));
    for (code, about) in rows {
        roff.bold_item(&code, &about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_of_a_text_is_a_command() {
        assert_eq!(escaped("a-b\\n"), "a\\-b\\en");
        assert_eq!(escaped(".x\n'y"), "\\&.x\n\\&'y");
        assert_eq!(option_tag("  -f, --filter filter"), "\\fB\\-f\\fR, \\fB\\-\\-filter\\fR \\fIfilter\\fR");
    }

    #[test]
    fn every_command_has_a_page_by_each_of_its_names() {
        let pages = all();
        let mut names: Vec<&str> = pages
            .iter()
            .flat_map(|page| page.aliases.iter().chain([&page.name]))
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for form in ENTRIES.iter().flat_map(|entry| entry.verb.forms) {
            assert!(names.contains(&page_name(form).as_str()), "{form}");
        }
        for page in &pages {
            let seen = page.text.split(".SH SEE ALSO\n").nth(1).unwrap().replace("\\-", "-");
            for name in seen.split(",\n").map(|name| name.trim().trim_start_matches("\\fB")) {
                let name = name.strip_suffix("\\fR(1)").unwrap();
                assert!(names.contains(&name), "{}: {name}", page.name);
            }
        }
    }

    #[test]
    fn a_page_says_what_its_flags_are() {
        let pages = all();
        let run = &pages.iter().find(|page| page.name == "coracle-run").unwrap().text;
        for part in [
            ".SH NAME\ncoracle\\-run \\- ",
            "\\fB\\-\\-network\\fR \\fInetwork\\fR\n",
            ".SH EXAMPLES",
            "\\fB127\\fR",
        ] {
            assert!(run.contains(part), "{part}\n{run}");
        }
    }
}
