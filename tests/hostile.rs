//! Images that lie or attack: each is refused with a clear error, nothing outside the store is
//! touched, and the store is as it was.

use std::time::Duration;

use serde_json::json;

use crate::harness::Env;
use crate::harness::fake_registry::{
    Blob, FakeRegistry, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST, Reply, blob_path, manifest_path, sha256,
};
use crate::harness::tar::{Entry, archive, busybox_entries, gzip, unfinished};

const NO_WORDS: &[&str] = &[];

/// An honest base layer, a registry, and the store's files before.
struct Attack {
    env: Env,
    registry: FakeRegistry,
    before: Vec<String>,
}

impl Attack {
    fn new() -> Attack {
        let env = Env::new();
        // The store's own folders are there before.
        env.coracle(["images"]).success();
        let before = env.listing(&env.store());
        Attack { env, registry: FakeRegistry::start(), before }
    }

    fn with_layer(layer: Vec<u8>) -> Attack {
        let attack = Attack::new();
        attack.registry.push("app", "latest", &[archive(&busybox_entries()), layer]);
        attack
    }

    /// What a message about a blob must name: the blob, the image, and `more`.
    fn about(&self, digest: &str, more: &[&str]) -> Vec<String> {
        let words = [digest, &self.registry.image("app")];
        words.iter().chain(more).map(|&word| word.to_owned()).collect()
    }

    /// The pull fails in words that hold all of `words`, and leaves nothing.
    fn is_refused(&self, words: &[impl AsRef<str>]) {
        let name = self.registry.image("app");
        let mut said = self.env.command(["pull", &name]).patience(Duration::from_secs(60)).output().code(1);
        for word in words {
            said = said.stderr_has(word.as_ref());
        }
        self.env.coracle(["images", "-aq"]).success().says("");
        let after = self.env.listing(&self.env.store());
        let new: Vec<&String> = after.iter().filter(|path| !self.before.contains(path)).collect();
        // A whole layer that was already verified may stay for the next try.
        let parts = |path: &&&String| !path.contains("bin/") && !path.contains("etc/passwd");
        let suspicious: Vec<_> = new.iter().filter(parts).filter(|path| path.contains("evil")).collect();
        assert!(suspicious.is_empty(), "left in the store: {suspicious:?}");
        self.env.coracle(["run", "--rm", "--pull=never", &name, "true"]).code(125);
    }
}

#[test]
fn a_layer_with_another_digest() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    let other = gzip(&archive(&[Entry::file("evil", "x")]));
    attack.registry.change(&blob_path("app", &pushed.layers[0].digest), |reply| reply.body = other);
    attack.is_refused(&attack.about(&pushed.layers[0].digest, &["size"]));
}

#[test]
fn a_layer_of_the_right_size_with_another_digest() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    attack.registry.change(&blob_path("app", &pushed.layers[0].digest), |reply| {
        let last = reply.body.len() - 1;
        reply.body[last] ^= 1;
    });
    attack.is_refused(&attack.about(&pushed.layers[0].digest, &["wrong digest"]));
}

#[test]
fn a_config_with_another_digest() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    attack.registry.change(&blob_path("app", &pushed.config.digest), |reply| {
        let last = reply.body.len() - 1;
        reply.body[last] = b' ';
    });
    attack.is_refused(&attack.about(&pushed.config.digest, &["wrong digest"]));
}

#[test]
fn a_manifest_with_another_digest() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    let path = manifest_path("app", &pushed.digest);
    attack.registry.change(&path, |reply| reply.body.push(b' '));
    let name = format!("{}@{}", attack.registry.image("app"), pushed.digest);
    attack.env.coracle(["pull", &name]).code(1).stderr_has("digest");
    attack.env.coracle(["images", "-aq"]).success().says("");
}

#[test]
fn a_diff_id_that_is_not_the_layers() {
    let attack = Attack::new();
    let tar = archive(&busybox_entries());
    let blob = attack.registry.blob("app", OCI_LAYER_GZIP, &gzip(&tar));
    attack.registry.push_blobs("app", "latest", &[blob], &[sha256(b"something else")]);
    attack.is_refused(&["promised"]);
}

#[test]
fn fewer_diff_ids_than_layers() {
    let attack = Attack::new();
    let tar = archive(&busybox_entries());
    let blob = attack.registry.blob("app", OCI_LAYER_GZIP, &gzip(&tar));
    attack.registry.push_blobs("app", "latest", &[blob.clone(), blob], &[sha256(&tar)]);
    attack.is_refused(&["layers"]);
}

