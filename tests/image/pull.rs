//! `coracle pull`: references, formats, tokens, redirects, what is fetched and what is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::fake_registry::{
    Blob, FakeRegistry, OCI_INDEX, OCI_LAYER, OCI_LAYER_ZSTD, Reply, blob_path, manifest_path, sha256,
};
use crate::harness::tar::{Entry, archive, busybox_entries, zstd};
use crate::harness::{Env, image};

#[test]
fn prints_dockers_lines() {
    let env = Env::new();
    let name = image("tiny");
    let said = env.coracle(["pull", &name]).success();
    let lines: Vec<&str> = said.stdout().lines().collect();
    assert!(lines[0].starts_with("Using default tag: latest"), "{said:?}");
    assert!(lines.iter().any(|line| line.contains("Pulling from tiny")), "{said:?}");
    assert!(lines.iter().any(|line| line.ends_with(": Pull complete")), "{said:?}");
    let tail = &lines[lines.len() - 3..];
    assert!(tail[0].starts_with("Digest: sha256:"), "{said:?}");
    assert_eq!(tail[1], format!("Status: Downloaded newer image for {name}:latest"));
    assert_eq!(tail[2], format!("{name}:latest"));
    let again = env.coracle(["pull", &name]).success();
    assert!(again.stdout().contains(&format!("Status: Image is up to date for {name}:latest")), "{again:?}");
    env.coracle(["pull", "-q", &name]).success().says(&format!("{name}:latest\n")).no_stderr();
}

#[test]
fn every_format_gives_the_same_files() {
    let env = Env::new();
    for tag in ["latest", "zstd", "plain", "docker", "index", "list"] {
        let name = image(&format!("tiny:{tag}"));
        env.coracle(["pull", "-q", &name]).success().says(&format!("{name}\n"));
        env.coracle(["run", "--rm", "--pull=never", &name, "cat", "/etc/platform"])
            .success()
            .says("linux/amd64\n");
    }
    // The layer is the same, so it is stored once.
    assert_eq!(stored_copies(&env, "srv/hello"), 1);
}

fn stored_copies(env: &Env, file: &str) -> usize {
    env.listing(&env.store()).iter().filter(|path| path.ends_with(file)).count()
}

#[test]
fn by_digest() {
    let env = Env::new();
    let said = env.coracle(["pull", &image("tiny")]).success();
    let digest = said.stdout().lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    let name = format!("{}@{digest}", image("tiny"));
    env.coracle(["pull", "-q", &name]).success().says(&format!("{name}\n"));
    env.coracle(["run", "--rm", "--pull=never", &name, "true"]).success();
    let wrong = format!("{}@sha256:{}", image("tiny"), "0".repeat(64));
    env.coracle(["pull", &wrong]).code(1).stderr_has(&wrong);
}

#[test]
fn a_shared_layer_is_fetched_and_stored_once() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let base = archive(&busybox_entries());
    let top = archive(&[Entry::file("etc/top", "top\n")]);
    let first = registry.push("one", "latest", std::slice::from_ref(&base));
    registry.push("two", "latest", &[base, top]);
    env.coracle(["pull", "-q", &registry.image("one")]).success();
    env.coracle(["pull", "-q", &registry.image("two")]).success();
    let digest = &first.layers[0].digest;
    assert_eq!(registry.fetched(&blob_path("one", digest)) + registry.fetched(&blob_path("two", digest)), 1);
    assert_eq!(stored_copies(&env, "bin/busybox"), 1);
    env.coracle(["run", "--rm", &registry.image("two"), "cat", "/etc/top"]).success().says("top\n");
    // A second pull asks for the manifest and nothing else.
    let before = registry.requests().len();
    env.coracle(["pull", "-q", &registry.image("two")]).success();
    let asked: Vec<String> = registry.requests().drain(before..).map(|request| request.path).collect();
    assert!(asked.iter().all(|path| path == "/v2/" || path.contains("/manifests/")), "{asked:?}");
}

#[test]
fn a_moved_tag_is_followed_and_the_old_image_stays() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    registry.push("app", "latest", &[archive(&busybox_entries()), archive(&[Entry::file("v", "1\n")])]);
    env.coracle(["pull", "-q", &registry.image("app")]).success();
    let old = env.inspect(&registry.image("app"), "/Id").as_str().unwrap().to_owned();
    registry.push("app", "latest", &[archive(&busybox_entries()), archive(&[Entry::file("v", "2\n")])]);
    env.coracle(["run", "--rm", &registry.image("app"), "cat", "/v"]).success().says("1\n");
    env.coracle(["pull", &registry.image("app")]).success().stdout_has("Downloaded newer image");
    env.coracle(["run", "--rm", &registry.image("app"), "cat", "/v"]).success().says("2\n");
    env.coracle(["run", "--rm", &old, "cat", "/v"]).success().says("1\n");
    env.coracle(["images"]).success().stdout_has("<none>");
}

