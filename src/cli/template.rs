//! Go templates with docker's functions: what `--format` takes. Runs in the client.
//!
//! The language is the library's; docker's functions and its quirks are here. Data is JSON. Keys of
//! a JSON object keep their order only in `{{json .A.B}}`, which is answered without the engine: that
//! is what nearly all scripts ask for.

use gotmpl::{MissingKey, TemplateError, Value};
use serde_json::Value as Json;

/// A row's labels, for `{{.Label "key"}}`. No field is called like that.
pub const LABELS: &str = "\0labels";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("template parsing error: {0}")]
    Parse(String),
    #[error("{0}")]
    Execute(String),
}

/// A parsed template.
pub struct Template {
    form: Form,
}

enum Form {
    /// The path of `{{json .A.B}}`.
    Json(Vec<String>),
    Go(Box<gotmpl::Template>),
}

impl Template {
    /// Parses a template. `\t` and `\n`, which shells pass on as two characters, mean tab and newline.
    pub fn parse(text: &str) -> Result<Template, Error> {
        Template::with(text, docker_functions)
    }

    /// The same template for a heading: functions that would change a name leave it alone.
    pub fn parse_heading(text: &str) -> Result<Template, Error> {
        Template::with(text, heading_functions)
    }

    fn with(text: &str, functions: fn(gotmpl::Template) -> gotmpl::Template) -> Result<Template, Error> {
        if let Some(path) = json_path(text) {
            return Ok(Template { form: Form::Json(path) });
        }
        let text = label_calls(&text.replace("\\t", "\t").replace("\\n", "\n"));
        let template = functions(gotmpl::Template::new("")).missing_key(MissingKey::Error);
        let parsed = template.parse(&text).map_err(|error| Error::Parse(without_name(&error)))?;
        Ok(Template { form: Form::Go(Box::new(parsed)) })
    }

    /// # Errors
    /// A field that is not there, a function that cannot take its arguments.
    pub fn execute(&self, data: &Json) -> Result<String, Error> {
        self.execute_typed(data, data)
    }

    /// As [`Template::execute`]; `typed` has what `{{json .}}` does not show: docker's names of fields in Go.
    pub fn execute_typed(&self, data: &Json, typed: &Json) -> Result<String, Error> {
        match &self.form {
            Form::Json(path) => {
                let mut at = data;
                for name in path {
                    at = at.get(name).ok_or_else(|| no_field(name))?;
                }
                Ok(compact(at))
            }
            Form::Go(template) => {
                let data = gotmpl::to_value(typed).map_err(|error| Error::Execute(error.to_string()))?;
                template.execute_to_string(&data).map_err(|error| match error {
                    TemplateError::MissingKey { key, .. } => no_field(&key),
                    error => Error::Execute(format!("template: {error}")),
                })
            }
        }
    }
}

fn no_field(name: &str) -> Error {
    Error::Execute(format!("template: executing \"\" at <.{name}>: map has no entry for key \"{name}\""))
}

/// The library's message with Go's nameless prefix.
fn without_name(error: &TemplateError) -> String {
    let text = error.to_string();
    if text.starts_with("template: ") { text } else { format!("template: :1: {text}") }
}

/// JSON in one line, without what only templates see.
pub fn compact(data: &Json) -> String {
    let hidden = data.get(LABELS).is_some();
    if !hidden {
        return data.to_string();
    }
    let mut shown = data.clone();
    if let Some(object) = shown.as_object_mut() {
        object.shift_remove(LABELS);
    }
    shown.to_string()
}

/// `["A", "B"]` of `{{json .A.B}}`, `[]` of `{{json .}}`.
fn json_path(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let path = inner.strip_prefix("json")?.trim_start_matches(' ');
    if path == "." {
        return Some(Vec::new());
    }
    let names: Vec<String> = path.strip_prefix('.')?.split('.').map(str::to_owned).collect();
    let plain =
        |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (inner.starts_with("json ") && names.iter().all(plain)).then_some(names)
}

/// `.Label "key"` is a method in Go; here it is a function of the row.
fn label_calls(text: &str) -> String {
    const CALL: &str = ".Label ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(CALL) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let continues = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_.)$".contains(c));
        out.push_str(if continues { CALL } else { "label . " });
        rest = &after[CALL.len()..];
    }
    out + rest
}

type Outcome = gotmpl::Result<Value>;

fn argument(args: &[Value], at: usize) -> Outcome {
    args.get(at).cloned().ok_or_else(|| TemplateError::Exec(format!("wrong number of args: want {}", at + 1)))
}

fn text(args: &[Value], at: usize) -> gotmpl::Result<String> {
    argument(args, at).map(|value| value.to_string())
}

fn count(args: &[Value], at: usize) -> gotmpl::Result<usize> {
    let number = argument(args, at)?.as_int().unwrap_or(0);
    Ok(usize::try_from(number).unwrap_or(0))
}

