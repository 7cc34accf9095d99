//! Mounts a user asks for: `-v host:ctr[:ro|rw]` and `--tmpfs ctr[:options]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsMount {
    pub target: PathBuf,
    /// Mount options as given, e.g. `size=64m,mode=1777`; empty for the defaults.
    pub options: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidMount {
    #[error("invalid empty volume spec")]
    Empty,
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    #[error("invalid spec: {0}: too many colons")]
    TooManyColons(String),
    #[error(
        "invalid volume specification: '{0}': invalid mount config for type \"bind\": invalid mount path: '{1}' mount path must be absolute"
    )]
    Target(String, String),
    #[error(
        "invalid volume specification: '{0}': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
    )]
    RootTarget(String),
    #[error("invalid mode: {1} (in {0:?}; ro and rw are supported)")]
    Mode(String, String),
    #[error(
        "{0:?} names a volume: named and anonymous volumes are not supported yet, give a host folder (an absolute path or one that starts with ./)"
    )]
    NamedVolume(String),
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    TmpfsTarget(String),
    #[error("invalid specification: destination can't be '/'")]
    TmpfsRoot,
}

impl InvalidMount {
    /// Whether the text itself is malformed, and not what it means.
    pub fn is_malformed(&self) -> bool {
        matches!(self, InvalidMount::Empty | InvalidMount::EmptySection(_) | InvalidMount::TooManyColons(_))
    }
}

/// Parses one `-v` argument. A source that starts with `.` is relative to `cwd`.
pub fn parse_volume(text: &str, cwd: &Path) -> Result<BindMount, InvalidMount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [""] => return Err(InvalidMount::Empty),
        [_] => return Err(InvalidMount::NamedVolume(text.to_owned())),
        _ if parts.contains(&"") => return Err(InvalidMount::EmptySection(text.to_owned())),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(InvalidMount::TooManyColons(text.to_owned())),
    };
    let read_only = match mode {
        "" | "rw" => false,
        "ro" => true,
        other => return Err(InvalidMount::Mode(text.to_owned(), other.to_owned())),
    };
    if !target.starts_with('/') {
        return Err(InvalidMount::Target(text.to_owned(), target.to_owned()));
    }
    let target: PathBuf = Path::new(target).components().collect();
    if target == Path::new("/") {
        return Err(InvalidMount::RootTarget(text.to_owned()));
    }
    if !source.starts_with('/') && !source.starts_with('.') {
        return Err(InvalidMount::NamedVolume(text.to_owned()));
    }
    Ok(BindMount { source: cwd.join(source), target, read_only })
}

/// Parses one `--tmpfs` argument.
pub fn parse_tmpfs(text: &str) -> Result<TmpfsMount, InvalidMount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(InvalidMount::TmpfsTarget(target.to_owned()));
    }
    let target: PathBuf = Path::new(target).components().collect();
    if target == Path::new("/") {
        return Err(InvalidMount::TmpfsRoot);
    }
    Ok(TmpfsMount { target, options: options.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let cwd = Path::new("/home/u");
        let bind = |s: &str, t: &str, read_only| BindMount { source: s.into(), target: t.into(), read_only };
        assert_eq!(parse_volume("/a:/b", cwd), Ok(bind("/a", "/b", false)));
        assert_eq!(parse_volume("/a:/b:ro", cwd), Ok(bind("/a", "/b", true)));
        assert_eq!(parse_volume("./a:/b/:rw", cwd), Ok(bind("/home/u/./a", "/b", false)));
        for text in
            ["", "/a", "name:/b", "/a:b", "/a:/", "/a:/b:zz", "/a:/b:ro:x", ":/b", "/a:/b:", "/a:", ":"]
        {
            assert!(parse_volume(text, cwd).is_err(), "{text}");
        }
    }

    #[test]
    fn tmpfs() {
        assert_eq!(parse_tmpfs("/t"), Ok(TmpfsMount { target: "/t".into(), options: String::new() }));
        assert_eq!(parse_tmpfs("/t:size=1m").map(|t| t.options), Ok("size=1m".to_owned()));
        for text in ["t", "", "/", "//:size=1m"] {
            assert!(parse_tmpfs(text).is_err(), "{text}");
        }
    }
}
