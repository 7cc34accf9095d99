//! `--help` of the program, of nouns and of every verb.

use crate::harness::Env;

/// The words of one of help's lists.
fn listed(text: &str, heading: &str) -> Vec<String> {
    let list = text.split(&format!("{heading}:\n")).nth(1).unwrap_or_else(|| panic!("{heading}: {text}"));
    let rows = list.lines().take_while(|line| !line.is_empty());
    rows.map(|row| row.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn commands_are_grouped() {
    let env = Env::new();
    let said = env.coracle(["--help"]).success();
    let text = said.stdout();
    assert_eq!(listed(text, "Common Commands"), ["run", "exec", "ps", "pull", "images", "version", "info"]);
    let nouns = listed(text, "Management Commands");
    assert_eq!(nouns, ["completion", "container", "image", "network", "system", "volume"]);
    let verbs = listed(text, "\nCommands");
    assert!(verbs.is_sorted() && verbs.contains(&"logs".to_owned()) && !verbs.contains(&"run".to_owned()));
    assert_eq!(listed(text, "Global Options"), ["-v,"]);
}

#[test]
fn every_listed_command_has_help() {
    let env = Env::new();
    let top = env.coracle(["--help"]).success();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for heading in ["Common Commands", "\nCommands"] {
        commands.extend(listed(top.stdout(), heading).into_iter().map(|verb| vec![verb]));
    }
    for noun in listed(top.stdout(), "Management Commands") {
        let said = env.coracle([noun.as_str(), "--help"]).success();
        assert!(said.stdout().starts_with(&format!("Usage:  coracle {noun} COMMAND\n\n")));
        // A noun alone is asked about on stderr.
        let alone = env.coracle([noun.as_str()]).success();
        assert_eq!((alone.stdout(), alone.stderr()), ("", said.stdout()));
        commands.extend(listed(said.stdout(), "Commands").into_iter().map(|verb| vec![noun.clone(), verb]));
    }
    assert!(commands.len() > 50, "{commands:?}");
    for words in commands {
        let form = words.join(" ");
        let said = env.coracle(words.iter().map(String::as_str).chain(["--help"])).success();
        let text = said.stdout();
        assert!(text.starts_with(&format!("Usage:  coracle {form}")), "{form}: {text}");
        if let Some((_, aliases)) = text.split_once("\nAliases:\n  ") {
            let aliases = aliases.lines().next().unwrap();
            assert!(aliases.split(", ").any(|alias| alias == format!("coracle {form}")), "{form}: {aliases}");
        }
        let help = env.coracle(std::iter::once("help").chain(words.iter().map(String::as_str))).success();
        assert_eq!(help.stdout(), text, "{form}");
    }
}

#[test]
fn unknown_words_are_told_as_docker_tells_them() {
    let env = Env::new();
    for (line, code, message) in [
        (
            &["no_such"][..],
            1,
            "coracle: unknown command: coracle no_such\n\nRun 'coracle --help' for more information",
        ),
        (
            &["network", "no_such"],
            1,
            "coracle: unknown command: coracle network no_such\n\nUsage:  coracle network\n",
        ),
        (&["network", "--bogus", "ls"], 125, "unknown flag: --bogus\n\nUsage:  coracle network\n"),
        (&["volume", "-x"], 125, "unknown shorthand flag: 'x' in -x\n"),
        (&["container", "save"], 1, "coracle: unknown command: coracle container save\n"),
        (&["image", "save"], 1, "coracle: 'image save' is not supported yet\n"),
        (&["system", "df"], 1, "coracle: 'system df' is not supported yet\n"),
        (&["help", "no_such"], 1, "unknown help topic: no_such\n"),
    ] {
        env.coracle(line).code(code).no_stdout().stderr_has(message);
    }
}
