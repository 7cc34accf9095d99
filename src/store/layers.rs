//! Layers: one directory per uncompressed-archive digest, shared by all images that have it.
//!
//! Used by the client (threads may write several layers at once); the unpacking itself is done by an
//! id worker each. A `Layer` is held by a shared lock on its record, so no clean-up removes it
//! between the moment it is found or made and the moment an image refers to it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::layout::{LAYER_RECORD, LAYER_TREE, make_directory};
use super::lock::Lock;
use super::staging::Staging;
use super::worker::{self, Worker, WorkerNamespace};
use super::{IoContext, Store, parse_record, record_bytes};
use crate::archive::unpack::{Note, Owners, Summary, Whiteouts};
use crate::spec::digest::{Algorithm, Digest, Hasher};
use crate::sys::error::Context;

/// The version of `layer.json`.
const RECORD_VERSION: u32 = 1;
/// The name of a layer's directory while it is staged.
const STAGED: &str = "layer";
/// The largest pipe an unprivileged user may have by default (pipe(7), pipe-max-size).
const PIPE_SIZE: i32 = 1024 * 1024;
/// Copied at a time; fits the second-level cache with the decoder's window beside it.
const COPY_BUFFER: usize = 128 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] super::Error),
    #[error(transparent)]
    Worker(#[from] worker::Error),
    #[error("cannot make the pipe to the id worker")]
    Pipe(#[source] crate::sys::Error),
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("cannot hand the archive to the id worker")]
    Write(#[source] io::Error),
    #[error("the layer's content is {actual}, but {expected} was promised")]
    WrongDigest { expected: Digest, actual: Digest },
}

/// `layer.json`. Written once, before the layer appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LayerRecord {
    version: u32,
    diff_id: Digest,
    owners: Owners,
    #[serde(flatten)]
    summary: Summary,
}

/// A whole layer, protected from removal while this value lives.
#[derive(Debug)]
pub struct Layer {
    record: LayerRecord,
    _hold: Lock,
}

impl Layer {
    pub fn diff_id(&self) -> &Digest {
        &self.record.diff_id
    }

    /// Sum of its regular files' sizes in bytes.
    pub fn size(&self) -> u64 {
        self.record.summary.size
    }

    /// What of the archive is not on disk.
    pub fn notes(&self) -> &[Note] {
        &self.record.summary.notes
    }
}

impl Store {
    /// The tree of an unpacked layer.
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layout.layer(diff_id).join(LAYER_TREE)
    }

    /// Finds a layer and keeps it from being removed.
    pub fn hold_layer(&self, diff_id: &Digest) -> Result<Option<Layer>, Error> {
        let path = self.layout.layer(diff_id).join(LAYER_RECORD);
        let Some(hold) = Lock::shared(&path)? else { return Ok(None) };
        let bytes = std::fs::read(&path).at("read", &path)?;
        Ok(Some(Layer { record: parse_record(&bytes, &path, RECORD_VERSION)?, _hold: hold }))
    }

    /// Makes sure that native overlay understands the whiteouts of `layers`, and those of `upper` when
    /// fuse-overlayfs wrote there.
    ///
    /// A layer that was unpacked where the kernel refused devices has markers instead, which only
    /// fuse-overlayfs reads. They are turned once, when such a layer is first mounted natively. The caller's container
    /// keeps the layers from being removed.
    pub fn show_whiteouts(
        &self,
        namespace: WorkerNamespace<'_>,
        layers: &[Digest],
        upper: Option<&Path>,
    ) -> Result<(), Error> {
        let mut worker = None;
        let mut show = |tree: &Path| -> Result<(), Error> {
            if worker.is_none() {
                worker = Some(Worker::spawn(namespace)?);
            }
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let tree = nix::fcntl::open(tree, flags, Mode::empty()).at("open", tree)?;
            Ok(worker.as_ref().expect("started above").show_whiteouts(tree.as_fd())?)
        };
        for diff_id in layers {
            let path = self.layout.layer(diff_id).join(LAYER_RECORD);
            let record: Option<LayerRecord> = super::read_record(&path, RECORD_VERSION)?;
            if record.is_some_and(|record| record.summary.marker_whiteouts) {
                show(&self.layer_path(diff_id))?;
                self.forget_markers(&path)?;
            }
        }
        upper.map_or(Ok(()), show)
    }

    /// Notes in a layer's record that it has no markers any more.
    fn forget_markers(&self, path: &Path) -> Result<(), Error> {
        // Whoever holds the layer holds this very file. Then it stays, and the next start looks again.
        let Some(_exclusive) = Lock::try_exclusive(path)? else { return Ok(()) };
        let Some(mut record) = super::read_record::<LayerRecord>(path, RECORD_VERSION)? else {
            return Ok(());
        };
        record.summary.marker_whiteouts = false;
        let staging = self.stage()?;
        staging.write(LAYER_RECORD, &record_bytes(&record))?;
        staging.sync()?;
        Ok(staging.publish(LAYER_RECORD, path)?)
    }

    /// Starts a new layer: an id worker unpacks what is written, into a staging place.
    ///
    /// `algorithm` is that of the diff id the layer will be finished with.
    pub fn layer_writer(
        &self,
        namespace: WorkerNamespace<'_>,
        whiteouts: Whiteouts,
        algorithm: Algorithm,
    ) -> Result<LayerWriter, Error> {
        let staging = self.stage()?;
        let path = staging.path().join(STAGED);
        make_directory(&path)?;
        let layer: OwnedFd = File::open(&path).at("open", &path)?.into();
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
            .call("pipe2", || "O_CLOEXEC".to_owned())
            .map_err(Error::Pipe)?;
        // Fewer switches between the two processes; a user over his pipe quota keeps the small one.
        let _ = nix::fcntl::fcntl(&write_end, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let worker = Worker::spawn(namespace)?;
        let lock = staging.share_lock()?;
        worker.start_unpack([layer.as_fd(), read_end.as_fd(), lock.as_fd()], namespace.owners, whiteouts)?;
        Ok(LayerWriter {
            store: self.clone(),
            pipe: Some(write_end.into()),
            hasher: Hasher::new(algorithm),
            owners: namespace.owners,
            answered: false,
            worker,
            staging,
        })
    }

    /// Removes a layer unless somebody holds it; true when it is gone now.
    ///
    /// The caller knows that no image and no container refers to it.
    pub(super) fn withdraw_layer(&self, diff_id: &Digest, staging: &Staging) -> Result<bool, Error> {
        let path = self.layout.layer(diff_id);
        let Some(_exclusive) = Lock::try_exclusive(&path.join(LAYER_RECORD))? else { return Ok(false) };
        Ok(staging.withdraw(&path, diff_id.hex())?)
    }
}

