//! How a container's output is kept: docker's log drivers and their options. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `create` decided about the log; docker's `LogConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    pub driver: Driver,
    /// As given by `--log-opt`; checked by [`LogConfig::settings`].
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    #[default]
    JsonFile,
    None,
    Journald,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Driver::JsonFile => "json-file",
            Driver::None => "none",
            Driver::Journald => "journald",
        }
    }
}

/// Drivers of docker's that are refused by name.
const NOT_YET: &[&str] = &["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "local", "splunk", "syslog"];

impl std::str::FromStr for Driver {
    type Err = InvalidLog;

    fn from_str(name: &str) -> Result<Driver, InvalidLog> {
        match name {
            "" | "json-file" => Ok(Driver::JsonFile),
            "none" => Ok(Driver::None),
            "journald" => Ok(Driver::Journald),
            name if NOT_YET.contains(&name) => Err(InvalidLog::DriverNotYet(name.to_owned())),
            name => Err(InvalidLog::Driver(name.to_owned())),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLog {
    #[error("logger: no log driver named '{0}' is registered")]
    Driver(String),
    #[error("--log-driver {0} is not supported yet (json-file, journald and none are)")]
    DriverNotYet(String),
    #[error("invalid logging opts for driver none")]
    OptionsForNone,
    #[error("unknown log opt '{key}' for {driver} log driver")]
    Unknown { key: String, driver: &'static str },
    #[error("--log-opt {0} is not supported yet")]
    NotYet(String),
    #[error("logger: logging mode not supported: {0}")]
    Mode(String),
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    BufferWithoutMode,
    #[error("error parsing option max-buffer-size: {0}")]
    BufferSize(String),
    #[error("{0}")]
    Size(String),
    #[error("max-size must be a positive number")]
    SizeNotPositive,
    #[error("strconv.Atoi: parsing {0:?}: invalid syntax")]
    FileCount(String),
    #[error("max-file cannot be less than 1")]
    NoFile,
    #[error(
        "invalid log tag {0:?}: {{{{.ID}}}}, {{{{.FullID}}}}, {{{{.Name}}}}, {{{{.ImageID}}}}, {{{{.ImageFullID}}}}, {{{{.ImageName}}}}, {{{{.Command}}}} and {{{{.DaemonName}}}} can be used in it"
    )]
    Tag(String),
}

/// The options with their meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a file before the next is begun; `None`: it grows without end.
    pub max_size: Option<u64>,
    /// How many files are kept, the one that is written included.
    pub max_files: u32,
    /// Output is dropped rather than waited for (`mode=non-blocking`).
    pub lossy: bool,
    /// Labels and variables whose values go with each line.
    pub labels: Vec<String>,
    pub env: Vec<String>,
    /// A template; empty for none.
    pub tag: String,
}

/// One log file by default, in bytes.
pub const DEFAULT_SIZE: u64 = 10_000_000;
/// Log files by default.
pub const DEFAULT_FILES: u32 = 3;

impl LogConfig {
    /// What the options mean.
    ///
    /// # Errors
    /// For an option that the driver does not have, or a value that makes no sense; docker's words.
    pub fn settings(&self) -> Result<Settings, InvalidLog> {
        if self.driver == Driver::None && !self.options.is_empty() {
            return Err(InvalidLog::OptionsForNone);
        }
        for key in self.options.keys() {
            match key.as_str() {
                "mode" | "max-buffer-size" | "labels" | "env" | "tag" => {}
                "max-size" | "max-file" | "compress" if self.driver == Driver::JsonFile => {}
                "labels-regex" | "env-regex" => return Err(InvalidLog::NotYet(key.clone())),
                _ => return Err(InvalidLog::Unknown { key: key.clone(), driver: self.driver.name() }),
            }
        }
        let option = |key: &str| self.options.get(key).map(String::as_str);
        let lossy = match option("mode") {
            None | Some("" | "blocking") => false,
            Some("non-blocking") => true,
            Some(mode) => return Err(InvalidLog::Mode(mode.to_owned())),
        };
        if let Some(size) = option("max-buffer-size") {
            if !lossy {
                return Err(InvalidLog::BufferWithoutMode);
            }
            human_size(size).map_err(InvalidLog::BufferSize)?;
        }
        if let Some("1" | "t" | "T" | "true" | "TRUE" | "True") = option("compress") {
            return Err(InvalidLog::NotYet("compress=true".to_owned()));
        }
        let max_size = match option("max-size") {
            None => Some(DEFAULT_SIZE),
            Some("-1") => None,
            Some(text) => match human_size(text).map_err(InvalidLog::Size)? {
                0 => return Err(InvalidLog::SizeNotPositive),
                size => Some(size),
            },
        };
        let max_files = match option("max-file") {
            // docker's default once a size is given.
            None if self.options.contains_key("max-size") => 1,
            None => DEFAULT_FILES,
            Some(text) => match text.parse::<i32>() {
                Err(_) => return Err(InvalidLog::FileCount(text.to_owned())),
                Ok(count) => u32::try_from(count).ok().filter(|n| *n > 0).ok_or(InvalidLog::NoFile)?,
            },
        };
        let list = |key| {
            let names = option(key).unwrap_or_default().split(',').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let tag = option("tag").unwrap_or_default().to_owned();
        fill_tag(&tag, &TagValues::default())?;
        Ok(Settings { max_size, max_files, lossy, labels: list("labels"), env: list("env"), tag })
    }
}

impl Settings {
    /// What goes with each line: docker's `attrs`, sorted by name.
    pub fn attributes(&self, labels: &BTreeMap<String, String>, env: &[String]) -> BTreeMap<String, String> {
        let named = self.labels.iter().filter_map(|key| Some((key, labels.get(key)?.as_str())));
        let variable = |key: &String| env.iter().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='));
        let variables = self.env.iter().filter_map(|key| Some((key, variable(key)?)));
        named.chain(variables).map(|(key, value)| (key.clone(), value.to_owned())).collect()
    }
}

/// What a tag's template can name.
#[derive(Debug, Clone, Default)]
pub struct TagValues<'a> {
    pub id: &'a str,
    pub name: &'a str,
    /// Hexadecimal digits of the image's id, without the algorithm; empty for the built-in image.
    pub image_id: &'a str,
    pub image_name: &'a str,
    pub command: &'a str,
}

/// Fills in docker's markup of `--log-opt tag`: `{{.Name}}/{{.ID}}`.
pub fn fill_tag(template: &str, values: &TagValues<'_>) -> Result<String, InvalidLog> {
    let invalid = || InvalidLog::Tag(template.to_owned());
    let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) = after.split_once("}}").ok_or_else(invalid)?;
        text.push_str(before);
        text.push_str(&match field.trim() {
            ".ID" => short(values.id),
            ".FullID" => values.id.to_owned(),
            ".Name" => values.name.to_owned(),
            ".ImageID" => short(values.image_id),
            ".ImageFullID" => values.image_id.to_owned(),
            ".ImageName" => values.image_name.to_owned(),
            ".Command" => values.command.to_owned(),
            ".DaemonName" => "coracle".to_owned(),
            _ => return Err(invalid()),
        });
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// docker's sizes of log files: `10m` is 10,000,000 bytes; the unit may be upper case and end in `b` or
/// `ib`.
fn human_size(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let (number, suffix) = (text[..=end].trim_end_matches(' '), text[end + 1..].to_ascii_lowercase());
    let number: f64 =
        number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(invalid());
    }
    let bad = || format!("invalid suffix: '{suffix}'");
    let power = match suffix.as_bytes() {
        [] | [b'b'] => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => {
            1 + b"kmgtp".iter().position(|known| known == unit).ok_or_else(bad)? as i32
        }
        _ => return Err(bad()),
    };
    Ok((number * 1000f64.powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LogConfig { driver: driver.parse().unwrap(), options }
    }

    #[test]
    fn sizes_and_counts() {
        let of = |options: &[(&str, &str)]| {
            config("json-file", options).settings().map(|s| (s.max_size, s.max_files))
        };
        assert_eq!(of(&[]), Ok((Some(DEFAULT_SIZE), DEFAULT_FILES)));
        assert_eq!(of(&[("max-size", "1k")]), Ok((Some(1000), 1)));
        assert_eq!(of(&[("max-size", "1.5MB"), ("max-file", "2")]), Ok((Some(1_500_000), 2)));
        assert_eq!(of(&[("max-size", "-1")]), Ok((None, 1)));
        assert_eq!(of(&[("max-file", "5")]), Ok((Some(DEFAULT_SIZE), 5)));
    }

    #[test]
    fn mistakes_are_told_in_dockers_words() {
        let of = |options: &[(&str, &str)]| config("json-file", options).settings().unwrap_err().to_string();
        assert_eq!(of(&[("foo", "1")]), "unknown log opt 'foo' for json-file log driver");
        assert_eq!(of(&[("max-size", "x")]), "invalid size: 'x'");
        assert_eq!(of(&[("max-size", "1x")]), "invalid suffix: 'x'");
        assert_eq!(of(&[("max-size", "0")]), "max-size must be a positive number");
        assert_eq!(of(&[("max-file", "0")]), "max-file cannot be less than 1");
        assert_eq!(of(&[("max-file", "x")]), "strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(of(&[("mode", "x")]), "logger: logging mode not supported: x");
        assert!(of(&[("max-buffer-size", "1m")]).starts_with("logger: max-buffer-size option is only"));
        assert!(of(&[("tag", "{{.Nope}}")]).starts_with("invalid log tag"));
        let journald = config("journald", &[("max-size", "1m")]).settings().unwrap_err();
        assert_eq!(journald.to_string(), "unknown log opt 'max-size' for journald log driver");
        let none = config("none", &[("max-size", "1m")]).settings().unwrap_err();
        assert_eq!(none.to_string(), "invalid logging opts for driver none");
        let unknown = "foo".parse::<Driver>().unwrap_err();
        assert_eq!(unknown.to_string(), "logger: no log driver named 'foo' is registered");
    }

    #[test]
    fn attributes_are_what_was_asked_for_and_is_there() {
        let settings = config("json-file", &[("labels", "a,b"), ("env", "E,F")]).settings().unwrap();
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("c".to_owned(), "2".to_owned())]);
        let env = ["EE=no".to_owned(), "E=x=y".to_owned()];
        let attributes = settings.attributes(&labels, &env);
        assert_eq!(
            attributes.into_iter().collect::<Vec<_>>(),
            [("E".to_owned(), "x=y".to_owned()), ("a".to_owned(), "1".to_owned())]
        );
    }

    #[test]
    fn tags_are_filled() {
        let values = TagValues { id: "0123456789abcdef", name: "web", ..TagValues::default() };
        assert_eq!(fill_tag("x-{{.Name}}/{{ .ID }}", &values).unwrap(), "x-web/0123456789ab");
        assert!(fill_tag("{{.Name", &values).is_err());
    }
}
