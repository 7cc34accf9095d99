//! Layers from the registry into the store, several at a time. Runs in the client, in threads.
//!
//! Each thread takes a layer from the list: the blob's bytes are hashed as they arrive, decompressed,
//! hashed again and given to an id worker that unpacks them meanwhile. A layer appears in the store
//! when both digests were right.

use std::io::{self, ErrorKind, Read, Write};
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
/// What is decompressed at a time.
const BUFFER: usize = 256 * 1024;

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
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped { layer: digest() });
    }
    let mut source = Counted { blob: work.client.blob(work.reference, blob)?, done: 0, work, layer };
    let mut writer = work
        .store
        .layer_writer(work.unpacking.namespace(), work.unpacking.whiteouts, diff_id.algorithm())
        .map_err(|source| Error::Layer { layer: digest(), source })?;
    if let Err(error) = unpack(&mut source, &mut writer, blob, stop) {
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
fn unpack(
    source: &mut Counted,
    writer: &mut LayerWriter,
    blob: &Descriptor,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let layer = || blob.digest.clone();
    let mut decoder = compress::decoder(source).map_err(|error| match error {
        compress::Error::Read(source) => unreadable(blob, source),
        source => Error::Compression { layer: layer(), source },
    })?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(blob, error)),
        };
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped { layer: layer() });
        }
        writer.write_all(&buffer[..length]).map_err(|source| match source.downcast::<layers::Error>() {
            Ok(source) => Error::Layer { layer: layer(), source },
            Err(source) => Error::Write { layer: layer(), source },
        })?;
    }
}

/// Reads a blob to its verified end.
fn drain(source: &mut Counted, blob: &Descriptor) -> Result<(), Error> {
    io::copy(source, &mut io::sink()).map(drop).map_err(|error| unreadable(blob, error))
}

fn unreadable(blob: &Descriptor, error: io::Error) -> Error {
    match registry::Error::from_io(error) {
        Ok(error) => Error::Registry(error),
        Err(source) => Error::Damaged { layer: blob.digest.clone(), source },
    }
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

/// Tells how much of a blob has arrived.
struct Counted<'a> {
    blob: BlobReader<'a>,
    done: u64,
    work: &'a Work<'a>,
    layer: &'a Missing,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.blob.read(buffer)?;
        self.done += length as u64;
        let total = self.layer.blob.size;
        self.work.progress.layer(&self.layer.blob.digest, LayerState::Downloading { done: self.done, total });
        Ok(length)
    }
}
