//! `--format` of the commands that print rows: a table, a line for each row, or JSON. Runs in the client.

use serde_json::{Map, Value as Json};

use super::error::CommandError;
use super::template::{LABELS, Template, compact};
use super::ui::Table;

/// A field of a command's rows: its name in templates, and its heading in tables.
pub type Field = (&'static str, &'static str);

/// One row: docker's field names with texts for values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row(Map<String, Json>);

impl Row {
    pub fn set(mut self, name: &str, value: impl Into<Json>) -> Row {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A text that was set.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// The labels, which `{{.Label "key"}}` looks up.
    pub fn labels<'a>(self, labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Row {
        let all: Map<String, Json> =
            labels.into_iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect();
        let list: Vec<String> =
            all.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        self.set("Labels", list.join(",")).set(LABELS, all)
    }
}

/// What `--format` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The command's own table.
    Table,
    /// A JSON object a line.
    Json,
    /// A table of these columns.
    Columns(String),
    Lines(String),
}

impl Format {
    /// `text` as typed; `None` when the flag is absent.
    pub fn new(text: Option<&str>) -> Format {
        match text {
            None | Some("" | "table") => Format::Table,
            Some("json") => Format::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(columns) => Format::Columns(columns.trim_start().to_owned()),
                None => Format::Lines(text.to_owned()),
            },
        }
    }

    /// As [`Format::new`]; `raw` is the template that docker calls so: a field a line.
    pub fn or_raw(text: Option<&str>, raw: &str) -> Format {
        Format::new(if text == Some("raw") { Some(raw) } else { text })
    }

    /// Whether a template names that field, for what costs time to find out.
    pub fn names(&self, field: &str) -> bool {
        match self {
            Format::Table | Format::Json => false,
            Format::Columns(template) | Format::Lines(template) => template.contains(field),
        }
    }

    /// The rows as text. `table` is the command's own one.
    ///
    /// # Errors
    /// A template that does not parse, or that names a field which the rows do not have.
    pub fn render(
        &self,
        fields: &[Field],
        rows: &[Row],
        table: impl FnOnce() -> String,
    ) -> Result<String, CommandError> {
        let lines = |template: &str| {
            let template = Template::parse(template).map_err(CommandError::failure)?;
            rows.iter().map(|row| execute(&template, row)).collect::<Result<Vec<String>, CommandError>>()
        };
        match self {
            Format::Table => Ok(table()),
            Format::Json => Ok(rows.iter().map(|row| json(row) + "\n").collect()),
            Format::Lines(template) => Ok(lines(template)?.into_iter().map(|line| line + "\n").collect()),
            Format::Columns(template) => {
                let heading = Template::parse_heading(template).map_err(CommandError::failure)?;
                let names =
                    fields.iter().fold(Row::default(), |row, (name, heading)| row.set(name, *heading));
                let heading = execute(&heading, &names)?;
                let mut table = Table::new(&heading.split('\t').collect::<Vec<_>>());
                for line in lines(template)? {
                    table.row(line.split('\t').map(str::to_owned).collect());
                }
                Ok(table.render())
            }
        }
    }
}

fn execute(template: &Template, row: &Row) -> Result<String, CommandError> {
    template.execute(&Json::Object(row.0.clone())).map_err(CommandError::failure)
}

/// docker sorts the fields of a row.
fn json(row: &Row) -> String {
    let mut sorted = row.0.clone();
    sorted.sort_keys();
    compact(&Json::Object(sorted))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const FIELDS: [Field; 2] = [("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn rendered(format: &str) -> String {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let row = |id: &str, name: &str| Row::default().set("Names", name).set("ID", id).labels(&labels);
        let rows = [row("0123456789ab", "web"), row("ba9876543210", "db")];
        Format::new(Some(format))
            .render(&FIELDS, &rows, || "own\n".to_owned())
            .unwrap_or_else(|error| format!("{error:?}"))
    }

    #[test]
    fn the_forms_of_format() {
        assert_eq!(rendered("table"), "own\n");
        assert_eq!(rendered("{{.ID}} {{.Names}}"), "0123456789ab web\nba9876543210 db\n");
        assert_eq!(
            rendered("table {{.Names}}\\t{{.ID}}"),
            "NAMES     CONTAINER ID\nweb       0123456789ab\ndb        ba9876543210\n"
        );
        assert_eq!(rendered("table {{upper .Names}}"), "NAMES\nWEB\nDB\n");
        assert_eq!(
            rendered("json").lines().next(),
            Some(r#"{"ID":"0123456789ab","Labels":"a=1","Names":"web"}"#)
        );
        assert_eq!(rendered("{{.Label \"a\"}}"), "1\n1\n");
        assert!(rendered("{{.Nope}}").contains("Nope"));
    }
}