#[test]
fn a_token_is_asked_for_and_shown() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    registry.push("secret/app", "latest", &[archive(&busybox_entries())]);
    let address = registry.address.clone();
    registry.gate(move |request| {
        if request.path.starts_with("/token") {
            let good = request.path.contains("scope=repository%3Asecret%2Fapp%3Apull")
                || request.path.contains("scope=repository:secret/app:pull");
            assert!(good && request.path.contains("service=the-registry"), "{}", request.path);
            return Some(Reply::new(200, r#"{"token": "let-me-in", "expires_in": 300}"#));
        }
        if request.headers.get("authorization").map(String::as_str) == Some("Bearer let-me-in") {
            return None;
        }
        let scope = "repository:secret/app:pull";
        let challenge =
            format!("Bearer realm=\"http://{address}/token\",service=\"the-registry\",scope=\"{scope}\"");
        Some(Reply::new(401, "{}").header("WWW-Authenticate", &challenge))
    });
    env.coracle(["pull", "-q", &registry.image("secret/app")]).success();
    let tokens = registry.requests().iter().filter(|request| request.path.starts_with("/token")).count();
    assert_eq!(tokens, 1, "a token serves a whole pull");
}

#[test]
fn a_refused_token_is_an_error() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let address = registry.address.clone();
    registry.gate(move |request| {
        let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"s\"");
        let denied = r#"{"errors":[{"code":"DENIED","message":"no access for you"}]}"#;
        Some(match request.path.starts_with("/token") {
            true => Reply::new(401, denied),
            false => Reply::new(401, denied).header("WWW-Authenticate", &challenge),
        })
    });
    env.coracle(["pull", &registry.image("app")]).code(1).stderr_has("app").stderr_has("denied");
}

#[test]
fn redirects_are_followed_without_the_token() {
    let env = Env::new();
    let (registry, storage) = (FakeRegistry::start(), FakeRegistry::start());
    let pushed = registry.push("app", "latest", &[archive(&busybox_entries())]);
    for blob in pushed.layers.iter().chain([&pushed.config]) {
        let path = blob_path("app", &blob.digest);
        registry.change(&path, |reply| {
            storage.reply("/storage", reply.clone());
            storage.reply(&format!("/{}", blob.digest), reply.clone());
            *reply = Reply::new(307, "")
                .header("Location", &format!("http://{}/{}", storage.address, blob.digest));
        });
    }
    let address = registry.address.clone();
    registry.gate(move |request| {
        if request.path.starts_with("/token") {
            return Some(Reply::new(200, r#"{"access_token": "mine"}"#));
        }
        let challenge =
            format!("Bearer realm=\"http://{address}/token\",service=\"s\",scope=\"repository:app:pull\"");
        let known = request.headers.contains_key("authorization");
        (!known).then(|| Reply::new(401, "").header("WWW-Authenticate", &challenge))
    });
    env.coracle(["pull", "-q", &registry.image("app")]).success();
    assert_eq!(storage.requests().len(), 2);
    for request in storage.requests() {
        assert!(!request.headers.contains_key("authorization"), "the token went to another host");
    }
}

#[test]
fn layers_are_fetched_side_by_side() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let mut layers = vec![archive(&busybox_entries())];
    layers.extend((0..4).map(|i| archive(&[Entry::file(&format!("file{i}"), vec![i; 100_000])])));
    let pushed = registry.push("app", "latest", &layers);
    static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let layers: Vec<String> = pushed.layers.iter().map(|blob| blob_path("app", &blob.digest)).collect();
    registry.gate(move |request| {
        if layers.contains(&request.path) {
            MOST.fetch_max(AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(300));
            AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        }
        None
    });
    env.coracle(["pull", "-q", &registry.image("app")]).success();
    assert!(MOST.load(Ordering::SeqCst) >= 2, "one layer after the other");
    env.coracle(["run", "--rm", &registry.image("app"), "ls", "/"]).success().stdout_has("file3");
}

#[test]
fn a_short_answer_is_asked_for_again() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let pushed = registry.push("app", "latest", &[archive(&busybox_entries())]);
    let path = blob_path("app", &pushed.layers[0].digest);
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    let gated = path.clone();
    registry.gate(move |request| {
        let broken = request.path == gated && TRIES.fetch_add(1, Ordering::SeqCst) == 0;
        broken.then(|| Reply::new(503, "busy"))
    });
    env.coracle(["pull", "-q", &registry.image("app")]).success();
    assert_eq!(TRIES.load(Ordering::SeqCst), 2);
}

