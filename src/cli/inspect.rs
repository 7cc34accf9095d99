//! `coracle inspect`: whatever has that name, in docker's JSON shape.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{Arity, Verb, missing_short};
use super::error::CommandError;
use super::{Command, Context};
use crate::engine::container::inspect::{Inspected, describe};
use crate::engine::image;
use crate::store::containers;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show how much each container takes
    #[arg(short, long)]
    size: bool,
    /// Look among these only ("container", "image")
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["inspect"],
        about: "Show everything about containers and images",
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        arity: Arity::AtLeast(1),
        missing: &[missing_short("format", 'f')],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { size, kind } = self;
        let kind = match kind.as_deref() {
            None => None,
            Some("container") => Some(Kind::Container),
            Some("image") => Some(Kind::Image),
            Some(known @ ("network" | "volume")) => {
                return Err(CommandError::usage_text(format!("--type {known} is not supported yet")));
            }
            Some(other) => {
                return Err(CommandError::failure_text(format!(
                    "unknown type: {other:?}: must be one of \"container\", \"image\""
                )));
            }
        };
        inspect(&words, kind, size, context)
    }
}

/// Where a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Container,
    Image,
}

/// One thing that was found.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Container(Box<Inspected>),
    Image(Box<image::inspect::Inspected>),
}

/// Prints an array of all that were found, then says which were not.
pub fn inspect(
    names: &[String],
    kind: Option<Kind>,
    size: bool,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name, kind, size, context) {
            Ok(one) => found.push(one),
            Err(error) => failures.push(error),
        }
    }
    let text = pretty(&found).map_err(CommandError::failure)?;
    context.ui.line(&text)?;
    for failure in &failures {
        context.ui.message(&format!("coracle: {}", failure.message()));
    }
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(CommandError::reported(1)) }
}

/// Containers come first, as in docker.
fn find(name: &str, kind: Option<Kind>, size: bool, context: &Context) -> Result<Found, CommandError> {
    let engine = context.engine()?;
    if kind != Some(Kind::Image) {
        match engine.store.find_container(name) {
            Ok(container) => {
                let sizes = size.then(|| engine.sizes(&container)).transpose();
                let sizes = sizes.map_err(CommandError::failure)?;
                let places = engine.places(&container);
                return Ok(Found::Container(Box::new(describe(&container, &places, sizes))));
            }
            Err(containers::Error::NoSuch(_)) if kind.is_none() => {}
            Err(error) => return Err(CommandError::failure(error)),
        }
    }
    match image::inspect::inspect(&engine.store, name, engine.driver()) {
        Ok(image) => Ok(Found::Image(Box::new(image))),
        Err(image::Error::NoSuch(_)) if kind.is_none() => {
            Err(CommandError::failure_text(format!("No such object: {name}")))
        }
        Err(error) => Err(CommandError::failure(error)),
    }
}

/// JSON indented by four spaces, as docker prints it.
fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    Ok(String::from_utf8(text).expect("serde_json writes UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_by_four() {
        let value = serde_json::json!([{"A": [], "B": {"C": "<&>"}}]);
        let expected =
            "[\n    {\n        \"A\": [],\n        \"B\": {\n            \"C\": \"<&>\"\n        }\n    }\n]";
        assert_eq!(pretty(&value).unwrap(), expected);
        assert_eq!(pretty(&Vec::<u8>::new()).unwrap(), "[]");
    }
}
