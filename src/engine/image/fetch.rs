//! Layers from the registry into the store, several at a time. Runs in the client, in threads.
//!
//! Each thread takes a layer from the list: the blob's bytes are hashed as they arrive, decompressed,
//! hashed again and given to an id worker that unpacks them meanwhile. A layer appears in the store
//! when both digests were right.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::pull::{Error, LayerState, Progress, Unpacking, discard};
use crate::archive::compress;
use crate::registry::{self, BlobReader, Client, Descriptor};
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::layers::{self, Layer, LayerWriter};
use crate::store::worker;

/// As many as docker fetches at once.
const THREADS_MAX: usize = 3;

/// A layer that is not in the store.
#[derive(Debug, Clone)]
pub struct Missing {
    pub blob: Descriptor,
    pub diff_id: Digest,
}

/// What all threads work with.
pub struct Work<'a> {
    pub store: &'a Store,
    pub client: &'a Client,
    pub reference: &'a ImageRef,
    pub unpacking: &'a Unpacking,
    pub progress: &'a dyn Progress,
}

/// Fetches all layers. When one fails the others stop, and those that were done are taken back.
pub fn all(work: &Work, missing: &[Missing]) -> Result<Vec<Layer>, Error> {
    for layer in missing.iter().skip(THREADS_MAX) {
        work.progress.layer(&layer.blob.digest, LayerState::Waiting);
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    let run = || {
        while let Some(layer) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match one(work, layer, &stop) {
                Ok(layer) => done.lock().unwrap_or_else(PoisonError::into_inner).push(layer),
                Err(error) => {
                    // The first failure is the reason; the others follow from it.
                    if !stop.swap(true, Ordering::Relaxed) {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..missing.len().min(THREADS_MAX) {
            scope.spawn(run);
        }
        run();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(done),
        Some(error) => {
            discard(work.store, work.unpacking, done);
            Err(error)
        }
    }
}

fn one(work: &Work, layer: &Missing, stop: &AtomicBool) -> Result<Layer, Error> {
    let Missing { blob, diff_id } = layer;
    let digest = || blob.digest.clone();
    let tell = |state| work.progress.layer(&blob.digest, state);
    let reader = work.client.blob(work.reference, blob).map_err(|source| not_fetched(work, blob, source))?;
    let mut source = Counted { blob: reader, done: 0, work, layer, stop };
    let mut writer = work
        .store
        .layer_writer(work.unpacking.namespace(), work.unpacking.whiteouts, diff_id.algorithm())
        .map_err(|source| Error::Layer { layer: digest(), source })?;
    if let Err(error) = unpack(&mut source, &mut writer, blob) {
        let reason = if is_about_content(&error) { drain(&mut source, blob).err() } else { None };
        return Err(reason.unwrap_or(error));
    }
    // A decoder may stop before the blob's end; only there is the blob known to be the right one.
    drain(&mut source, blob)?;
    tell(LayerState::DownloadComplete);
    tell(LayerState::Extracting);
    let layer = writer.finish(diff_id).map_err(|source| Error::Layer { layer: digest(), source })?;
    tell(LayerState::PullComplete);
    Ok(layer)
}

/// Decompresses a blob into the writer.
fn unpack(source: &mut Counted, writer: &mut LayerWriter, blob: &Descriptor) -> Result<(), Error> {
    let work = source.work;
    let layer = || blob.digest.clone();
    let mut decoder = compress::decoder(source).map_err(|error| match error {
        compress::Error::Read(error) => unreadable(work, blob, error),
        source => Error::Compression { layer: layer(), source },
    })?;
    writer.copy_from(&mut decoder).map(drop).map_err(|error| match error {
        layers::Error::Read(error) => unreadable(work, blob, error),
        source => Error::Layer { layer: layer(), source },
    })
}

/// Reads a blob to its verified end.
fn drain(source: &mut Counted, blob: &Descriptor) -> Result<(), Error> {
    let work = source.work;
    io::copy(source, &mut io::sink()).map(drop).map_err(|error| unreadable(work, blob, error))
}

fn unreadable(work: &Work, blob: &Descriptor, error: io::Error) -> Error {
    let layer = blob.digest.clone();
    match registry::Error::from_io(error) {
        Ok(error) => not_fetched(work, blob, error),
        Err(error) => match error.downcast::<compress::Error>() {
            Ok(source) => Error::Compression { layer, source },
            Err(source) => Error::Damaged { layer, source },
        },
    }
}

/// The registry's errors tell the host; which layer of which image it was about is known here.
fn not_fetched(work: &Work, blob: &Descriptor, source: registry::Error) -> Error {
    Error::Fetch { layer: blob.digest.clone(), reference: work.reference.familiar(), source: source.into() }
}

/// Whether the failure may come from bytes that are not those the manifest promised: then that is the
/// reason to tell, and the rest of the blob shows it.
fn is_about_content(error: &Error) -> bool {
    use crate::archive::unpack::Error::{HeaderTooLarge, Malformed, Truncated};
    match error {
        Error::Damaged { .. } | Error::Compression { .. } => true,
        Error::Layer { source: layers::Error::Worker(worker::Error::Unpack(error)), .. } => {
            matches!(error, Malformed { .. } | Truncated { .. } | HeaderTooLarge { .. })
        }
        _ => false,
    }
}

/// A blob that tells how much of it has arrived, and ends when nobody wants it.
struct Counted<'a> {
    blob: BlobReader<'a>,
    done: u64,
    work: &'a Work<'a>,
    layer: &'a Missing,
    /// Another layer failed: this one is not wanted any more.
    stop: &'a AtomicBool,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let length = self.blob.read(buffer)?;
        self.done += length as u64;
        let total = self.layer.blob.size;
        self.work.progress.layer(&self.layer.blob.digest, LayerState::Downloading { done: self.done, total });
        Ok(length)
    }
}