#[test]
fn a_truncated_layer() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    attack.registry.change(&blob_path("app", &pushed.layers[0].digest), |reply| reply.cut_at = Some(20_000));
    attack.is_refused(&attack.about(
        &pushed.layers[0].digest,
        &["the connection to", &attack.registry.address.to_string(), "broke"],
    ));
}

#[test]
fn an_unreachable_layer() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    attack.registry.reply(&blob_path("app", &pushed.layers[0].digest), Reply::new(404, "{}"));
    attack.is_refused(&attack.about(&pushed.layers[0].digest, &["404"]));
}

#[test]
fn a_layer_where_nobody_listens() {
    let attack = Attack::new();
    let pushed = attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = Reply::new(307, "").header("Location", &format!("http://{free}/blob"));
    attack.registry.reply(&blob_path("app", &pushed.layers[0].digest), elsewhere);
    attack.is_refused(&attack.about(&pushed.layers[0].digest, &["cannot connect to", &free.to_string()]));
}

#[test]
fn a_layer_that_wants_all_the_memory() {
    let attack = Attack::new();
    let tar = archive(&busybox_entries());
    // RFC 8878: a frame with a window of 2 GiB and one stored block.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3];
    frame.extend(&(512u32 << 3 | 1).to_le_bytes()[..3]);
    frame.extend(&tar[..512]);
    let blob = attack.registry.blob("app", "application/vnd.oci.image.layer.v1.tar+zstd", &frame);
    attack.registry.push_blobs("app", "latest", std::slice::from_ref(&blob), &[sha256(&tar)]);
    attack.is_refused(&[blob.digest.as_str(), "zstd", "128 MiB"]);
}

#[test]
fn names_that_are_no_text_are_escaped_in_messages() {
    let broken = Entry::hardlink("x", "absent").named(b"evil-\xff\n\x1b[31m");
    Attack::with_layer(archive(&[broken])).is_refused(&[r"evil-\\xff\\n\\x1b[31m", "absent"]);
}

#[test]
fn sizes_that_lie() {
    for lie in [-1i64, 1, -1_000_000_000, 1 << 40] {
        let attack = Attack::new();
        let tar = archive(&busybox_entries());
        let honest = attack.registry.blob("app", OCI_LAYER_GZIP, &gzip(&tar));
        let size = u64::try_from(i64::try_from(honest.size).unwrap() + lie).unwrap_or(0);
        let digest = honest.digest.clone();
        attack.registry.push_blobs("app", "latest", &[Blob { size, ..honest }], &[sha256(&tar)]);
        if lie == 1 << 40 {
            // A size that no disk holds is refused before anything is fetched.
            attack.is_refused(&["not enough space"]);
        } else {
            attack.is_refused(&attack.about(&digest, &["wrong size"]));
        }
    }
}

#[test]
fn a_body_that_never_ends() {
    let attack = Attack::new();
    let tar = archive(&busybox_entries());
    let honest = attack.registry.blob("app", OCI_LAYER_GZIP, &gzip(&tar));
    attack.registry.push_blobs("app", "latest", std::slice::from_ref(&honest), &[sha256(&tar)]);
    attack.registry.change(&blob_path("app", &honest.digest), |reply| reply.body.extend(vec![0; 30 << 20]));
    attack.is_refused(&attack.about(&honest.digest, &["wrong size"]));
}

#[test]
fn a_manifest_of_megabytes() {
    let attack = Attack::new();
    attack.registry.push("app", "latest", &[archive(&busybox_entries())]);
    attack.registry.change(&manifest_path("app", "latest"), |reply| {
        reply.body.splice(0..0, vec![b' '; 64 << 20]);
        reply.headers.retain(|(key, _)| key != "Docker-Content-Digest");
    });
    attack.is_refused(&["manifest"]);
}

#[test]
fn unknown_media_types() {
    let attack = Attack::new();
    let tar = archive(&busybox_entries());
    let blob = attack.registry.blob("app", "application/x-surprise", &gzip(&tar));
    attack.registry.push_blobs("app", "latest", &[blob], &[sha256(&tar)]);
    attack.is_refused(&["application/x-surprise"]);

    let attack = Attack::new();
    attack.registry.manifest("app", "latest", "application/x-strange", &json!({"schemaVersion": 2}));
    attack.is_refused(&["application/x-strange"]);

    let attack = Attack::new();
    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    attack.registry.manifest("app", "latest", old, &json!({"schemaVersion": 1, "name": "app"}));
    attack.is_refused(&["schema 1"]);
}

#[test]
fn manifests_that_are_none() {
    for body in ["", "null", "[]", "{}", "<html>", "{\"schemaVersion\": 2, \"config\": 3}"] {
        let attack = Attack::new();
        let reply = Reply::new(200, body).header("Content-Type", OCI_MANIFEST);
        attack.registry.reply(&manifest_path("app", "latest"), reply);
        attack.is_refused(&["manifest"]);
    }
}

