//! The image verbs on a store in a temporary directory.

use std::cell::Cell;
use std::io::Cursor;

use super::import::{self, import};
use super::inspect::inspect;
use super::list::{self, Listed, list};
use super::remove::{ImageUser, Removed, remove};
use super::tag::tag;
use super::*;
use crate::archive::unpack::{Owners, Whiteouts};
use crate::spec::id::ContainerId;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::images::NewImage;
use crate::store::worker::WorkerNamespace;

const PLAIN: WorkerNamespace<'static> = WorkerNamespace { user: None, owners: Owners::Recorded };

struct Fixture {
    _directory: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().expect("temp dir");
    let store = Store::open(directory.path().to_owned());
    Fixture { _directory: directory, store }
}

fn reference(name: &str) -> ImageRef {
    ImageRef::parse(name).expect("valid")
}

fn archive(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", content.as_bytes()).expect("in memory");
    builder.into_inner().expect("in memory")
}

impl Fixture {
    fn import_bytes(&self, name: Option<&str>, bytes: Vec<u8>, created: i64) -> Result<Digest, Error> {
        let request = import::Request {
            name: name.map(reference),
            platform: Platform::new("linux", "arm64", Some("v9")),
            message: "from a test".to_owned(),
            created: jiff::Timestamp::from_second(created).expect("in range"),
            whiteouts: Whiteouts::Device,
        };
        import(&self.store, PLAIN, Cursor::new(bytes), &request)
    }

    fn has_layer(&self, diff_id: &Digest) -> bool {
        self.store.hold_layer(diff_id).expect("no error").is_some()
    }

    fn import(&self, name: &str, content: &str, created: i64) -> Digest {
        self.import_bytes(Some(name), archive(content), created).expect("imported")
    }

    fn rows(&self, only: Option<&str>) -> Vec<(String, String)> {
        let rows =
            list(&self.store, &list::Request { only: only.map(str::to_owned), ..list::Request::default() })
                .expect("listed");
        let text = |part: Option<String>| part.unwrap_or_else(|| "<none>".to_owned());
        rows.into_iter().map(|row| (text(row.repository), text(row.tag))).collect()
    }

    fn remove(&self, key: &str, force: bool, users: &[ImageUser]) -> Result<Vec<Removed>, Error> {
        remove(&self.store, PLAIN, key, force, &|| Ok(users.to_vec()))
    }

    /// Makes an image known by a repository digest too, as a pull does.
    fn pulled(&self, name: &str, content: &str) -> (Digest, ImageRef) {
        let id = self.import(name, content, 1);
        let layer = self.store.image(&id).expect("readable").expect("there").layers.remove(0);
        let layer = self.store.hold_layer(&layer).expect("readable").expect("there");
        let from = reference(name).with_digest(Digest::of(crate::spec::digest::Algorithm::Sha256, b"m"));
        let config = self.store.image_config_bytes(&id).expect("readable");
        let new =
            NewImage { config: &config, manifest: Some(b"m"), layers: &[layer], repo_digest: Some(&from) };
        self.store.add_image(Some(&reference(name)), &new).expect("added");
        (id, from)
    }
}

fn user(image: &Digest, layers: &[Digest], running: bool) -> ImageUser {
    let container = ContainerId::from_bytes([0xab; 32]);
    ImageUser { container, image: image.clone(), layers: layers.to_vec(), running }
}

fn untagged(name: &str) -> Removed {
    Removed::Untagged(name.to_owned())
}

#[test]
fn imports_any_compression_to_the_same_layer() {
    let fixture = fixture();
    let plain = archive("hello");
    let compressed = zstd::encode_all(plain.as_slice(), 1).expect("in memory");
    let one = fixture.import_bytes(Some("a"), plain, 1).expect("imported");
    let two = fixture.import_bytes(None, compressed, 1).expect("imported");
    assert_eq!(one, two);
    let config = fixture.store.image_config(&one).expect("stored");
    assert_eq!((config.os.as_str(), config.architecture.as_str()), ("linux", "arm64"));
    assert_eq!(config.created.as_deref(), Some("1970-01-01T00:00:01Z"));
    assert_eq!(config.history[0].comment.as_deref(), Some("from a test"));
    assert_eq!(config.rootfs.diff_ids.len(), 1);
}

