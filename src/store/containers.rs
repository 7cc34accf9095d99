//! Containers on disk: `containers/<id>/` with an immutable record, the monitor's state, the lock
//! and the writable layer; `names/<name>` holds who has a name.
//!
//! Whether a container runs is told by its lock (`containers/<id>/lock`): the monitor holds it for
//! as long as it lives, so a state file that says "running" while the lock is free is a monitor
//! that was killed or a host that went down. Readers only ask who has the lock
//! (fcntl F_OFD_GETLK) and so never get in anybody's way.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::held::Held;
use super::lock::Lock;
use super::place::{Place, read_container, whole};
use super::staging::Staging;
use super::worker::{Worker, WorkerNamespace};
use super::{IoContext, Store, layers};
use crate::spec::container::{ContainerRecord, ContainerState};
use crate::spec::health::Health;
use crate::spec::id::ContainerId;
use crate::spec::name::ContainerName;
use crate::spec::resources::Resources;
use crate::spec::restart::RestartPolicy;
use crate::spec::update::Updated;

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct Container {
    pub record: ContainerRecord,
    pub name: String,
    /// The truth: corrected when the monitor is gone.
    pub state: ContainerState,
    /// What is different from the record.
    pub updated: Updated,
    /// `None` without a health check, or before the first start.
    pub health: Option<Health>,
}

impl Container {
    /// Also between two runs of its restart policy, as docker's `.State.Running`.
    pub fn is_running(&self) -> bool {
        self.state.status.is_alive()
    }

