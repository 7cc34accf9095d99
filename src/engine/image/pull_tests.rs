//! Whole pulls: a registry of our own on one side, a store in a temporary directory on the other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::json;

use super::pull::*;
use crate::archive::unpack::{Owners, Whiteouts};
use crate::registry::fake::{self, CONFIG_TYPE, Fake, LAYER_TYPE, Reply};
use crate::registry::{self, Descriptor, Options};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image_ref::ImageRef;
use crate::store::Store;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ZSTD_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One image: blobs as they are served, and what manifest and configuration say.
struct Fixture {
    blobs: Vec<(Vec<u8>, Descriptor)>,
    config: serde_json::Value,
    /// The fourth blob cannot be found.
    missing: bool,
}

impl Fixture {
    fn new(layers: &[&[u8]]) -> Fixture {
        let mut blobs = Vec::new();
        for (n, layer) in layers.iter().enumerate() {
            let (blob, media_type) = match n % 2 {
                0 => (gzip(layer), LAYER_TYPE),
                _ => (zstd::encode_all(*layer, 1).unwrap(), ZSTD_TYPE),
            };
            let descriptor = fake::descriptor(media_type, &blob);
            blobs.push((blob, descriptor));
        }
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer).to_string()).collect();
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {"Healthcheck": {"Test": ["NONE"]}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Fixture { blobs, config, missing: false }
    }

    fn serve(&self) -> Fake {
        let config = self.config.to_string().into_bytes();
        let layers: Vec<Descriptor> = self.blobs.iter().map(|(_, descriptor)| descriptor.clone()).collect();
        let config_descriptor = fake::descriptor(CONFIG_TYPE, &config);
        let manifest = fake::manifest(&config_descriptor, &layers);
        let mut served: Vec<(String, Vec<u8>)> =
            self.blobs.iter().map(|(blob, d)| (d.digest.to_string(), blob.clone())).collect();
        if self.missing {
            served.remove(3);
        }
        served.push((config_descriptor.digest.to_string(), config));
        Fake::start(move |request| {
            if request.path.contains("/manifests/") {
                return Reply::new(200, manifest.clone()).header("Content-Type", OCI_MANIFEST);
            }
            match served.iter().find(|(digest, _)| request.path.ends_with(digest)) {
                Some((_, blob)) => Reply::ranged(request, blob),
                None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown"),
            }
        })
    }
}

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        Place { store: Store::open(root.clone()), root, _directory: directory }
    }

    fn pull(&self, reference: &ImageRef, progress: &Seen) -> Result<Report, Error> {
        self.pull_for(reference, None, progress)
    }

    fn pull_for(
        &self,
        reference: &ImageRef,
        platform: Option<&str>,
        progress: &Seen,
    ) -> Result<Report, Error> {
        let client = fake::client(Options::default());
        let unpacking =
            || Ok(Unpacking { user: None, owners: Owners::Recorded, whiteouts: Whiteouts::Marker });
        let context = Context { store: &self.store, client: &client, unpacking: &unpacking };
        let platform = platform.or(Some("linux/amd64")).map(|text| text.parse().unwrap());
        pull(&context, &Request { reference: reference.clone(), platform }, progress)
    }

    /// All files that say that something is stored.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else if path.file_name().unwrap() != "lock" {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.root, &mut found);
        found
    }
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<String>>,
}

impl Seen {
    fn of(&self, blob: &Digest) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let prefix = format!("{} ", blob.short());
        events.iter().filter_map(|event| event.strip_prefix(&prefix).map(str::to_owned)).collect()
    }
}

impl Progress for Seen {
    fn started(&self, reference: &ImageRef) {
        self.events.lock().unwrap().push(format!("started {reference}"));
    }

    fn layer(&self, blob: &Digest, state: LayerState) {
        let mut events = self.events.lock().unwrap();
        let event = match state {
            LayerState::Downloading { done, total } if done == total => "Downloaded".to_owned(),
            LayerState::Downloading { .. } => return,
            other => format!("{other:?}"),
        };
        let prefix = format!("{} ", blob.short());
        let event = prefix.clone() + &event;
        // Other layers' events may come between.
        if events.iter().rfind(|earlier| earlier.starts_with(&prefix)) != Some(&event) {
            events.push(event);
        }
    }
}

#[test]
fn an_image_comes_whole_and_once() {
    let (one, two) = (tar(&[("a", "1")]), tar(&[("b", "22")]));
    let fixture = Fixture::new(&[&one, &two, &one]);
    let registry = fixture.serve();
    let place = Place::new();
    let name = registry.image("x:1");
    let seen = Seen::default();
    let report = place.pull(&name, &seen).unwrap();
    assert!(report.downloaded);
    let image = place.store.find_by_name(&name).unwrap().unwrap().0;
    assert_eq!(image.id, digest(fixture.config.to_string().as_bytes()));
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.repo_digests, [name.with_digest(report.digest.clone())]);
    let config = place.store.image_config_bytes(&image.id).unwrap();
    assert_eq!(config, fixture.config.to_string().into_bytes());
    let content = std::fs::read(place.store.layer_path(&digest(&two)).join("b")).unwrap();
    assert_eq!(content, b"22");
    assert_eq!(
        seen.of(&fixture.blobs[1].1.digest),
        ["Pulling", "Downloaded", "DownloadComplete", "Extracting", "PullComplete"]
    );
    // The layer that is there twice was fetched once.
    assert_eq!(registry.count(fixture.blobs[0].1.digest.hex()), 1);

    let again = Seen::default();
    let asked = registry.requests().len();
    let report = place.pull(&name, &again).unwrap();
    assert!(!report.downloaded);
    assert_eq!(again.events.lock().unwrap().len(), 1);
    // One question tells that nothing is new.
    assert_eq!(registry.requests().len(), asked + 1);

    let other = registry.image("x:2");
    assert!(place.pull(&other, &Seen::default()).unwrap().downloaded);
    assert_eq!(place.store.all_tags().unwrap().len(), 2);
}