#[test]
fn refuses_what_is_no_root_file_system() {
    let fixture = fixture();
    let import = |bytes: &[u8]| fixture.import_bytes(Some("a"), bytes.to_vec(), 1);
    assert!(matches!(import(b"BZh9 something"), Err(Error::Compress(_))));
    assert!(matches!(import(&b"no tar at all. ".repeat(100)), Err(Error::Layers(_))));
    let cut = zstd::encode_all(archive("x").as_slice(), 1).expect("in memory");
    assert!(matches!(import(&cut[..cut.len() - 4]), Err(Error::Layers(layers::Error::Read(_)))));
    assert!(fixture.store.images().expect("listed").is_empty());
}

#[test]
fn an_empty_archive_is_an_empty_image() {
    let fixture = fixture();
    let id = fixture.import_bytes(Some("empty"), Vec::new(), 1).expect("imported");
    assert_eq!(fixture.store.image(&id).expect("readable").expect("there").size, 0);
}

#[test]
fn lists_names_newest_first_and_dangling_ones() {
    let fixture = fixture();
    fixture.import("old:2", "old", 10);
    let new = fixture.import("registry.example/team/new", "new", 20);
    tag(&fixture.store, "old:2", &reference("old:1")).expect("tagged");
    fixture.import("lost", "first", 5);
    fixture.import("lost", "second", 6);
    let row = |repository: &str, tag: &str| (repository.to_owned(), tag.to_owned());
    assert_eq!(
        fixture.rows(None),
        [
            row("registry.example/team/new", "latest"),
            row("old", "1"),
            row("old", "2"),
            row("lost", "latest"),
            row("<none>", "<none>"),
        ]
    );
    assert_eq!(fixture.rows(Some("old")).len(), 2);
    assert_eq!(fixture.rows(Some("old:1")), [row("old", "1")]);
    assert_eq!(fixture.rows(Some("ol")), []);
    let first: Listed = list(&fixture.store, &list::Request::default()).expect("listed").remove(0);
    assert_eq!((first.id, first.size, first.created.as_str()), (new, 3, "1970-01-01T00:00:20Z"));
}

#[test]
fn lists_an_image_pulled_by_digest_under_its_repository() {
    let fixture = fixture();
    let (id, from) = fixture.pulled("a", "x");
    fixture.store.image_index().expect("locked").untag(&reference("a")).expect("untagged");
    let rows = list(&fixture.store, &list::Request::default()).expect("listed");
    assert_eq!((&rows[0].id, rows[0].repository.as_deref(), rows[0].tag.as_deref()), (&id, Some("a"), None));
    assert_eq!(rows[0].digest.as_ref(), from.digest());
}

#[test]
fn tags_follow_the_image_and_need_one() {
    let fixture = fixture();
    let id = fixture.import("a", "x", 1);
    tag(&fixture.store, &id.hex()[..6], &reference("b:c")).expect("tagged");
    assert_eq!(fixture.store.find_image("b:c").expect("found").0.id, id);
    let error = tag(&fixture.store, "absent", &reference("b")).expect_err("refused");
    assert_eq!(error.to_string(), "No such image: absent:latest");
    let digest = reference("b").with_digest(id);
    assert!(matches!(tag(&fixture.store, "a", &digest), Err(Error::TagWithDigest)));
}

#[test]
fn the_last_name_takes_the_image_and_its_layers_along() {
    let fixture = fixture();
    let id = fixture.import("a", "x", 1);
    let layer = fixture.store.image(&id).expect("readable").expect("there").layers.remove(0);
    tag(&fixture.store, "a", &reference("b")).expect("tagged");
    assert_eq!(fixture.remove("a", false, &[]).expect("untagged"), [untagged("a:latest")]);
    assert_eq!(
        fixture.remove("b", false, &[]).expect("removed"),
        [untagged("b:latest"), Removed::Deleted(id), Removed::Deleted(layer.clone())]
    );
    assert!(!fixture.has_layer(&layer));
    assert!(matches!(fixture.remove("b", true, &[]), Err(Error::NoSuch(_))));
}

#[test]
fn a_shared_layer_stays() {
    let fixture = fixture();
    let (one, two) = (fixture.import("one", "same", 1), fixture.import("two", "same", 2));
    assert_ne!(one, two);
    let report = fixture.remove("one", false, &[]).expect("removed");
    assert_eq!(report, [untagged("one:latest"), Removed::Deleted(one)]);
    let kept = fixture.store.image(&two).expect("readable").expect("there");
    assert!(fixture.has_layer(&kept.layers[0]));
}

#[test]
fn the_last_tag_takes_the_repository_digest_along() {
    let fixture = fixture();
    let (id, from) = fixture.pulled("a", "x");
    let report = fixture.remove("a", false, &[]).expect("removed");
    assert_eq!(report[..2], [untagged("a:latest"), Removed::Untagged(from.familiar())]);
    assert_eq!(report[2], Removed::Deleted(id));
}

