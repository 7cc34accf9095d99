//! The environment of a container's process: `-e`, `--env-file`, and how they change an image's.

/// One change to an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvChange {
    Set {
        key: String,
        value: String,
    },
    /// `-e KEY` where the caller has no such variable: docker takes it out of the image's too.
    Unset {
        key: String,
    },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidEnv {
    #[error("invalid environment variable: {0}")]
    NoName(String),
    #[error("invalid environment variable: {0:?} contains a NUL byte")]
    Nul(String),
    #[error("invalid env file ({file}): {problem}")]
    File { file: String, problem: InvalidEnvLine },
}

/// What is wrong with a line of an env file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidEnvLine {
    #[error("no variable name on line '{0}'")]
    NoName(String),
    #[error("variable '{0}' contains whitespaces")]
    Whitespace(String),
    #[error("invalid utf8 bytes at line {0}")]
    Utf8(usize),
    #[error("NUL byte at line {0}")]
    Nul(usize),
}

/// Parses one `-e`: `KEY=value`, or `KEY` for the caller's own value of it.
pub fn parse(text: &str, caller: impl Fn(&str) -> Option<String>) -> Result<EnvChange, InvalidEnv> {
    if text.contains('\0') {
        return Err(InvalidEnv::Nul(text.to_owned()));
    }
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(InvalidEnv::NoName(text.to_owned()));
    }
    let key = key.to_owned();
    Ok(match value.or_else(|| caller(&key)) {
        Some(value) => EnvChange::Set { key, value },
        None => EnvChange::Unset { key },
    })
}

/// Parses the content of an env file; `file` is what errors call it.
///
/// A line is `KEY=value` or `KEY` (the caller's value; left out when there is none). Blanks before the
/// key go, everything after `=` stays as it is: no quotes, no expansion, no comments. A line is a
/// comment when its first character is `#`. Lines end in `\n` or `\r\n`; a byte order mark is skipped.
pub fn parse_file(
    file: &str,
    content: &[u8],
    caller: impl Fn(&str) -> Option<String>,
) -> Result<Vec<EnvChange>, InvalidEnv> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut changes = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let change = parse_line(number, line, &caller)
            .map_err(|problem| InvalidEnv::File { file: file.to_owned(), problem })?;
        changes.extend(change);
    }
    Ok(changes)
}

fn parse_line(
    number: usize,
    line: &[u8],
    caller: impl Fn(&str) -> Option<String>,
) -> Result<Option<EnvChange>, InvalidEnvLine> {
    let line = std::str::from_utf8(line).map_err(|_| InvalidEnvLine::Utf8(number))?;
    let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
    if line.contains('\0') {
        return Err(InvalidEnvLine::Nul(number));
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (line, None),
    };
    if key.is_empty() {
        return Err(InvalidEnvLine::NoName(line.to_owned()));
    }
    if key.contains([' ', '\t']) {
        return Err(InvalidEnvLine::Whitespace(key.to_owned()));
    }
    let value = value.or_else(|| caller(key));
    Ok(value.map(|value| EnvChange::Set { key: key.to_owned(), value }))
}

/// Applies changes to an environment of `KEY=value`. A later value wins and takes the earlier one's
/// place; new keys follow in their order.
pub fn merge(base: &[String], changes: &[EnvChange]) -> Vec<String> {
    let mut merged = Vec::with_capacity(base.len() + changes.len());
    // An image's entry without `=` or without a key is no variable; execve could not carry it.
    let variables = base.iter().filter_map(|entry| entry.split_once('=')).filter(|(key, _)| !key.is_empty());
    variables.for_each(|(key, value)| set(&mut merged, key, value));
    for change in changes {
        match change {
            EnvChange::Set { key, value } => set(&mut merged, key, value),
            EnvChange::Unset { key } => merged.retain(|(known, _)| known != key),
        }
    }
    merged.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn set<'a>(variables: &mut Vec<(&'a str, &'a str)>, key: &'a str, value: &'a str) {
    match variables.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => variables.push((key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key: &str) -> Option<String> {
        (key == "HOME").then(|| "/home/u".to_owned())
    }

    fn set_to(key: &str, value: &str) -> EnvChange {
        EnvChange::Set { key: key.to_owned(), value: value.to_owned() }
    }

    fn unset(key: &str) -> EnvChange {
        EnvChange::Unset { key: key.to_owned() }
    }

    #[test]
    fn flags() {
        assert_eq!(parse("A=1", caller), Ok(set_to("A", "1")));
        assert_eq!(parse("A=", caller), Ok(set_to("A", "")));
        assert_eq!(parse("A=b=c d", caller), Ok(set_to("A", "b=c d")));
        assert_eq!(parse("HOME", caller), Ok(set_to("HOME", "/home/u")));
        assert_eq!(parse("HOME=", caller), Ok(set_to("HOME", "")));
        assert_eq!(parse("A", caller), Ok(unset("A")));
        for text in ["=x", ""] {
            let error = parse(text, caller).expect_err(text);
            assert_eq!(error.to_string(), format!("invalid environment variable: {text}"));
        }
        assert_eq!(parse("A=\0", caller), Err(InvalidEnv::Nul("A=\0".to_owned())));
    }

    #[test]
    fn files() {
        let content = "\u{feff}A=1\n  B= x # y \r\n\n# comment\n #too\nHOME\nUNSET\nC=\"q\" $A\nD=";
        assert_eq!(
            parse_file("f", content.as_bytes(), caller),
            Ok(vec![
                set_to("A", "1"),
                set_to("B", " x # y "),
                set_to("HOME", "/home/u"),
                set_to("C", "\"q\" $A"),
                set_to("D", ""),
            ])
        );
        assert_eq!(parse_file("f", b"", caller), Ok(vec![]));
    }

    #[test]
    fn bad_files_in_dockers_words() {
        let error = |content: &[u8]| parse_file("e.env", content, caller).expect_err("bad").to_string();
        assert_eq!(error(b"a b=c"), "invalid env file (e.env): variable 'a b' contains whitespaces");
        assert_eq!(error(b"A =c"), "invalid env file (e.env): variable 'A ' contains whitespaces");
        assert_eq!(error(b"A=1\n=x"), "invalid env file (e.env): no variable name on line '=x'");
        assert_eq!(error(b"A=1\nB=\xff"), "invalid env file (e.env): invalid utf8 bytes at line 2");
        assert_eq!(error(b"A=\0"), "invalid env file (e.env): NUL byte at line 1");
    }

    #[test]
    fn later_wins_and_order_stays() {
        let base = ["PATH=/bin", "A=1", "broken", "=x", "A=2", "B=1"].map(str::to_owned);
        let changes = [set_to("C", "3"), set_to("A", "4"), unset("B"), set_to("C", "5"), unset("none")];
        assert_eq!(merge(&base, &changes), ["PATH=/bin", "A=4", "C=5"]);
        assert_eq!(merge(&[], &[unset("A"), set_to("A", "x=y")]), ["A=x=y"]);
    }
}