#[test]
fn a_digest_that_is_a_path() {
    let attack = Attack::new();
    let evil = json!({ "mediaType": OCI_LAYER, "digest": "sha256:../../../../evil", "size": 3 });
    let config = attack.registry.blob("app", "application/vnd.oci.image.config.v1+json", b"{}");
    let document =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.json(), "layers": [evil] });
    attack.registry.manifest("app", "latest", OCI_MANIFEST, &document);
    attack.is_refused(&["manifest", "evil"]);
}

/// The layer may be refused or contained; either way nothing is written above its root.
fn stays_inside(entries: &[Entry]) {
    let attack = Attack::with_layer(archive(entries));
    let name = attack.registry.image("app");
    let target = attack.env.root.join("evil");
    let output = attack.env.coracle(["pull", "-q", &name]);
    if output.went_well() {
        attack.env.coracle(["run", "--rm", &name, "true"]).success();
    } else {
        attack.env.coracle(["images", "-aq"]).success().says("");
    }
    assert!(
        !target.exists()
            && !std::path::Path::new("/evil").exists()
            && !std::path::Path::new("/tmp/evil").exists()
    );
    let strays: Vec<String> = attack
        .env
        .listing(&attack.env.root)
        .into_iter()
        .filter(|path| path.ends_with("evil") && !path.contains("home/data/coracle/"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn names_that_climb_out() {
    for name in
        ["../evil", "../../../../../../../../../../tmp/evil", "a/../../evil", "/../evil", "etc/../../evil"]
    {
        stays_inside(&[Entry::file(name, "x")]);
    }
}

#[test]
fn absolute_names_are_below_the_root() {
    let attack = Attack::with_layer(archive(&[Entry::file("/evil", "contained\n")]));
    let name = attack.registry.image("app");
    attack.env.coracle(["run", "--rm", "-q", &name, "cat", "/evil"]).success().says("contained\n");
    stays_inside(&[Entry::file("/tmp/evil", "x")]);
}

#[test]
fn links_do_not_lead_out() {
    stays_inside(&[Entry::symlink("out", "/tmp"), Entry::file("out/evil", "x")]);
    stays_inside(&[Entry::symlink("out", "../../../../../../../../tmp"), Entry::file("out/evil", "x")]);
    stays_inside(&[Entry::symlink("a", "b"), Entry::symlink("b", "/tmp"), Entry::folder("a/evil")]);
    stays_inside(&[Entry::symlink("out", "/"), Entry::symlink("out/evil", "x")]);
    stays_inside(&[Entry::symlink("out", "/tmp"), Entry::file("out/.wh.evil", "")]);
    stays_inside(&[Entry::symlink("tmp2", "/tmp"), Entry::folder("tmp2/../../../tmp2/evil")]);
    stays_inside(&[
        Entry::symlink("a", "../../absent/.."),
        Entry::symlink("a/b", "../../../tmp"),
        Entry::file("b/evil", "x"),
    ]);
    stays_inside(&[Entry::symlink("tmp2", "/tmp"), Entry::hardlink("tmp2/evil", "bin/busybox")]);
}

#[test]
fn a_way_through_a_link_of_the_same_layer_stays_inside() {
    // What the link names is in a lower layer, or nowhere: it is made in this one, as docker does.
    for (link, place) in [
        ("/etc", "/etc/evil"),
        ("../../../../../../etc", "/etc/evil"),
        ("usr/lib", "/usr/lib/evil"),
        ("/proc/self/root", "/proc-is-a-mount"),
    ] {
        let entries = [Entry::symlink("lib", link), Entry::file("lib/evil", "contained\n")];
        stays_inside(&entries);
        let attack = Attack::with_layer(archive(&entries));
        let name = attack.registry.image("app");
        if place == "/proc-is-a-mount" {
            attack.env.coracle(["run", "--rm", "-q", &name, "cat", "/lib/evil"]).code(1).no_stdout();
            continue;
        }
        attack
            .env
            .coracle(["run", "--rm", "-q", &name, "cat", place, "/lib/evil", "/etc/passwd"])
            .success()
            .says("contained\ncontained\nroot:x:0:0:root:/root:/bin/sh\n");
        assert!(
            !std::path::Path::new("/etc/evil").exists() && !std::path::Path::new("/usr/lib/evil").exists()
        );
    }
}

#[test]
fn a_way_through_a_loop_of_links_is_refused() {
    let attack = Attack::with_layer(archive(&[
        Entry::symlink("a", "b/c"),
        Entry::symlink("b", "/a"),
        Entry::file("a/evil", "x"),
    ]));
    attack.is_refused(&["a/evil", "not a directory"]);
}

#[test]
fn hard_links_to_the_host() {
    for target in ["/etc/passwd", "../../../../../../../../etc/hostname", "no/such/target"] {
        let attack = Attack::with_layer(archive(&[Entry::hardlink("evil", target)]));
        let name = attack.registry.image("app");
        if attack.env.coracle(["pull", "-q", &name]).went_well() {
            // Contained: at most the image's own file of that name.
            let shown =
                attack.env.coracle(["run", "--rm", &name, "cat", "/evil"]).success().stdout().to_owned();
            assert_eq!(shown, "root:x:0:0:root:/root:/bin/sh\n");
        }
    }
}

#[test]
fn a_link_in_a_link_swapped_under_way() {
    stays_inside(&[
        Entry::folder("d"),
        Entry::file("d/f", "x"),
        Entry::hardlink("h", "d/f"),
        Entry::of_kind(".wh.d", b'0'),
        Entry::symlink("d", "/tmp"),
        Entry::file("d/evil", "y"),
    ]);
}

#[test]
fn device_nodes() {
    let attack = Attack::with_layer(archive(&[Entry::device("evil", 8, 0).mode(0o666)]));
    let name = attack.registry.image("app");
    if attack.env.coracle(["pull", "-q", &name]).went_well() {
        let said = attack.env.coracle([
            "run",
            "--rm",
            &name,
            "sh",
            "-c",
            "cat /evil | true; [ -b /evil ] && echo block",
        ]);
        drop(said.code(1).no_stdout());
    } else {
        attack.is_refused(&["evil"]);
    }
}

#[test]
fn headers_that_lie() {
    // A long-name header of a gigabyte, and a file of more than the archive holds.
    let long = Entry::of_kind("././@LongLink", b'L').claims(1 << 30);
    Attack::with_layer(archive(&[long])).is_refused(NO_WORDS);
    let pax = Entry::of_kind("pax", b'x').claims(1 << 30);
    Attack::with_layer(archive(&[pax])).is_refused(NO_WORDS);
    let huge = Entry::file("evil", "few bytes").claims(1 << 40);
    Attack::with_layer(archive(&[huge])).is_refused(NO_WORDS);
    Attack::with_layer(unfinished(&[Entry::file("evil", "x").claims(5000)])).is_refused(NO_WORDS);
    let mut broken = archive(&[Entry::file("evil", "x")]);
    broken[0] ^= 0xff;
    Attack::with_layer(broken).is_refused(NO_WORDS);
}

#[test]
fn memory_stays_small_under_a_lying_header() {
    let mut env = Env::new();
    let registry = FakeRegistry::start();
    let pax = Entry::of_kind("pax", b'x').claims(u64::from(u32::MAX));
    let mut layer = unfinished(&[pax]);
    layer.extend(vec![b'1'; 200 << 20]);
    registry.push("app", "latest", &[layer]);
    env.set_var("LIMIT", "yes");
    let script =
        format!("ulimit -v 1000000; {} pull {}", crate::harness::binary().display(), registry.image("app"));
    let said = env.program("sh", ["-c", &script]).output().code(1);
    assert!(!said.stderr().contains("memory"), "{said:?}");
}

#[test]
fn a_bomb_is_stopped_by_the_size_of_the_disk_or_a_bound() {
    // A kilobyte that claims to be a pebibyte of zeros: sparse files are not made of such.
    let attack = Attack::with_layer(archive(&[Entry::file("evil", "x").claims(1 << 50)]));
    attack.is_refused(NO_WORDS);
}

#[test]
fn odd_but_honest_layers_work() {
    let layer = archive(&[
        Entry::folder("./"),
        Entry::folder("./dot/"),
        Entry::file("./dot/file", "dot\n"),
        Entry::pax(&[("path", &"p/".repeat(150)), ("mtime", "1.5")]),
        Entry::folder("short"),
        Entry::pax(&[("path", "with\nnewline")]),
        Entry::file("short", "newline\n"),
        Entry::file("x", "no text\n").named(b"bytes-\xff\xfe"),
        Entry::of_kind("pax-global", b'g'),
    ]);
    let attack = Attack::with_layer(layer);
    let name = attack.registry.image("app");
    let script = "cat /bytes-*; cat /dot/file; cat \"/with\nnewline\"; ls -d /p/p/p/p | cat";
    attack
        .env
        .coracle(["run", "--rm", "-q", &name, "sh", "-c", script])
        .success()
        .says("no text\ndot\nnewline\n/p/p/p/p\n");
}