#[test]
fn shared_layers_are_not_fetched_again() {
    let (base, top) = (tar(&[("base", "1")]), tar(&[("top", "2")]));
    let place = Place::new();
    let first = Fixture::new(&[&base]).serve();
    place.pull(&first.image("x"), &Seen::default()).unwrap();
    let fixture = Fixture::new(&[&base, &top]);
    let second = fixture.serve();
    let seen = Seen::default();
    place.pull(&second.image("y"), &seen).unwrap();
    assert_eq!(seen.of(&fixture.blobs[0].1.digest), ["AlreadyExists"]);
    assert_eq!(second.count(fixture.blobs[0].1.digest.hex()), 0);
}

#[test]
fn more_layers_than_threads() {
    let layers: Vec<Vec<u8>> = (0..7).map(|n| tar(&[(format!("f{n}").as_str(), "x")])).collect();
    let fixture = Fixture::new(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (registry, place, seen) = (fixture.serve(), Place::new(), Seen::default());
    place.pull(&registry.image("x"), &seen).unwrap();
    let waited = seen.events.lock().unwrap().iter().filter(|event| event.ends_with("Waiting")).count();
    assert_eq!(waited, 4);
}

/// Pulls what must fail, and makes sure that nothing stays.
fn refused(fixture: &Fixture) -> Error {
    let (registry, place) = (fixture.serve(), Place::new());
    let error = place.pull(&registry.image("x"), &Seen::default()).unwrap_err();
    assert_eq!(place.files(), Vec::<PathBuf>::new());
    error
}

#[test]
fn a_failed_pull_leaves_nothing() {
    let layers: Vec<Vec<u8>> = (0..5).map(|n| tar(&[(format!("f{n}").as_str(), "x")])).collect();
    let fixture = || Fixture::new(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>());

    let mut wrong_blob = fixture();
    let place = wrong_blob.blobs[4].0.len() / 2;
    wrong_blob.blobs[4].0[place] ^= 0x55;
    let error = refused(&wrong_blob);
    assert!(
        matches!(error, Error::Fetch { source, .. } if matches!(*source, registry::Error::WrongDigest { .. }))
    );

    let mut wrong_diff = fixture();
    wrong_diff.config["rootfs"]["diff_ids"][2] = json!(digest(b"other").to_string());
    let error = refused(&wrong_diff);
    assert!(matches!(error, Error::Layer { .. }), "{error:?}");

    let mut short = fixture();
    short.blobs[3].0.pop();
    assert!(
        matches!(refused(&short), Error::Fetch { source, .. } if matches!(*source, registry::Error::WrongSize { .. }))
    );

    let mut gone = fixture();
    gone.missing = true;
    assert!(
        matches!(refused(&gone), Error::Fetch { source, .. } if matches!(*source, registry::Error::BlobUnknown { .. }))
    );

    // A blob with the right digest that is no archive.
    let mut garbage = fixture();
    let bytes = [gzip(&layers[0])[..20].to_vec(), vec![7; 50]].concat();
    garbage.blobs[0] = (bytes.clone(), fake::descriptor(LAYER_TYPE, &bytes));
    assert!(matches!(refused(&garbage), Error::Damaged { .. }));
}

#[test]
fn an_image_that_cannot_fit_is_refused_first() {
    let mut fixture = Fixture::new(&[&tar(&[("a", "1")])]);
    fixture.blobs[0].1.size = u64::MAX / 2;
    assert!(matches!(refused(&fixture), Error::NoSpace { .. }));
}

#[test]
fn images_that_do_not_fit_their_words_are_refused() {
    let layer = tar(&[("a", "1")]);
    let fixture = || Fixture::new(&[&layer]);
    let mut count = fixture();
    count.config["rootfs"]["diff_ids"] = json!([]);
    assert!(matches!(refused(&count), Error::LayerCount { layers: 1, diff_ids: 0, .. }));
    let mut windows = fixture();
    windows.config["os"] = json!("windows");
    assert!(matches!(refused(&windows), Error::NotLinux { .. }));
    let mut shape = fixture();
    shape.config["rootfs"] = json!(7);
    assert!(matches!(refused(&shape), Error::Config { .. }));

    let (registry, place) = (fixture().serve(), Place::new());
    let error = place.pull_for(&registry.image("x"), Some("linux/arm64"), &Seen::default()).unwrap_err();
    assert!(error.to_string().ends_with("wanted linux/arm64, actual: linux/amd64"), "{error}");
}
