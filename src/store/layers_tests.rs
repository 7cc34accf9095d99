//! Layers and images together, on a store in a temporary directory, with the worker as a thread.

use std::collections::HashSet;
use std::io::Write;

use super::images::{self, Image, Match, NewImage};
use super::layers::{self, Layer};
use super::worker::{self, WorkerNamespace};
use super::{Store, record_bytes};
use crate::archive::unpack::{self, Owners, Whiteouts};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image_ref::ImageRef;

const PLAIN: WorkerNamespace<'static> = WorkerNamespace { user: None, owners: Owners::Recorded };

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().expect("temp dir");
    let store = Store::open(directory.path().join("store"));
    (directory, store)
}

fn archive(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "dir/file", content.as_bytes()).expect("in memory");
    builder.into_inner().expect("in memory")
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn write_layer(store: &Store, bytes: &[u8], promised: &Digest) -> Result<Layer, layers::Error> {
    let mut writer = store.layer_writer(PLAIN, Whiteouts::Device, Algorithm::Sha256)?;
    writer.write_all(bytes).expect("taken");
    writer.finish(promised)
}

fn add_layer(store: &Store, content: &str) -> Layer {
    let bytes = archive(content);
    write_layer(store, &bytes, &digest(&bytes)).expect("written")
}

fn config(layers: &[&Layer], label: &str) -> Vec<u8> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| layer.diff_id()).collect();
    let created = "2024-01-02T03:04:05Z";
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": created, "config": { "Labels": { "l": label } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    serde_json::to_vec(&config).expect("json")
}

fn add_image(store: &Store, name: &str, content: &str) -> Image {
    let layer = add_layer(store, content);
    let config = config(&[&layer], content);
    let new = NewImage { config: &config, manifest: Some(b"{}"), layers: &[layer], repo_digest: None };
    store.add_image(Some(&reference(name)), &new).expect("added")
}

fn reference(name: &str) -> ImageRef {
    ImageRef::parse(name).expect("valid")
}

fn is_there(store: &Store, diff_id: &Digest) -> bool {
    store.hold_layer(diff_id).expect("no error").is_some()
}

fn staged(store: &Store) -> usize {
    std::fs::read_dir(store.layout().staging()).map_or(0, Iterator::count)
}

#[test]
fn a_layer_appears_whole_and_is_found_again() {
    let (_dir, store) = store();
    let bytes = archive("hello");
    let id = digest(&bytes);
    assert!(!is_there(&store, &id));
    let layer = write_layer(&store, &bytes, &id).expect("written");
    assert_eq!((layer.diff_id(), layer.size()), (&id, 5));
    assert_eq!(std::fs::read(store.layer_path(&id).join("dir/file")).expect("read"), b"hello");
    let again = store.hold_layer(&id).expect("no error").expect("there");
    assert_eq!(again.size(), 5);
    let twice = write_layer(&store, &bytes, &id).expect("the one that is there");
    assert_eq!(twice.diff_id(), &id);
    assert_eq!(staged(&store), 0);
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (_dir, store) = store();
    let promised = digest(b"something else");
    let error = write_layer(&store, &archive("hello"), &promised).expect_err("refused");
    assert!(matches!(error, layers::Error::WrongDigest { .. }), "{error}");
    assert!(!is_there(&store, &promised) && !is_there(&store, &digest(&archive("hello"))));
    assert_eq!(staged(&store), 0);
}

#[test]
fn a_bad_archive_is_told_by_write_or_finish_and_leaves_nothing() {
    let (_dir, store) = store();
    let mut writer = store.layer_writer(PLAIN, Whiteouts::Device, Algorithm::Sha256).expect("started");
    // More than the pipe holds, so that the writer sees the worker stop.
    let written = writer.write_all(&vec![b'x'; 4 << 20]).expect_err("refused");
    assert!(written.to_string().contains("malformed"), "{written}");
    drop(writer);
    let error =
        write_layer(&store, b"not a tar, and shorter than a block", &digest(b"")).expect_err("refused");
    assert!(
        matches!(error, layers::Error::Worker(worker::Error::Unpack(unpack::Error::Truncated { .. }))),
        "{error}"
    );
    assert_eq!(staged(&store), 0);
}