#[test]
fn an_index_gives_the_hosts_platform_or_the_one_asked_for() {
    let env = Env::new();
    let name = image("tiny:index");
    env.coracle(["pull", "-q", &name]).success();
    assert_eq!(env.inspect(&name, "/Architecture"), "amd64");
    env.coracle(["pull", "-q", "--platform", "linux/arm64", &name]).success();
    assert_eq!(env.inspect(&name, "/Architecture"), "arm64");
    let said = env.coracle(["pull", "--platform", "linux/riscv64", &name]).code(1);
    said.stderr_has("riscv64").stderr_has("linux/amd64");
    env.coracle(["pull", "--platform", "vax", &name]).code(1).stderr_has("vax");
}

#[test]
fn an_index_may_hold_what_is_no_image() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let pushed = registry.push("app", "amd", &[archive(&busybox_entries())]);
    let size = serde_json::to_vec(&pushed.document).unwrap().len();
    let arch = crate::harness::fake_registry::architecture();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(b"attestation"), "size": 10,
          "platform": { "os": "unknown", "architecture": "unknown" } },
        { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": pushed.digest, "size": size,
          "platform": { "os": "linux", "architecture": arch } },
    ]});
    registry.manifest("app", "latest", OCI_INDEX, &index);
    env.coracle(["run", "--rm", &registry.image("app"), "true"]).success();
}

#[test]
fn layers_may_be_plain_zstd_or_mislabelled() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let (base, top) = (archive(&busybox_entries()), archive(&[Entry::file("top", "top\n")]));
    let blobs = [registry.blob("app", OCI_LAYER_ZSTD, &zstd(&base)), registry.blob("app", OCI_LAYER, &top)];
    registry.push_blobs("app", "latest", &blobs, &[sha256(&base), sha256(&top)]);
    env.coracle(["run", "--rm", &registry.image("app"), "cat", "/top"]).success().says("top\n");
}

#[test]
fn the_empty_layer_and_a_repeated_layer_are_fine() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let top = archive(&[Entry::file("top", "top\n")]);
    registry.push(
        "app",
        "latest",
        &[archive(&busybox_entries()), archive(&[]), top.clone(), archive(&[]), top],
    );
    env.coracle(["run", "--rm", &registry.image("app"), "cat", "/top"]).success().says("top\n");
}

#[test]
fn what_is_not_there_says_what_and_where() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    registry.push("app", "latest", &[archive(&busybox_entries())]);
    let missing = registry.image("nothing");
    env.coracle(["pull", &missing]).code(1).stderr_has(&missing);
    let missing = registry.image("app:nosuchtag");
    env.coracle(["pull", &missing]).code(1).stderr_has("nosuchtag");
    assert!(registry.fetched(&manifest_path("app", "nosuchtag")) >= 1);
    // Nobody listens there.
    let port = crate::harness::free_port();
    let nowhere = format!("127.0.0.1:{port}/app");
    env.coracle(["pull", &nowhere]).code(1).stderr_has(&format!("127.0.0.1:{port}"));
    env.coracle(["images", "-q"]).success().says("");
}

#[test]
fn bad_references_are_refused() {
    let env = Env::new();
    for bad in ["", "UPPER", "a//b", "a:b:c", "a@sha256:12", "-x/", "a b", "http://localhost/x"] {
        env.coracle(["pull", "--", bad]).code(1).no_stdout();
    }
    env.coracle(["pull"]).code(1).stderr_has("requires");
}

#[test]
fn the_config_is_kept_byte_for_byte() {
    let env = Env::new();
    let registry = FakeRegistry::start();
    let base = archive(&busybox_entries());
    let layer = registry.blob("app", OCI_LAYER, &base);
    let text = format!(
        "{{ \"os\":\"linux\",\n \"architecture\":\"{}\",  \"x-unknown\": [1, 2.50, null], \"config\": {{\"Cmd\":[\"sh\"],\"Healthcheck\":{{\"Test\":[\"NONE\"]}},\"Env\":[\"PATH=/bin\"]}},\"rootfs\":{{\"diff_ids\":[\"{}\"],\"type\":\"layers\"}} }}",
        crate::harness::fake_registry::architecture(),
        sha256(&base)
    );
    let config: Blob = registry.blob("app", "application/vnd.oci.image.config.v1+json", text.as_bytes());
    let document = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.json(), "layers": [layer.json()] });
    registry.manifest("app", "latest", "application/vnd.oci.image.manifest.v1+json", &document);
    env.coracle(["pull", "-q", &registry.image("app")]).success();
    assert_eq!(env.inspect(&registry.image("app"), "/Id"), config.digest.as_str());
}

#[test]
fn progress_is_drawn_on_a_terminal() {
    let env = Env::new();
    let mut terminal = env.terminal(["pull", &image("debian")]);
    terminal.expect("Digest: sha256:");
    assert_eq!(terminal.finish(), 0);
    let screen = terminal.screen();
    assert!(screen.contains("\u{1b}["), "no bar was drawn: {screen}");
    assert!(screen.contains("Status: Downloaded newer image"), "{screen}");
    env.coracle(["run", "--rm", &image("debian"), "cat", "/etc/debian_version"]).success().stdout_has("12.");
}
