//! `import`: an image of one layer from a root file system's archive.

use std::io::Read;

use jiff::Timestamp;

use super::Error;
use crate::archive::compress;
use crate::archive::unpack::Whiteouts;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::{History, ImageConfig, RootFs, RunConfig};
use crate::spec::image_ref::ImageRef;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::images::NewImage;
use crate::store::worker::WorkerNamespace;

#[derive(Debug)]
pub struct Request {
    pub name: Option<ImageRef>,
    pub platform: Platform,
    /// What the image's history says about its origin.
    pub message: String,
    pub created: Timestamp,
    pub whiteouts: Whiteouts,
}

/// Reads the archive (gzip, zstd or plain) to its end and returns the new image's id.
pub fn import(
    store: &Store,
    namespace: WorkerNamespace<'_>,
    archive: impl Read + Send + 'static,
    request: &Request,
) -> Result<Digest, Error> {
    if request.name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::TagWithDigest);
    }
    let mut archive = compress::decoder(archive)?;
    let mut writer = store.layer_writer(namespace, request.whiteouts, Algorithm::Sha256)?;
    writer.copy_from(&mut archive)?;
    let layer = writer.finish_unnamed()?;
    let config =
        serde_json::to_vec(&config(request, layer.diff_id())).expect("a configuration is plain data");
    let new = NewImage { config: &config, manifest: None, layers: &[layer], repo_digest: None };
    Ok(store.add_image(request.name.as_ref(), &new)?.id)
}

/// The configuration docker gives an imported image: nothing but what is known.
fn config(request: &Request, diff_id: &Digest) -> ImageConfig {
    let created = request.created.to_string();
    let platform = &request.platform;
    ImageConfig {
        architecture: platform.architecture().to_owned(),
        os: platform.os().to_owned(),
        variant: platform.variant().map(str::to_owned),
        created: Some(created.clone()),
        config: Some(RunConfig::default()),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id.clone()] },
        history: vec![History {
            created: Some(created),
            comment: Some(request.message.clone()),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}