/// Takes the uncompressed archive of a layer. Dropped before `finish`, it leaves nothing.
pub struct LayerWriter {
    store: Store,
    pipe: Option<File>,
    hasher: Hasher,
    owners: Owners,
    /// The worker's answer to the unpack request has been received.
    answered: bool,
    worker: Worker,
    staging: Staging,
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pipe) = &mut self.pipe else { return Err(io::ErrorKind::BrokenPipe.into()) };
        match pipe.write(bytes) {
            Ok(count) => {
                self.hasher.update(&bytes[..count]);
                Ok(count)
            }
            // The worker gave up; its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => match self.wait() {
                Err(reason) => Err(io::Error::other(reason)),
                Ok(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerWriter {
    /// Writes all that `archive` has. Returns how many bytes that were.
    pub fn copy_from(&mut self, archive: &mut dyn io::Read) -> Result<u64, Error> {
        let mut buffer = vec![0; COPY_BUFFER];
        let mut total = 0;
        loop {
            let count = match archive.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            self.write_all(&buffer[..count]).map_err(written_error)?;
            total += count as u64;
        }
    }

    /// Ends the archive, checks its digest, and makes the layer appear.
    ///
    /// When the same layer appeared meanwhile, that one is returned and this one thrown away.
    pub fn finish(self, diff_id: &Digest) -> Result<Layer, Error> {
        self.complete(Some(diff_id))
    }

    /// The same for an archive whose digest nobody promised.
    pub fn finish_unnamed(self) -> Result<Layer, Error> {
        self.complete(None)
    }

    fn complete(mut self, expected: Option<&Digest>) -> Result<Layer, Error> {
        let summary = self.wait()?;
        let actual = self.hasher.clone().finish();
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(Error::WrongDigest { expected: expected.clone(), actual });
        }
        let record = LayerRecord { version: RECORD_VERSION, diff_id: actual, owners: self.owners, summary };
        let name = format!("{STAGED}/{LAYER_RECORD}");
        self.staging.write(&name, &record_bytes(&record))?;
        self.staging.sync()?;
        let staged = self.staging.path().join(name);
        let hold = Lock::shared(&staged)?.expect("written above, in a place of our own");
        let destination = self.store.layout.layer(&record.diff_id);
        loop {
            if self.staging.publish_new(STAGED, &destination)? {
                return Ok(Layer { record, _hold: hold });
            }
            if let Some(layer) = self.store.hold_layer(&record.diff_id)? {
                return Ok(layer);
            }
            // A directory without a record is no layer: somebody else's damage, out of the way.
            self.staging.withdraw(&destination, "damaged")?;
        }
    }

    /// Ends the stream and waits for the worker's answer.
    fn wait(&mut self) -> Result<Summary, Error> {
        self.pipe = None;
        self.answered = true;
        Ok(self.worker.finish_unpack()?)
    }
}

/// The layer's own error when that is what a failed write carries.
fn written_error(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(Error::Write)
}

impl Drop for LayerWriter {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.wait();
        }
        if let Ok(place) = File::open(self.staging.path()) {
            for name in [STAGED, "damaged"] {
                let _ = self.worker.remove_tree(place.as_fd(), name);
            }
        }
    }
}
