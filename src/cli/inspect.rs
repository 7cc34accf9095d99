//! `coracle inspect`: whatever has that name, in docker's JSON shape.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{Arity, Verb};
use super::error::CommandError;
use super::template::{Error as TemplateError, Template};
use super::{Command, Context};
use crate::engine::container::inspect::{Inspected, describe};
use crate::engine::{image, network};
use crate::store::containers;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template instead; "json" prints JSON in one line
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Show how much each container takes
    #[arg(short, long)]
    size: bool,
    /// Look among these only ("container", "image", "network", "volume")
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["inspect"],
        about: "Show everything about containers, images and networks",
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        arity: Arity::AtLeast(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { format, size, kind } = self;
        let kind = kind.map(|kind| Kind::named(&kind)).transpose()?;
        inspect(&words, &Request { kind, size, format }, context)
    }
}

/// Where a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    /// docker's order of looking.
    const ALL: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

    fn name(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Network => "network",
            Kind::Volume => "volume",
        }
    }

    fn named(text: &str) -> Result<Kind, CommandError> {
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == text) {
            return Ok(kind);
        }
        Err(match text {
            "config" | "node" | "plugin" | "secret" | "service" | "task" => {
                CommandError::usage_text(format!("--type {text} is not supported yet"))
            }
            _ => {
                let what = match text {
                    "" => "type is empty".to_owned(),
                    text => format!("unknown type: {text:?}"),
                };
                CommandError::failure_text(format!(
                    "{what}: must be one of \"container\", \"image\", \"network\", \"volume\""
                ))
            }
        })
    }
}

/// One thing that was found.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Container(Box<Inspected>),
    Image(Box<image::inspect::Inspected>),
    Network(Box<network::inspect::Inspected>),
}

/// What to look for and how to show it.
pub struct Request {
    pub kind: Option<Kind>,
    pub size: bool,
    pub format: Option<String>,
}

/// How the found ones are shown.
enum Shape {
    Indented,
    /// An array in one line.
    Line,
    /// A line for each.
    Template(Template),
}

/// docker's exit code for a template that does not parse.
pub const BAD_TEMPLATE: u8 = 64;

impl Shape {
    fn new(format: Option<&str>) -> Result<Shape, CommandError> {
        match format {
            None | Some("") => Ok(Shape::Indented),
            Some("json") => Ok(Shape::Line),
            Some(text) => Template::parse(text)
                .map(Shape::Template)
                .map_err(|error| CommandError::with_code(BAD_TEMPLATE, error)),
        }
    }
}

/// Prints all that were found, then says which were not.
pub fn inspect(names: &[String], request: &Request, context: &Context) -> Result<ExitCode, CommandError> {
    let shape = Shape::new(request.format.as_deref())?;
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name, request.kind, request.size, context) {
            Ok(one) => found.push(one),
            Err(error) => failures.push(error),
        }
    }
    let text = match &shape {
        Shape::Indented => pretty(&found).map_err(CommandError::failure)?,
        Shape::Line => json(&found)?.to_string(),
        Shape::Template(template) => {
            let mut lines = Vec::new();
            for one in &found {
                match line(template, &json(one)?) {
                    Ok(line) => lines.push(line),
                    Err(error) => failures.push(CommandError::failure(error)),
                }
            }
            lines.join("\n")
        }
    };
    context.ui.line(&text)?;
    for failure in &failures {
        context.ui.message(&format!("coracle: {}", failure.message()));
    }
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(CommandError::reported(1)) }
}

/// What `key` is called: of one kind, or of the first that has it.
fn find(key: &str, kind: Option<Kind>, size: bool, context: &Context) -> Result<Found, CommandError> {
    if let Some(kind) = kind {
        return look(key, kind, size, context)?.map_err(|missing| CommandError::failure_text(missing.0));
    }
    for kind in Kind::ALL {
        if let Ok(found) = look(key, kind, size, context)? {
            return Ok(found);
        }
    }
    Err(CommandError::failure_text(format!("No such object: {key}")))
}

/// Nothing has the name; in docker's words for that kind.
struct Missing(String);

fn look(
    key: &str,
    kind: Kind,
    size: bool,
    context: &Context,
) -> Result<Result<Found, Missing>, CommandError> {
    let engine = context.engine()?;
    let found = match kind {
        Kind::Container => match engine.store.find_container(key) {
            Ok(container) => {
                let sizes = size.then(|| engine.sizes(&container)).transpose();
                let sizes = sizes.map_err(CommandError::failure)?;
                let places = engine.places(&container);
                return Ok(Ok(Found::Container(Box::new(describe(&container, &places, sizes)))));
            }
            Err(error @ containers::Error::NoSuch(_)) => Err(Missing(error.to_string())),
            Err(error) => return Err(CommandError::failure(error)),
        },
        Kind::Image => match image::inspect::inspect(&engine.store, key, engine.driver()) {
            Ok(image) => Ok(Found::Image(Box::new(image))),
            Err(error @ image::Error::NoSuch(_)) => Err(Missing(error.to_string())),
            Err(error) => return Err(CommandError::failure(error)),
        },
        Kind::Network => match network::inspect::inspect(engine, key) {
            Ok(network) => Ok(Found::Network(Box::new(network))),
            Err(error @ network::inspect::Error::NoSuch(_)) => Err(Missing(error.to_string())),
            Err(error) => return Err(CommandError::failure(error)),
        },
        // There are none yet.
        Kind::Volume => Err(Missing(format!("get {key}: no such volume"))),
    };
    if size && found.is_ok() {
        context.ui.warning(&format!("--size ignored for {}", kind.name()));
    }
    Ok(found)
}

fn json(value: &impl Serialize) -> Result<serde_json::Value, CommandError> {
    serde_json::to_value(value).map_err(CommandError::failure)
}

/// As docker, which tries its own names of fields and the JSON's: `{{.ID}}` is `{{.Id}}`.
fn line(template: &Template, value: &serde_json::Value) -> Result<String, TemplateError> {
    let mut typed = value.clone();
    if let (Some(object), Some(id)) = (typed.as_object_mut(), value.get("Id")) {
        object.insert("ID".to_owned(), id.clone());
    }
    template.execute_typed(value, &typed)
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
    use crate::cli::template::compact;

    #[test]
    fn json_is_indented_by_four() {
        let value = serde_json::json!([{"A": [], "B": {"C": "<&>"}}]);
        let expected =
            "[\n    {\n        \"A\": [],\n        \"B\": {\n            \"C\": \"<&>\"\n        }\n    }\n]";
        assert_eq!(pretty(&value).unwrap(), expected);
        assert_eq!(pretty(&Vec::<u8>::new()).unwrap(), "[]");
        let container = serde_json::json!({"Id": "abc", "Name": "/web"});
        let shown = |template: &str| line(&Template::parse(template).unwrap(), &container).unwrap();
        assert_eq!(shown("{{.ID}}{{.Id}}"), "abcabc");
        assert_eq!(shown("{{json .}}"), compact(&container));
    }
}
