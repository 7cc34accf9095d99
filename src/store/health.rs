//! What a container's probes found: `containers/<id>/health.json`, a file of its own, since it changes
//! with every probe and the state does not.

use super::{Error, IoContext, Store};
use crate::spec::health::Record;
use crate::spec::id::ContainerId;

pub(super) const FILE: &str = "health.json";

impl Store {
    /// Writes what the last probe left. Readers see the old or the new file, whole; it is not brought to
    /// the disk at once, since the next start begins anew anyway.
    pub fn write_health(&self, id: &ContainerId, record: &Record) -> Result<(), Error> {
        let directory = self.container_dir(id);
        let fresh = directory.join("health.json.new");
        let json = serde_json::to_vec(record).expect("plain data always serialises");
        std::fs::write(&fresh, json).at("write", &fresh)?;
        let path = directory.join(FILE);
        std::fs::rename(&fresh, &path).at("publish", &path)
    }

    /// What the last probe left; `None` where there is nothing that can be read.
    pub fn health(&self, id: &ContainerId) -> Option<Record> {
        parse(&std::fs::read(self.container_dir(id).join(FILE)).ok()?)
    }
}

/// What the file says. A torn one, as a power cut may leave it, says nothing.
pub(super) fn parse(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes).ok()
}