#[test]
fn an_abandoned_layer_leaves_nothing() {
    let (_dir, store) = store();
    let mut writer = store.layer_writer(PLAIN, Whiteouts::Device, Algorithm::Sha256).expect("started");
    writer.write_all(&archive("hello")[..700]).expect("taken");
    assert_eq!(staged(&store), 2);
    drop(writer);
    assert_eq!(staged(&store), 0);
}

#[test]
fn leftovers_of_the_dead_are_swept_and_the_living_left_alone() {
    let (_dir, store) = store();
    let living = store.stage().expect("staged");
    for (directory, lock) in [(true, true), (true, false), (false, true)] {
        let name = format!("dead-{directory}-{lock}");
        let path = store.layout().staging().join(&name);
        if directory {
            std::fs::create_dir_all(path.join("layer/diff/a")).expect("mkdir");
        }
        if lock {
            std::fs::write(path.with_extension("lock"), "").expect("write");
        }
    }
    assert_eq!(store.sweep(PLAIN).expect("swept"), 2);
    assert!(living.path().exists());
    assert_eq!(staged(&store), 2);
    drop(living);
    assert_eq!(staged(&store), 0);
}

#[test]
fn images_are_found_by_name_digest_and_id() {
    let (_dir, store) = store();
    let layer = add_layer(&store, "one");
    let bytes = config(&[&layer], "a");
    let manifest = b"{\"schemaVersion\":2}";
    let repo_digest = reference("redis").with_digest(digest(manifest));
    let new = NewImage {
        config: &bytes,
        manifest: Some(manifest),
        layers: &[layer],
        repo_digest: Some(&repo_digest),
    };
    let image = store.add_image(Some(&reference("redis")), &new).expect("added");
    assert_eq!((&image.id, image.size), (&digest(&bytes), 3));
    assert_eq!(image.manifest, Some(digest(manifest)));
    assert_eq!(store.image_config_bytes(&image.id).expect("kept"), bytes);

    let find = |key: &str| store.find_image(key).map(|(found, how)| (found.id, how));
    let id = image.id.clone();
    let named = Match::Tag(reference("redis"));
    assert_eq!(find("redis").expect("found"), (id.clone(), named.clone()));
    assert_eq!(find("docker.io/library/redis:latest").expect("found"), (id.clone(), named));
    assert_eq!(find(&id.hex()[..3]).expect("found"), (id.clone(), Match::Id));
    assert_eq!(find(id.hex()).expect("found"), (id.clone(), Match::Id));
    assert_eq!(find(&id.to_string()).expect("found"), (id.clone(), Match::Id));
    let by_digest = format!("redis@{}", digest(manifest));
    assert_eq!(find(&by_digest).expect("found"), (id, Match::RepoDigest(repo_digest)));
    for absent in ["nginx", "redis:7", "0123456789abcdef", "sha256:", &format!("redis@{}", digest(b""))] {
        assert!(matches!(find(absent), Err(images::Error::NotFound(_))), "{absent}");
    }
    assert!(matches!(find("Redis"), Err(images::Error::Reference(..))));
}

#[test]
fn an_ambiguous_id_is_refused_and_a_name_goes_first() {
    let (_dir, store) = store();
    let mut firsts = std::collections::HashMap::new();
    let (first, second) = (0..)
        .find_map(|number| {
            let image = add_image(&store, &format!("i{number}"), &number.to_string());
            let digit = image.id.hex()[..1].to_owned();
            firsts.insert(digit, image.clone()).map(|earlier| (earlier, image))
        })
        .expect("pigeonhole");
    let prefix = &first.id.hex()[..1];
    assert!(matches!(store.find_image(prefix), Err(images::Error::Ambiguous { count: 2, .. })));
    store.image_index().expect("locked").tag(&reference(prefix), &second.id).expect("tagged");
    assert_eq!(store.find_image(prefix).expect("by name").0.id, second.id);
}

