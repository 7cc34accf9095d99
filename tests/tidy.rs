//! The rules of the house that a compiler does not know: layers, heads, lengths, names, the
//! changelog. Each failure names the line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module may use modules of lower ranks only, none of its own rank.
const RANKS: &[(&str, u32)] = &[
    ("spec", 0),
    ("sys", 0),
    ("config", 1),
    ("rootfs", 2),
    ("network", 2),
    ("userns", 2),
    ("security", 2),
    ("archive", 2),
    ("registry", 2),
    ("cgroup", 2),
    ("runtime", 3),
    ("store", 3),
    ("monitor", 4),
    ("engine", 5),
    ("cli", 7),
    ("main", 8),
];

/// `(user, used)`: the exceptions to the ranks, each with its reason beside it.
const EXCEPTIONS: &[(&str, &str)] = &[];

const LONGEST_FILE: usize = 600;

/// Names that say nothing about what a file owns.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "misc", "helper", "helpers", "types", "manager", "impl"];

/// Words that mean: not finished.
const MARKS: &[&str] = &["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "dbg!", "#[ignore", "TBD"];

struct Source {
    /// Relative to the repository.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.push(Source { path: path.strip_prefix(root()).unwrap().display().to_string(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn rust_files() -> Vec<Source> {
    let mut files = files_below("src", is_rust);
    files.extend(files_below("tests", is_rust));
    assert!(files.len() > 30, "the sources are not found");
    files
}

fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The code of a line, without a comment at its end.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// Every place where `word` stands by itself in `line`.
fn words_at<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .filter(move |(at, _)| {
            !part(line[..*at].chars().last()) && !part(line[at + word.len()..].chars().next())
        })
        .map(|(at, _)| at)
}

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// The top-level module that a file below `src` belongs to.
fn module_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap();
    inner.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The modules named after `crate::` in a line, also those in braces.
fn used(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let members = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| split_members(list));
        for member in members {
            let name: String =
                member.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

/// `a::b, c::{d, e}` of a `use crate::{...}` into its members.
fn split_members(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&list[start..at]);
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&list[start..]);
    members
}

