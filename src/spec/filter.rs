//! `--filter KEY=VALUE`: docker's filters. Pure.

use std::collections::BTreeMap;

/// All filters of one command line. Values of one key are alternatives, keys are conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("invalid argument {0:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)")]
    Format(String),
    #[error("invalid filter '{0}'")]
    Unknown(String),
    #[error("invalid filter '{key}=[{value}]'")]
    Boolean { key: String, value: String },
    #[error("invalid filter '{key}={value}': {why}")]
    Value { key: String, value: String, why: String },
}

impl Filters {
    /// Parses what was typed; `known` are the command's keys.
    pub fn parse(typed: &[String], known: &[&str]) -> Result<Filters, Error> {
        let mut filters = Filters::default();
        for text in typed {
            let (key, value) = text.split_once('=').ok_or_else(|| Error::Format(text.clone()))?;
            let key = key.trim().to_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(Error::Unknown(key));
            }
            filters.0.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(filters)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a key; none when it was not given.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether the key is absent or one of its values satisfies `test`.
    pub fn admits(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().map(String::as_str).any(test)
    }

    /// Whether every `KEY` or `KEY=VALUE` of the filter `key` is among the labels (docker: all of them).
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).iter().all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }

    /// A filter of docker's that is true or false; `None` when absent.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.values(key).first() else { return Ok(None) };
        match value.as_str() {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Ok(Some(true)),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(Some(false)),
            _ => Err(Error::Boolean { key: key.to_owned(), value: value.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &[&str]) -> Result<Filters, Error> {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&typed, &["name", "label", "dangling"])
    }

    #[test]
    fn keys_are_known_and_values_are_alternatives() {
        let filters = parse(&["name=a", "name=b"]).unwrap();
        assert!(filters.admits("name", |value| value == "b"));
        assert!(!filters.admits("name", |value| value == "c"));
        assert!(filters.admits("label", |_| false));
        assert_eq!(parse(&["nope=1"]), Err(Error::Unknown("nope".into())));
        assert_eq!(parse(&["name"]), Err(Error::Format("name".into())));
    }

    #[test]
    fn labels_must_all_be_there() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        let admits = |typed: &[&str]| parse(typed).unwrap().labels("label", &labels);
        assert!(admits(&["label=a", "label=b"]));
        assert!(admits(&["label=a=1"]));
        assert!(!admits(&["label=a=2"]));
        assert!(!admits(&["label=a", "label=c"]));
    }

    #[test]
    fn booleans_are_gos() {
        assert_eq!(parse(&["dangling=T"]).unwrap().boolean("dangling"), Ok(Some(true)));
        assert_eq!(parse(&["dangling=0"]).unwrap().boolean("dangling"), Ok(Some(false)));
        assert!(parse(&["dangling=x"]).unwrap().boolean("dangling").is_err());
        assert_eq!(parse(&[]).unwrap().boolean("dangling"), Ok(None));
    }
}
