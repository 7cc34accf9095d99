//! `containers/<id>/updated.json`: what `update` changed. Written by clients, whole and renamed, one
//! at a time (the lock of the record); read by everybody without a lock. Mostly it is not there.

use std::path::Path;

use super::containers::Error;
use super::lock::Lock;
use super::{Store, parse_record, read_record, record_bytes};
use crate::spec::id::ContainerId;
use crate::spec::update::{UPDATED_VERSION, Updated};

pub(super) const FILE: &str = "updated.json";

/// What the file of the container in `directory` says.
pub(super) fn parse(bytes: &[u8], directory: &Path) -> Result<Updated, super::Error> {
    parse_record(bytes, &directory.join(FILE), UPDATED_VERSION)
}

/// What was changed of the container in `directory`; nothing when nobody changed anything.
fn read(directory: &Path) -> Result<Updated, super::Error> {
    Ok(read_record(&directory.join(FILE), UPDATED_VERSION)?.unwrap_or_default())
}

impl Store {
    /// Changes what is to be different from the record, and returns all that is different now. A
    /// change that fails leaves the file as it was.
    ///
    /// # Errors
    /// Those of `change`; a container that is gone; a disk that takes no more.
    pub fn update_container<E: From<Error>>(
        &self,
        id: &ContainerId,
        change: impl FnOnce(&mut Updated) -> Result<(), E>,
    ) -> Result<Updated, E> {
        let directory = self.container_dir(id);
        let lock = Lock::exclusive_existing(&directory.join("record.json")).map_err(Error::from)?;
        let _lock = lock.ok_or_else(|| Error::NoSuch(id.to_string()))?;
        let mut updated = read(&directory).map_err(Error::from)?;
        change(&mut updated)?;
        self.publish_updated(&directory, &updated).map_err(Error::from)?;
        Ok(updated)
    }

    fn publish_updated(&self, directory: &Path, updated: &Updated) -> Result<(), super::Error> {
        let staging = self.stage()?;
        staging.write(FILE, &record_bytes(updated))?;
        staging.sync()?;
        staging.publish(FILE, &directory.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::id::ContainerId;

    #[test]
    fn changes_add_up_and_a_refused_one_changes_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = Store::open(dir.path().to_owned());
        let id = ContainerId::from_bytes([7; 32]);
        let place = store.container_dir(&id);
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("record.json"), "{}").expect("written");
        assert_eq!(read(&place).expect("read"), Updated::default());
        let set = |change: fn(&mut Updated)| {
            store.update_container::<Error>(&id, |updated| {
                change(updated);
                Ok(())
            })
        };
        set(|updated| updated.resources.memory = Some(1)).expect("changed");
        let all = set(|updated| updated.resources.pids_limit = Some(2)).expect("changed");
        assert_eq!((all.resources.memory, all.resources.pids_limit), (Some(1), Some(2)));
        assert_eq!(read(&place).expect("read"), all);
        let refused = store.update_container(&id, |updated| {
            updated.resources.memory = Some(9);
            Err(Error::EmptyKey)
        });
        assert!(matches!(refused, Err(Error::EmptyKey)));
        assert_eq!(read(&place).expect("read"), all);
    }

    #[test]
    fn a_container_that_is_gone_cannot_be_changed() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = Store::open(dir.path().to_owned());
        let id = ContainerId::from_bytes([7; 32]);
        let changed = store.update_container::<Error>(&id, |_| Ok(()));
        assert!(matches!(changed, Err(Error::NoSuch(_))));
    }
}
