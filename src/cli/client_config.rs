//! docker's own configuration of its client, as far as it is honoured: the keys that detach, and the
//! forms of output. Runs in the client.

use serde::Deserialize;

use super::Context;
use super::error::{CommandError, chain};
use super::ui::Ui;
use crate::config;
use crate::engine::container::attach::DetachKeys;

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConfig {
    detach_keys: String,
    /// `--format` of `ps`, `images`, `stats`, `network ls` and `volume ls` where it is not given.
    pub ps_format: Option<String>,
    pub images_format: Option<String>,
    pub stats_format: Option<String>,
    pub networks_format: Option<String>,
    pub volumes_format: Option<String>,
}

/// `--format`, else what `configured` finds in the client's configuration; as docker, which does not lay ids
/// out that stand alone.
pub fn format_of<'a>(
    flag: Option<&'a str>,
    quiet: bool,
    context: &'a Context,
    configured: fn(&ClientConfig) -> &Option<String>,
) -> Option<&'a str> {
    match flag {
        None if !quiet => configured(context.client()).as_deref(),
        flag => flag,
    }
}

/// `--detach-keys`, else what docker's `config.json` says, else docker's default. The file is looked
/// at only where keys count: `typed` says that somebody may type them.
pub fn detach_keys(flag: Option<&str>, typed: bool, context: &Context) -> Result<DetachKeys, CommandError> {
    // docker ends with 1 here, even for `run`.
    let keys = |text: &str| text.parse().map_err(|error| CommandError::with_code(1, error));
    match flag {
        Some(text) if !text.is_empty() => keys(text),
        _ if typed => keys(&context.client().detach_keys),
        _ => Ok(DetachKeys::default()),
    }
}

/// A file that cannot be used is told of, and counts as empty.
pub fn read(ui: &Ui) -> ClientConfig {
    let Some(path) = config::docker_client_config() else { return ClientConfig::default() };
    let warn = |why: &dyn std::error::Error| {
        let why = chain(why);
        ui.warning(&format!("Error loading config file: {}: {why}", path.display()));
        ClientConfig::default()
    };
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| warn(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => ClientConfig::default(),
        Err(error) => warn(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_counts() {
        let parsed: ClientConfig =
            serde_json::from_str(r#"{"auths":{"x":{}},"detachKeys":"ctrl-a","psFormat":"table"}"#).unwrap();
        assert_eq!(parsed.detach_keys, "ctrl-a");
        assert_eq!(parsed.ps_format.as_deref(), Some("table"));
        assert_eq!(serde_json::from_str::<ClientConfig>("{}").unwrap(), ClientConfig::default());
    }
}