#[test]
fn modules_use_lower_ranks_only() {
    let mut faults = Vec::new();
    for file in files_below("src", is_rust) {
        let module = module_of(&file.path);
        let Some(own) = rank(module) else {
            faults.push(format!("{}: the module {module} has no rank in tests/tidy.rs", file.path));
            continue;
        };
        // A `use` can span lines: its members are joined first.
        let joined = file.text.lines().map(code).collect::<Vec<_>>().join(" ");
        for name in used(&joined) {
            let excepted = EXCEPTIONS.contains(&(module, name.as_str()));
            let Some(other) = rank(&name) else { continue };
            if name != module && other >= own && !excepted {
                let line = file.text.lines().position(|line| line.contains(&name)).unwrap_or(0) + 1;
                faults
                    .push(format!("{}:{line}: {module} (rank {own}) uses {name} (rank {other})", file.path));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn the_layer_check_sees_what_it_should() {
    assert_eq!(used("use crate::{spec::id, store::{a, b}, sys};"), ["spec", "store", "sys"]);
    assert_eq!(used("let x = crate::engine::run(crate::spec::X);"), ["engine", "spec"]);
}

#[test]
fn unsafe_stays_in_sys() {
    let mut faults = Vec::new();
    for file in rust_files() {
        if file.path.starts_with("src/sys/") || file.path == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if words_at(code(line), "unsafe").next().is_some() {
                faults.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn every_file_says_what_it_owns() {
    let heads = rust_files().into_iter().filter(|file| !file.text.starts_with("//! "));
    no_faults(&heads.map(|file| format!("{}: does not start with //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    let long = rust_files().into_iter().filter(|file| file.text.lines().count() > LONGEST_FILE);
    no_faults(
        &long.map(|file| format!("{}: {} lines", file.path, file.text.lines().count())).collect::<Vec<_>>(),
    );
}

#[test]
fn names_say_something() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let path = PathBuf::from(&file.path);
        for part in path.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned()) {
            if EMPTY_NAMES.contains(&part.as_str()) {
                faults.push(format!("{}: {part} says nothing", file.path));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn nothing_is_left_for_later() {
    let mut faults = Vec::new();
    for file in rust_files().into_iter().filter(|file| file.path != "tests/tidy.rs") {
        for (number, line) in file.text.lines().enumerate() {
            for mark in MARKS {
                let found = match mark.chars().all(char::is_alphabetic) {
                    true => words_at(line, mark).next().is_some(),
                    false => line.contains(mark),
                };
                if found {
                    faults.push(format!("{}:{}: {mark}", file.path, number + 1));
                }
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn no_path_of_one_machine() {
    // Where this very copy lies, and where such copies usually do.
    let here = root().parent().map(|parent| format!("{}/", parent.display())).unwrap_or_default();
    let mut files = files_below("src", is_rust);
    files.extend(files_below("docs", |_| true));
    files.extend(files_below("tests", |_| true));
    let mut faults = Vec::new();
    for file in &files {
        for (number, line) in file.text.lines().enumerate() {
            let places = [here.as_str(), concat!("/wo", "rk/"), concat!("/ro", "ot/.c")];
            if places.iter().any(|place| place.len() > 6 && line.contains(place)) {
                faults.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn every_test_file_is_run() {
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    let harness = fs::read_to_string(root().join("tests/harness/mod.rs")).unwrap();
    let mut faults = Vec::new();
    for file in files_below("tests", is_rust).into_iter().filter(|file| file.path != "tests/main.rs") {
        let path = PathBuf::from(&file.path);
        let (name, list) =
            match (path.file_stem().unwrap().to_str().unwrap(), file.path.contains("/harness/")) {
                ("mod", _) => ("harness", &main),
                (name, true) => (name, &harness),
                (name, false) => (name, &main),
            };
        if !list.lines().any(|line| line.trim().trim_start_matches("pub ") == format!("mod {name};")) {
            faults.push(format!("{}: no `mod {name};` names it", file.path));
        }
        let tests = file.text.matches("#[test]").count();
        if tests == 0 && !file.path.contains("/harness/") {
            faults.push(format!("{}: has no test", file.path));
        }
    }
    no_faults(&faults);
}

#[test]
fn every_verb_has_its_tests() {
    let folders = ["container", "image", "system"];
    let mut faults = Vec::new();
    for folder in folders {
        let verbs = |top: &str| -> BTreeSet<String> {
            let files = files_below(&format!("{top}/{folder}"), is_rust);
            files.into_iter().map(|file| file.path[top.len() + 1..].to_owned()).collect()
        };
        let (commands, tests) = (verbs("src/cli"), verbs("tests"));
        // What several verbs share is tested through each of them.
        let shared = |path: &&String| !path.ends_with("/mod.rs") && !SHARED_BY_VERBS.contains(&path.as_str());
        faults.extend(
            commands.difference(&tests).filter(shared).map(|path| format!("tests/{path} is missing")),
        );
    }
    no_faults(&faults);
}

/// Files of `src/cli` that are no verb.
const SHARED_BY_VERBS: &[&str] = &["container/options.rs"];

#[test]
fn the_changelog_keeps_its_shape() {
    let text = fs::read_to_string(root().join("docs/changelog.md")).expect("docs/changelog.md");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("# Changelog"));
    let mut releases = Vec::new();
    let mut faults = Vec::new();
    for (number, line) in lines.enumerate() {
        let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
        if let Some(release) = line.strip_prefix("## ") {
            let dated = |rest: &str| rest.len() == 10 && rest.split('-').all(|n| n.parse::<u32>().is_ok());
            let good = release == "[Unreleased]"
                || release
                    .strip_prefix('[')
                    .and_then(|r| r.split_once("] - "))
                    .is_some_and(|(_, date)| dated(date));
            if !good {
                faults.push(format!("docs/changelog.md:{}: {release} is no release", number + 2));
            }
            releases.push(release.to_owned());
        } else if let Some(kind) = line.strip_prefix("### ").filter(|kind| !kinds.contains(kind)) {
            faults.push(format!("docs/changelog.md:{}: {kind} is no kind of change", number + 2));
        }
    }
    no_faults(&faults);
    let version = env!("CARGO_PKG_VERSION");
    let told = releases
        .iter()
        .any(|release| release == "[Unreleased]" || release.starts_with(&format!("[{version}]")));
    assert!(told, "neither [Unreleased] nor [{version}] is in docs/changelog.md");
}