/// The functions of docker's `templates` package.
fn docker_functions(template: gotmpl::Template) -> gotmpl::Template {
    shared_functions(template)
        .func("json", |args| Ok(compact(&to_json(&argument(args, 0)?)).into()))
        .func("lower", |args| Ok(text(args, 0)?.to_lowercase().into()))
        .func("upper", |args| Ok(text(args, 0)?.to_uppercase().into()))
        .func("title", |args| Ok(title(&text(args, 0)?).into()))
        .func("pad", |args| {
            let (before, after) = (count(args, 1)?, count(args, 2)?);
            let source = text(args, 0)?;
            Ok(match source.is_empty() {
                true => source.into(),
                false => format!("{}{source}{}", " ".repeat(before), " ".repeat(after)).into(),
            })
        })
        .func("truncate", |args| Ok(text(args, 0)?.chars().take(count(args, 1)?).collect::<String>().into()))
}

fn heading_functions(template: gotmpl::Template) -> gotmpl::Template {
    let mut template = shared_functions(template);
    for name in ["json", "lower", "upper", "title", "truncate", "pad"] {
        template = template.func(name, |args| argument(args, 0));
    }
    // A column of a label is headed by its key.
    template.func("label", |args| argument(args, 1))
}

fn shared_functions(template: gotmpl::Template) -> gotmpl::Template {
    template
        .func("split", |args| {
            let (whole, separator) = (text(args, 0)?, text(args, 1)?);
            let parts: Vec<Json> = whole.split(separator.as_str()).map(Json::from).collect();
            gotmpl::to_value(&parts)
        })
        .func("join", |args| {
            let separator = text(args, 1)?;
            Ok(match to_json(&argument(args, 0)?) {
                Json::Array(parts) => {
                    let words: Vec<String> = parts.iter().map(plain).collect();
                    words.join(&separator).into()
                }
                Json::Null => String::new().into(),
                other => plain(&other).into(),
            })
        })
        .func("label", |args| {
            let labels = to_json(&argument(args, 0)?);
            let key = text(args, 1)?;
            Ok(labels.get(LABELS).and_then(|all| all.get(&key)).map(plain).unwrap_or_default().into())
        })
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Go's strings.Title: the first letter of each word.
fn title(text: &str) -> String {
    let mut begins = true;
    text.chars()
        .map(|c| {
            let shown = if begins { c.to_uppercase().next().unwrap_or(c) } else { c };
            begins = c.is_whitespace();
            shown
        })
        .collect()
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(is) => Json::Bool(*is),
        Value::Int(number) => Json::from(*number),
        Value::Uint(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::String(text) => Json::from(text.as_ref()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(template: &str, data: Json) -> String {
        match Template::parse(template).and_then(|template| template.execute(&data)) {
            Ok(text) => text,
            Err(error) => format!("ERROR {error}"),
        }
    }

    fn sample() -> Json {
        serde_json::json!({
            "Name": "/web", "Id": "abc", "State": {"Status": "running", "Pid": 12, "Dead": false},
            "Args": ["-g", "daemon off;"], "Labels": {"b": "2", "a": "1"}, "None": null,
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
        })
    }

    #[test]
    fn fields_pipes_and_functions() {
        let cases = [
            ("{{.Name}}", "/web"),
            ("{{.State.Status}} {{.State.Pid}} {{.State.Dead}}", "running 12 false"),
            ("{{json .State}}", r#"{"Status":"running","Pid":12,"Dead":false}"#),
            ("{{ json .Args }}", r#"["-g","daemon off;"]"#),
            ("{{.Args | json}}", r#"["-g","daemon off;"]"#),
            ("{{join .Args \",\"}}", "-g,daemon off;"),
            ("{{.Name | upper | printf \"%s!\"}}", "/WEB!"),
            (
                "{{title .State.Status}} {{lower \"ABC\"}} {{truncate .Name 2}} [{{pad .Id 1 2}}]",
                "Running abc /w [ abc  ]",
            ),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
            ("{{range .Args}}<{{.}}>{{end}}", "<-g><daemon off;>"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{with .State}}{{.Pid}}{{end}} {{if .State.Dead}}x{{else}}y{{end}}", "12 y"),
            ("{{len .Args}} {{index .Labels \"a\"}}", "2 1"),
            ("{{.Id}}\\t{{.Name}}\\n", "abc\t/web\n"),
            ("{{.None}}", "<no value>"),
            ("{{index (split .Name \"/\") 1}}", "web"),
            ("{{println .Id}}", "abc\n"),
            ("{{if and (eq .State.Pid 12) (ne .Id \"x\")}}ok{{end}}", "ok"),
        ];
        for (template, expected) in cases {
            assert_eq!(run(template, sample()), expected, "{template}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        assert!(run("{{.Nope}}", sample()).contains("map has no entry for key \"Nope\""));
        assert!(run("{{json .Nope}}", sample()).contains("map has no entry for key \"Nope\""));
        assert!(run("{{.State.Nope}}", sample()).contains("\"Nope\""));
        assert!(run("{{.Name", sample()).starts_with("ERROR template parsing error: template: "));
        assert!(run("{{nofunction .Name}}", sample()).contains("nofunction"));
    }

    #[test]
    fn labels_are_looked_up_by_a_method() {
        let row = serde_json::json!({"Names": "web", LABELS: {"com.x": "1"}});
        assert_eq!(run("{{.Names}} {{.Label \"com.x\"}}{{.Label \"com.y\"}}", row.clone()), "web 1");
        assert_eq!(run("{{json .}}", row.clone()), r#"{"Names":"web"}"#);
        assert_eq!(run("{{. | json}}", row), r#"{"Names":"web"}"#);
    }
}