    /// As created, or as `update` changed it since.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.updated.restart.unwrap_or(self.record.options.restart)
    }

    /// The limits it has, or has when it runs.
    pub fn resources(&self) -> &Resources {
        &self.updated.resources
    }

    /// The directory of its cgroup, while it runs and where the host gives one.
    pub fn cgroup(&self) -> Option<PathBuf> {
        (self.state.status.has_process() && !self.state.cgroup.is_empty())
            .then(|| PathBuf::from(&self.state.cgroup))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}")]
    NoSuch(String),
    #[error("invalid container name or ID: value is empty")]
    EmptyKey,
    #[error("multiple containers found with the prefix {0}: give more of the id")]
    Ambiguous(String),
    #[error(
        "Conflict. The container name {name:?} is already in use by container {holder:?}. You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, holder: String },
    #[error("the record of container {id} cannot be read ({reason}); remove it with: coracle rm -f {id}")]
    BadRecord { id: String, reason: String },
    #[error("container {0} is running or in use: it is being started, copied from or to, or removed")]
    Busy(String),
    #[error(transparent)]
    Store(#[from] super::Error),
    #[error("cannot delete the files of a container")]
    Delete(#[source] layers::Error),
}

/// From so many containers on several threads read them, and at most so many.
const MANY: usize = 128;
const READERS: usize = 4;

impl Store {
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.layout.containers().join(id.as_str())
    }

    /// docker's json-file log.
    pub fn container_log_path(&self, id: &ContainerId) -> PathBuf {
        self.container_dir(id).join(format!("{id}-json.log"))
    }

    fn names_dir(&self) -> PathBuf {
        self.layout.root().join("names")
    }

    fn container_ids(&self) -> Result<Vec<ContainerId>, Error> {
        let directory = self.layout.containers();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(super::Error::io("read", &directory, error).into()),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// Every container whose record can be read.
    pub fn containers(&self) -> Result<Vec<Container>, Error> {
        self.read_all(|_| true)
    }

    /// Those that were ever started.
    pub fn begun_containers(&self) -> Result<Vec<Container>, Error> {
        self.read_all(|place| place.has("state.json"))
    }

    fn read_all(&self, is_meant: impl Fn(&Place<'_>) -> bool + Sync) -> Result<Vec<Container>, Error> {
        let ids = self.container_ids()?;
        // Opened once: with many containers the way to it is what takes time.
        let Ok(all) = File::open(self.layout.containers()) else { return Ok(Vec::new()) };
        let read = |id: &ContainerId| {
            let place = Place { all: Some(all.as_fd()), directory: PathBuf::from(id.as_str()) };
            // One that vanishes meanwhile or whose record is damaged must not hide the others.
            if is_meant(&place) { read_container(&place, id).ok() } else { None }
        };
        let read_some = |ids: &[ContainerId]| ids.iter().filter_map(&read).collect::<Vec<_>>();
        if ids.len() < MANY {
            return Ok(read_some(&ids));
        }
        let readers = std::thread::available_parallelism().map_or(1, usize::from).min(READERS);
        let parts = ids.chunks(ids.len().div_ceil(readers));
        Ok(std::thread::scope(|scope| {
            let readers: Vec<_> = parts.map(|part| scope.spawn(|| read_some(part))).collect();
            readers.into_iter().flat_map(|reader| reader.join().unwrap_or_default()).collect()
        }))
    }

    /// Reads one container.
    pub fn container(&self, id: &ContainerId) -> Result<Container, Error> {
        read_container(&Place::of(&self.container_dir(id)), id)
    }

    /// Finds by full id, name, or the beginning of an id that only one container has.
    pub fn find_container(&self, key: &str) -> Result<Container, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if let Ok(id) = key.parse::<ContainerId>()
            && let Ok(container) = self.container(&id)
        {
            return Ok(container);
        }
        if let Some(id) = key.parse::<ContainerName>().ok().and_then(|name| self.id_of_name(name.as_str()))
            && let Ok(container) = self.container(&id)
            // A rename that was cut short leaves a claim that the container knows nothing of.
            && container.name == key.strip_prefix('/').unwrap_or(key)
        {
            return Ok(container);
        }
        let is_prefix = key.bytes().all(|b| b.is_ascii_hexdigit());
        let mut matching = Vec::new();
        if is_prefix {
            matching = self.container_ids()?.into_iter().filter(|id| id.as_str().starts_with(key)).collect();
        }
        match &matching[..] {
            [] => Err(Error::NoSuch(key.to_owned())),
            [id] => self.container(id),
            _ => Err(Error::Ambiguous(key.to_owned())),
        }
    }

    /// The container's name; `None` when it is gone.
    pub fn container_name(&self, id: &ContainerId) -> Option<String> {
        std::fs::read_to_string(self.container_dir(id).join("name")).ok()
    }

    fn id_of_name(&self, name: &str) -> Option<ContainerId> {
        let text = std::fs::read_to_string(self.names_dir().join(name)).ok()?;
        text.split(' ').next()?.parse().ok()
    }

    /// Makes a container out of its record: everything staged, the name taken, one rename.
    ///
    /// `durable` brings it to the disk first; a container that is removed at its end needs not.
    pub fn create_container(&self, record: &ContainerRecord, name: &str, durable: bool) -> Result<(), Error> {
        let staging = self.stage()?;
        let place = staging.path().join("c");
        let mkdir = |path: &Path| std::fs::DirBuilder::new().mode(0o700).create(path).at("make", path);
        mkdir(&place)?;
        mkdir(&place.join("upper"))?;
        // The upper directory's mode becomes that of `/` in the container.
        std::fs::set_permissions(place.join("upper"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .at("make", &place)?;
        mkdir(&place.join("work"))?;
        mkdir(&place.join("root"))?;
        let json = serde_json::to_vec(record).expect("plain data always serialises");
        staging.write("c/record.json", &json)?;
        staging.write("c/name", name.as_bytes())?;
        staging.write("c/lock", b"")?;
        if durable {
            staging.sync()?;
        }
        self.take_name(&staging, &record.id, name)?;
        match staging.publish("c", &self.container_dir(&record.id)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = std::fs::remove_file(self.names_dir().join(name));
                Err(error.into())
            }
        }
    }

    /// Claims a name for an id. The file also names the staging place, so that a claim whose
    /// creator died before its container appeared can be told from a good one.
    fn take_name(&self, staging: &Staging, id: &ContainerId, name: &str) -> Result<(), Error> {
        let place = staging.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        staging.write("n", format!("{id} {place}").as_bytes())?;
        let path = self.names_dir().join(name);
        while !staging.publish_new("n", &path)? {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let (holder, place) = text.split_once(' ').unwrap_or((&text, ""));
            let has_it = |id| std::fs::read_to_string(self.container_dir(&id).join("name")).ok();
            let exists = holder.parse().is_ok_and(|id| has_it(id).as_deref() == Some(name));
            let lock = self.layout.staging().join(format!("{place}.lock"));
            if exists || (lock.exists() && Lock::try_exclusive(&lock)?.is_none()) {
                return Err(Error::NameTaken { name: format!("/{name}"), holder: holder.to_owned() });
            }
            self.remove_claim(name, |claim| claim == text)?;
        }
        Ok(())
    }

    /// Removes a claim of a name if it still is the one that is meant. One at a time: of two, the slower would
    /// remove what a third has just claimed.
    fn remove_claim(&self, name: &str, is_meant: impl FnOnce(&str) -> bool) -> Result<(), Error> {
        let _lock = Lock::exclusive(&self.layout.root().join("names.lock"))?;
        let path = self.names_dir().join(name);
        match std::fs::read_to_string(&path) {
            Ok(claim) if is_meant(&claim) => Ok(std::fs::remove_file(&path).at("remove", &path)?),
            _ => Ok(()),
        }
    }

    fn free_name(&self, name: &str, id: &ContainerId) -> Result<(), Error> {
        self.remove_claim(name, |claim| claim.split(' ').next() == Some(id.as_str()))
    }

    /// Gives a container another name, in one moment for whoever looks; it may run.
    pub fn rename_container(&self, id: &ContainerId, new: &str) -> Result<(), Error> {
        let directory = self.container_dir(id);
        // One at a time: of two claims at once, one would stay.
        let record = directory.join("record.json");
        let _lock = Lock::exclusive_existing(&record)?.ok_or_else(|| Error::NoSuch(id.to_string()))?;
        let old = std::fs::read_to_string(directory.join("name")).unwrap_or_default();
        let staging = self.stage()?;
        self.take_name(&staging, id, new)?;
        staging.write("name", new.as_bytes())?;
        staging.sync()?;
        let path = directory.join("name");
        if let Err(source) = std::fs::rename(staging.path().join("name"), &path) {
            let _ = std::fs::remove_file(self.names_dir().join(new));
            return match source.kind() {
                std::io::ErrorKind::NotFound => Err(Error::NoSuch(id.to_string())),
                _ => Err(super::Error::io("publish", &path, source).into()),
            };
        }
        self.free_name(&old, id)
    }

    /// Takes the container's lock, as its monitor or to remove it.
    pub fn hold_container(&self, id: &ContainerId) -> Result<Held, Error> {
        let directory = self.container_dir(id);
        let path = directory.join("lock");
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoSuch(id.to_string()));
            }
            Err(error) => return Err(super::Error::io("open", &path, error).into()),
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))) {
            Ok(_) => Ok(Held { lock: file, directory, id: id.clone() }),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(Error::Busy(id.short().to_owned())),
            Err(errno) => Err(super::Error::io("lock", &path, errno).into()),
        }
    }

    /// Takes the container out of sight: its name is free and its record gone when this returns.
    /// What is dropped without [`Removed::delete`] is swept later.
    pub fn withdraw_container(&self, held: &Held) -> Result<Removed, Error> {
        let staging = self.stage()?;
        let name = std::fs::read_to_string(held.directory.join("name")).unwrap_or_default();
        // In this order: a claim without a container gives way, a container without a claim could not be named.
        staging.withdraw(&held.directory, "c")?;
        if !name.is_empty() {
            self.free_name(&name, &held.id)?;
        }
        Ok(Removed { staging })
    }
}

/// A removed container's files, still to be deleted.
#[derive(Debug)]
#[must_use]
pub struct Removed {
    staging: Staging,
}

impl Removed {
    /// Deletes the files, some of which may belong to subordinate ids.
    pub fn delete(self, namespace: WorkerNamespace<'_>) -> Result<(), Error> {
        // The worker is only needed for what the user's own id cannot delete.
        if std::fs::remove_dir_all(self.staging.path().join("c")).is_ok() {
            return Ok(());
        }
        let worker = Worker::spawn(namespace).map_err(|e| Error::Delete(e.into()))?;
        let path = self.staging.path();
        let place = File::open(path).at("open", path)?;
        worker.remove_tree(AsFd::as_fd(&place), "c").map_err(|e| Error::Delete(e.into()))
    }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
