//! Which directories make up a container's root file system. Runs in the monitor when it starts a container, and in
//! the files worker when a container that does not run is looked into.

use std::path::{Path, PathBuf};

use crate::rootfs::host_image;
use crate::rootfs::overlay::Overlay;
use crate::runtime::init::HostRoot;
use crate::spec::container::Options;
use crate::spec::digest::Digest;
use crate::spec::id::ContainerId;
use crate::store::Store;

/// The overlay of a container's layers; `volatile` as [`Overlay::volatile`].
pub fn overlay(store: &Store, id: &ContainerId, layers: &[Digest], volatile: bool) -> Overlay {
    let container = Path::new("../containers").join(id.as_str());
    Overlay {
        base: store.layout().layers(),
        layers: layers.iter().map(|id| Path::new(id.hex()).join("diff")).collect(),
        upper: container.join("upper"),
        work: container.join("work"),
        target: container.join("root"),
        volatile,
    }
}

/// The clone of the host's files for a container of the image `host`. `directory` is the container's, `data` the
/// store, `runtime` where running things are.
pub fn host_root(
    directory: &Path,
    data: &Path,
    runtime: &Path,
    options: &Options,
    volatile: bool,
) -> Result<HostRoot, host_image::Error> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The store is not for the container's eyes: not where it is called to be, nor where it is.
    let mut exclude = vec![data.to_owned(), runtime.to_owned()];
    let real: Vec<PathBuf> = exclude.iter().filter_map(|path| path.canonicalize().ok()).collect();
    exclude.extend(real);
    Ok(HostRoot {
        parts: host_image::plan(&mounts, &exclude, &host_image::host_entries)?,
        root: directory.join("upper"),
        scratch: directory.join("work"),
        skeleton: runtime.join("host"),
        volatile,
        can_remount: options.privileged || !options.cap_add.is_empty(),
    })
}