#[test]
fn an_id_removes_one_repository_but_not_two() {
    let fixture = fixture();
    let (id, _) = fixture.pulled("a", "x");
    tag(&fixture.store, "a", &reference("b")).expect("tagged");
    let error = fixture.remove(id.hex(), false, &[]).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id.short()
        )
    );
    assert_eq!(fixture.rows(None).len(), 2);
    assert_eq!(fixture.remove(id.short(), true, &[]).expect("forced").len(), 5);
    assert_eq!(fixture.rows(None), []);

    let (id, _) = fixture.pulled("a", "x");
    assert_eq!(fixture.remove(id.short(), false, &[]).expect("removed").len(), 4);
}

#[test]
fn containers_hold_their_image() {
    let fixture = fixture();
    let id = fixture.import("a", "x", 1);
    let layers = fixture.store.image(&id).expect("readable").expect("there").layers;
    let (stopped, running) = (user(&id, &layers, false), user(&id, &layers, true));
    let error = fixture.remove("a", false, std::slice::from_ref(&stopped)).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"a\" (must force) - container abababababab is using its referenced image {}",
            id.short()
        )
    );
    let error = fixture.remove(id.hex(), false, std::slice::from_ref(&stopped)).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is being used by stopped container abababababab",
            id.short()
        )
    );
    let error = fixture.remove(id.hex(), true, &[stopped.clone(), running.clone()]).expect_err("refused");
    assert!(error.to_string().contains("(cannot be forced) - image is being used by running"), "{error}");
    assert_eq!(fixture.rows(None).len(), 1);

    // By name and by force only the name goes while the container runs.
    assert_eq!(fixture.remove("a", true, &[running]).expect("untagged"), [untagged("a:latest")]);
    // A stopped one loses its image's record, but not the layers it is made of.
    let report = fixture.remove(id.hex(), true, &[stopped]).expect("removed");
    assert_eq!(report, [Removed::Deleted(id)]);
    assert!(fixture.has_layer(&layers[0]));
}

#[test]
fn a_container_made_meanwhile_brings_the_image_back() {
    let fixture = fixture();
    let id = fixture.import("a", "x", 1);
    let calls = Cell::new(0);
    let result = remove(&fixture.store, PLAIN, "a", false, &|| {
        calls.set(calls.get() + 1);
        // Nobody at the first two looks, a container at the one after the image was taken out.
        Ok(if calls.get() < 3 { Vec::new() } else { vec![user(&id, &[], false)] })
    });
    assert!(matches!(result, Err(Error::ImageInUse { .. })));
    assert!(fixture.store.image(&id).expect("readable").is_some());
}

#[test]
fn containers_that_cannot_be_listed_stop_the_removal() {
    let fixture = fixture();
    fixture.import("a", "x", 1);
    let result = remove(&fixture.store, PLAIN, "a", false, &|| Err("unreadable".into()));
    assert!(matches!(result, Err(Error::Containers(_))));
    assert_eq!(fixture.rows(None).len(), 1);
}

#[test]
fn inspect_has_dockers_shape() {
    let fixture = fixture();
    let (id, from) = fixture.pulled("a", "x");
    let seen = inspect(&fixture.store, "a", "overlay").expect("there");
    let json = serde_json::to_value(&seen).expect("json");
    assert_eq!(json["Id"], id.to_string());
    assert_eq!(json["RepoTags"], serde_json::json!(["a:latest"]));
    assert_eq!(json["RepoDigests"], serde_json::json!([from.familiar()]));
    assert_eq!(json["Comment"], "from a test");
    assert_eq!(json["Created"], "1970-01-01T00:00:01Z");
    assert_eq!(
        (&json["Os"], &json["Architecture"], &json["Size"]),
        (&"linux".into(), &"arm64".into(), &1.into())
    );
    assert_eq!(json["RootFS"]["Type"], "layers");
    assert_eq!(json["Config"]["Env"], serde_json::Value::Null);
    assert_eq!(json["Config"]["WorkingDir"], "");
    assert_eq!(json["GraphDriver"]["Name"], "overlay");
    assert!(json["GraphDriver"]["Data"]["UpperDir"].as_str().expect("text").ends_with("/diff"));
    assert!(json["Metadata"]["LastTagTime"].as_str().expect("text").starts_with("20"));
    assert!(matches!(inspect(&fixture.store, "b", "overlay"), Err(Error::NoSuch(_))));
}
