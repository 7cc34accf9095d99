//! docker's client configuration file, as far as it is about words on the screen and keys.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// `config.json`: docker's keys; those that are about something else are left to their readers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientFile {
    /// `--detach-keys` where it is not given.
    pub detach_keys: Option<String>,
    /// `--format` of `ps`, `images`, `stats`, where it is not given.
    pub ps_format: Option<String>,
    pub images_format: Option<String>,
    pub stats_format: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot use docker's configuration file {path:?}; it is left aside")]
pub struct Error {
    pub path: PathBuf,
    #[source]
    pub source: std::io::Error,
}

impl ClientFile {
    /// Reads `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. No file is an empty one.
    ///
    /// # Errors
    /// A file that cannot be read, or is not JSON of that shape.
    pub fn from_environment() -> Result<ClientFile, Error> {
        let directory = match (super::variable("DOCKER_CONFIG"), super::variable("HOME")) {
            (Some(directory), _) => PathBuf::from(directory),
            (None, Some(home)) => Path::new(&home).join(".docker"),
            (None, None) => return Ok(ClientFile::default()),
        };
        ClientFile::read(&directory.join("config.json"))
    }

    fn read(path: &Path) -> Result<ClientFile, Error> {
        let failed = |source| Error { path: path.to_owned(), source };
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ClientFile::default()),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_keys_are_read_and_others_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(ClientFile::read(&path).unwrap(), ClientFile::default());
        std::fs::write(&path, r#"{"auths": {}, "psFormat": "{{.ID}}", "detachKeys": "ctrl-e,e"}"#).unwrap();
        let file = ClientFile::read(&path).unwrap();
        assert_eq!(file.ps_format.as_deref(), Some("{{.ID}}"));
        assert_eq!(file.detach_keys.as_deref(), Some("ctrl-e,e"));
        std::fs::write(&path, "{").unwrap();
        assert!(ClientFile::read(&path).unwrap_err().to_string().contains("config.json"));
    }
}
