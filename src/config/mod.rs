//! Where things are and what the environment asks for. The only reader of environment variables;
//! everything else is given a `Config`.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use directories::BaseDirs;

/// Which storage driver the user forces (`CORACLE_STORAGE_DRIVER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverChoice {
    /// Probe: native overlay, else fuse-overlayfs.
    Auto,
    Overlay,
    FuseOverlayfs,
}

#[derive(Debug, Clone)]
pub struct Config {
    /// Images and containers: `$XDG_DATA_HOME/coracle`, or `CORACLE_ROOT`.
    pub data: PathBuf,
    /// Sockets and what ends with the session: `$XDG_RUNTIME_DIR/coracle`.
    pub runtime: PathBuf,
    pub driver: DriverChoice,
    /// Run with one mapped id even if subordinate ranges exist (`CORACLE_SINGLE_ID=1`).
    pub single_id: bool,
    /// Directories programs are looked for in.
    pub path: OsString,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no home directory: HOME is not set and user {uid} has no entry in /etc/passwd; set HOME or CORACLE_ROOT"
    )]
    NoHome { uid: u32 },
    #[error("CORACLE_STORAGE_DRIVER={0:?} is not a storage driver: use overlay or fuse-overlayfs")]
    UnknownDriver(String),
    #[error("cannot make the runtime directory {path:?}; set XDG_RUNTIME_DIR to a directory of your own")]
    RuntimeDirectory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{path:?} belongs to user {owner}, not to you; remove it or set XDG_RUNTIME_DIR to a directory of your own"
    )]
    ForeignRuntimeDirectory { path: PathBuf, owner: u32 },
}

/// The configuration of docker's client: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
pub fn docker_client_config() -> Option<PathBuf> {
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

impl Config {
    /// Reads the environment. Makes nothing but the fallback runtime directory.
    pub fn from_environment() -> Result<Config, Error> {
        let uid = nix::unistd::geteuid().as_raw();
        let data = match variable("CORACLE_ROOT") {
            Some(root) => std::path::absolute(&root).unwrap_or_else(|_| root.into()),
            None => data_home(uid)?.join("coracle"),
        };
        let driver = match variable("CORACLE_STORAGE_DRIVER").as_deref() {
            None | Some("auto") => DriverChoice::Auto,
            Some("overlay") => DriverChoice::Overlay,
            Some("fuse-overlayfs") => DriverChoice::FuseOverlayfs,
            Some(other) => return Err(Error::UnknownDriver(other.to_owned())),
        };
        Ok(Config {
            data,
            runtime: runtime_directory(uid)?,
            driver,
            single_id: variable("CORACLE_SINGLE_ID").is_some_and(|v| v != "0"),
            path: std::env::var_os("PATH")
                .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()),
        })
    }

    /// The first executable of that name in PATH or the system's usual places.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path)
            .chain(
                ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]
                    .map(PathBuf::from),
            )
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(|path| path.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0))
    }
}

/// `$XDG_DATA_HOME` or `~/.local/share`.
///
/// `directories` asks the name service for a home directory when HOME is missing, which a static
/// binary must not do; in that case /etc/passwd is read here.
fn data_home(uid: u32) -> Result<PathBuf, Error> {
    if variable("HOME").is_some() {
        return BaseDirs::new().map(|dirs| dirs.data_dir().to_owned()).ok_or(Error::NoHome { uid });
    }
    if let Some(dir) = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|d| d.is_absolute()) {
        return Ok(dir);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    home_of(&passwd, uid).map(|home| home.join(".local/share")).ok_or(Error::NoHome { uid })
}

fn home_of(passwd: &str, uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    passwd
        .lines()
        .map(|l| l.split(':').collect::<Vec<_>>())
        .find(|f| f.len() > 5 && f[2] == uid)
        .map(|f| f[5].into())
}

/// `$XDG_RUNTIME_DIR/coracle` when that directory is ours, else `/run/user/UID/coracle`, else
/// `/tmp/coracle-UID`, which is made private. The choice depends on nothing but what exists, so all
/// processes of a user agree.
fn runtime_directory(uid: u32) -> Result<PathBuf, Error> {
    let ours = |dir: &Path| dir.metadata().is_ok_and(|m| m.is_dir() && m.uid() == uid);
    let candidates =
        [variable("XDG_RUNTIME_DIR").map(PathBuf::from), Some(format!("/run/user/{uid}").into())];
    if let Some(dir) = candidates.into_iter().flatten().find(|d| d.is_absolute() && ours(d)) {
        return Ok(dir.join("coracle"));
    }
    let path = PathBuf::from(format!("/tmp/coracle-{uid}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::RuntimeDirectory { path, source });
        }
        _ => {}
    }
    let found =
        path.symlink_metadata().map_err(|source| Error::RuntimeDirectory { path: path.clone(), source })?;
    if found.uid() != uid || !found.is_dir() || found.mode() & 0o077 != 0 {
        return Err(Error::ForeignRuntimeDirectory { path, owner: found.uid() });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n";
        assert_eq!(home_of(passwd, 1000), Some("/home/u".into()));
        assert_eq!(home_of(passwd, 5), None);
    }
}