#[test]
fn an_image_must_have_the_layers_of_its_configuration() {
    let (_dir, store) = store();
    let (one, two) = (add_layer(&store, "one"), add_layer(&store, "two"));
    let bytes = config(&[&one], "");
    let add = |layers: &[Layer]| {
        store.add_image(None, &NewImage { config: &bytes, manifest: None, layers, repo_digest: None })
    };
    assert!(matches!(add(&[]), Err(images::Error::LayerCount { expected: 1, found: 0 })));
    assert!(matches!(add(&[two]), Err(images::Error::WrongLayer { .. })));
    assert!(matches!(
        store.add_image(None, &NewImage { config: b"[]", manifest: None, layers: &[], repo_digest: None }),
        Err(images::Error::Config { .. })
    ));
    assert_eq!(store.images().expect("listed"), []);
    assert_eq!(staged(&store), 0);
}

#[test]
fn names_move_and_go() {
    let (_dir, store) = store();
    let (one, two) = (add_image(&store, "a:1", "one"), add_image(&store, "a:1", "two"));
    assert_eq!(store.all_tags().expect("listed"), [(reference("a:1"), two.id.clone())]);
    let index = store.image_index().expect("locked");
    index.tag(&reference("b"), &one.id).expect("tagged");
    assert!(matches!(index.tag(&reference("c"), &digest(b"")), Err(images::Error::NotFound(_))));
    assert!(index.untag(&reference("a:1")).expect("untagged"));
    assert!(!index.untag(&reference("a:1")).expect("nothing"));
    assert_eq!(store.all_tags().expect("listed"), [(reference("b"), one.id)]);
}

#[test]
fn a_withdrawn_image_can_be_put_back() {
    let (_dir, store) = store();
    let image = add_image(&store, "a", "one");
    let index = store.image_index().expect("locked");
    let withdrawn = index.withdraw(&image.id).expect("withdrawn");
    assert!(store.find_image("a").is_err() && store.image(&image.id).expect("no error").is_none());
    index.restore(&image.id, withdrawn).expect("restored");
    assert_eq!(store.image(&image.id).expect("no error"), Some(image));
}

#[test]
fn only_what_nobody_uses_or_holds_is_collected() {
    let (_dir, store) = store();
    let kept = add_image(&store, "kept", "one");
    let gone = add_image(&store, "gone", "two");
    let of_container = add_layer(&store, "three").diff_id().clone();
    let held = add_layer(&store, "four");
    let index = store.image_index().expect("locked");
    drop(index.withdraw(&gone.id).expect("withdrawn"));
    let garbage = index.collect(&HashSet::from([of_container.clone()])).expect("collected");
    assert_eq!(garbage.layers(), gone.layers);
    garbage.delete(PLAIN).expect("deleted");
    assert!(!is_there(&store, &gone.layers[0]));
    assert!(
        is_there(&store, &kept.layers[0])
            && is_there(&store, &of_container)
            && is_there(&store, held.diff_id())
    );
    assert!(!store.layout().config(&gone.id).exists() && store.layout().config(&kept.id).exists());
    drop(held);
    let garbage = index.collect(&HashSet::new()).expect("collected");
    assert_eq!(garbage.layers().len(), 2);
    // Out of sight at once, whether or not it is deleted now.
    assert!(!is_there(&store, &of_container));
    garbage.delete(PLAIN).expect("deleted");
    assert_eq!(staged(&store), 0);
}

#[test]
fn records_of_a_newer_version_and_damaged_ones_are_told() {
    let (_dir, store) = store();
    let image = add_image(&store, "a", "one");
    let path = store.layout().image(&image.id);
    std::fs::write(&path, record_bytes(&serde_json::json!({ "version": 99, "shape": "unknown" })))
        .expect("write");
    let error = store.find_image("a").expect_err("refused");
    assert!(error.to_string().contains("record version 99, known is 1"), "{error}");
    std::fs::write(&path, "{").expect("write");
    assert!(matches!(store.find_image("a"), Err(images::Error::Store(super::Error::Damaged { .. }))));
}
