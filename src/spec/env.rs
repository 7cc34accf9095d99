//! STAND-IN until the security branch is merged.

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidVariable {
    #[error("invalid environment variable: {0}")]
    NoName(String),
    #[error("variable '{0}' contains whitespaces")]
    Whitespace(String),
}

pub fn parse_option(text: &str, look_up: impl Fn(&str) -> Option<String>) -> Result<String, InvalidVariable> {
    match text.split_once('=') {
        _ if text.is_empty() || text.starts_with('=') => Err(InvalidVariable::NoName(text.to_owned())),
        Some(_) => Ok(text.to_owned()),
        None => Ok(look_up(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

pub fn parse_file(
    text: &str,
    look_up: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, InvalidVariable> {
    let mut variables = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.split_once('=') {
            Some((key, _)) if key.contains(' ') => return Err(InvalidVariable::Whitespace(key.to_owned())),
            Some(_) => variables.push(line.to_owned()),
            None => variables.extend(look_up(line).map(|value| format!("{line}={value}"))),
        }
    }
    Ok(variables)
}
