//! The client against a registry of its own, for every turn that a pull may take.

use std::io::Read;
use std::time::Duration;

use super::fake::{self, CONFIG_TYPE, Fake, LAYER_TYPE, Reply, Request};
use super::manifest::{OCI_INDEX, OCI_MANIFEST};
use super::*;

const CONFIG: &[u8] = br#"{"os":"linux"}"#;

/// Bytes that do not repeat in a way that hides a misplaced range.
fn blob() -> Vec<u8> {
    (0..50_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

fn simple_manifest() -> Vec<u8> {
    fake::manifest(&fake::descriptor(CONFIG_TYPE, CONFIG), &[fake::descriptor(LAYER_TYPE, &blob())])
}

fn served(bytes: Vec<u8>, media_type: &str) -> Reply {
    Reply::new(200, bytes).header("Content-Type", media_type)
}

fn host() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn resolve(fake: &Fake, name: &str) -> Result<Resolved> {
    fake::client(Options::default()).resolve(&fake.image(name), &host())
}

/// Reads a blob as a pull would.
fn read(fake: &Fake, blob: &Descriptor) -> Result<Vec<u8>> {
    let client = fake::client(Options::default());
    let mut bytes = Vec::new();
    let mut reader = client.blob(&fake.image("x"), blob)?;
    reader.read_to_end(&mut bytes).map_err(|e| Error::from_io(e).expect("a typed error"))?;
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    Ok(bytes)
}

fn layer() -> Descriptor {
    fake::descriptor(LAYER_TYPE, &blob())
}

#[test]
fn a_plain_pull() {
    let fake = Fake::start(|request| match request.path.as_str() {
        "/v2/x/manifests/1" => served(simple_manifest(), OCI_MANIFEST),
        path if path.ends_with(layer().digest.hex()) => Reply::new(200, blob()),
        path if path.contains("/blobs/") => Reply::new(200, CONFIG),
        _ => Reply::new(404, ""),
    });
    let client = fake::client(Options::default());
    let image = fake.image("x:1");
    let resolved = client.resolve(&image, &host()).unwrap();
    assert_eq!(resolved.manifest_bytes, simple_manifest());
    assert_eq!(resolved.digest(), &Digest::of(Algorithm::Sha256, &simple_manifest()));
    assert_eq!(client.config(&image, &resolved.config).unwrap(), CONFIG);
    let mut bytes = Vec::new();
    client.blob(&image, &resolved.layers[0]).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, blob());
}

#[test]
fn a_token_is_fetched_once_and_kept() {
    let fake = Fake::start(|request| match (&request.authorization, request.path.as_str()) {
        (None, path) if path.starts_with("/token?") => {
            Reply::new(200, r#"{"access_token":"abc","expires_in":300}"#)
        }
        (Some(token), "/v2/a/x/manifests/latest") if token == "Bearer abc" => {
            served(simple_manifest(), OCI_MANIFEST)
        }
        (Some(token), _) if token == "Bearer abc" => Reply::new(200, CONFIG),
        _ => Reply::error(401, "UNAUTHORIZED", "authentication required").header(
            "WWW-Authenticate",
            r#"Bearer realm="/token",service="reg y",scope="repository:a/x:pull""#,
        ),
    });
    let client = fake::client(Options::default());
    let image = fake.image("a/x");
    let resolved = client.resolve(&image, &host()).unwrap();
    client.config(&image, &resolved.config).unwrap();
    let paths: Vec<String> = fake.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[1], "/token?service=reg%20y&scope=repository:a/x:pull");
    assert_eq!(fake.count("/token"), 1);
    assert_eq!(paths.len(), 4, "{paths:?}");
}

#[test]
fn an_expired_token_is_renewed_once() {
    // The second request with the first token is refused: it expired on the server.
    let fake = Fake::start(|request| match (&request.authorization, request.path.as_str()) {
        (_, path) if path.starts_with("/token?") => {
            Reply::new(200, format!(r#"{{"token":"t{}"}}"#, request.before))
        }
        (Some(token), path) if path.contains("manifests") && token == "Bearer t0" => {
            served(simple_manifest(), OCI_MANIFEST)
        }
        (Some(token), _) if token == "Bearer t1" => Reply::new(200, CONFIG),
        _ => Reply::new(401, "").header("WWW-Authenticate", r#"Bearer realm="/token""#),
    });
    let client = fake::client(Options::default());
    let image = fake.image("x");
    let resolved = client.resolve(&image, &host()).unwrap();
    client.config(&image, &resolved.config).unwrap();
    assert_eq!(fake.count("/token"), 2);

    let fake = Fake::start(|request| match request.path.as_str() {
        path if path.starts_with("/token?") => Reply::new(200, r#"{"token":"t"}"#),
        _ => Reply::error(401, "UNAUTHORIZED", "authentication required")
            .header("WWW-Authenticate", r#"Bearer realm="/token""#),
    });
    let error = resolve(&fake, "secret").unwrap_err();
    let name = fake.image("secret").familiar_name();
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': \
             unauthorized: authentication required"
        )
    );
    assert_eq!(fake.count("/token"), 1);
}

#[test]
fn credentials_go_to_their_own_registry_only() {
    let start = || {
        Fake::start(|request| match &request.authorization {
            Some(basic) if basic == "Basic dTpw" => served(simple_manifest(), OCI_MANIFEST),
            Some(_) => panic!("unexpected authorization"),
            None => Reply::new(401, "").header("WWW-Authenticate", r#"Basic realm="x""#),
        })
    };
    let (own, other) = (start(), start());
    let credentials =
        Credentials { registry: own.address.to_string(), username: "u".to_owned(), password: "p".to_owned() };
    let client = fake::client(Options { credentials: Some(credentials), ..Options::default() });
    client.resolve(&own.image("x"), &host()).unwrap();
    let refused = client.resolve(&other.image("x"), &host());
    assert!(matches!(refused, Err(Error::AccessDenied { .. })));
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn a_login_is_not_sent_to_an_insecure_realm() {
    let fake = Fake::start(|_| {
        Reply::new(401, "").header("WWW-Authenticate", r#"Bearer realm="http://192.0.2.1/token""#)
    });
    assert!(matches!(resolve(&fake, "x"), Err(Error::InsecureRealm { .. })));
}

#[test]
fn redirects_drop_the_authorization() {
    let storage = Fake::start(|request| Reply::ranged(request, &blob()));
    let target = format!("http://{}/storage?sig=1", storage.address);
    let fake = Fake::start(move |request| match (&request.authorization, request.path.as_str()) {
        (_, path) if path.starts_with("/token") => Reply::new(200, r#"{"token":"t"}"#),
        (None, _) => Reply::new(401, "").header("WWW-Authenticate", r#"Bearer realm="/token""#),
        (Some(_), path) if path.contains("/v2/") => Reply::new(307, "").header("Location", "/near"),
        (Some(_), _) => Reply::new(302, "").header("Location", target.clone()),
    });
    assert_eq!(read(&fake, &layer()).unwrap(), blob());
    let requests = storage.requests();
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, "/storage?sig=1"));
    assert_eq!(requests[0].authorization, None);
}

#[test]
fn redirect_loops_end() {
    let fake = Fake::start(|_| Reply::new(307, "").header("Location", "/again"));
    assert!(matches!(resolve(&fake, "x"), Err(Error::TooManyRedirects { .. })));
    let fake = Fake::start(|_| Reply::new(307, "").header("Location", "ftp://x/"));
    assert!(matches!(resolve(&fake, "x"), Err(Error::BadRedirect { .. })));
}

/// Serves documents by digest, and the first one under the tag `latest`.
fn serve_documents(documents: Vec<(Vec<u8>, &'static str)>) -> Fake {
    Fake::start(move |request| {
        let by_digest =
            |bytes: &Vec<u8>| request.path.ends_with(&format!("/{}", Digest::of(Algorithm::Sha256, bytes)));
        let found = match request.path.ends_with("/latest") {
            true => documents.first(),
            false => documents.iter().find(|(bytes, _)| by_digest(bytes)),
        };
        match found {
            Some((bytes, media_type)) => served(bytes.clone(), media_type),
            None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    })
}

#[test]
fn an_index_leads_to_the_platform() {
    let manifest = simple_manifest();
    let inner = fake::index(&[(fake::descriptor(OCI_MANIFEST, &manifest), "linux/amd64")]);
    let outer = fake::index(&[
        (fake::descriptor(OCI_MANIFEST, b"missing"), "linux/s390x"),
        (fake::descriptor(OCI_INDEX, &inner), "linux/amd64"),
    ]);
    let index_digest = Digest::of(Algorithm::Sha256, &outer);
    let fake =
        serve_documents(vec![(outer, OCI_INDEX), (inner, OCI_INDEX), (manifest.clone(), OCI_MANIFEST)]);
    let resolved = resolve(&fake, "x").unwrap();
    assert_eq!(resolved.index_digest.as_ref(), Some(&index_digest));
    assert_eq!(resolved.manifest_digest, Digest::of(Algorithm::Sha256, &manifest));
    let again = resolve(&fake, &format!("x@{index_digest}")).unwrap();
    assert_eq!(again.manifest_bytes, manifest);

    let client = fake::client(Options::default());
    let arm = "linux/arm64".parse().unwrap();
    let error = client.resolve(&fake.image("x"), &arm).unwrap_err().to_string();
    assert!(
        error.starts_with("no matching manifest for linux/arm64 in the manifest list entries"),
        "{error}"
    );
    assert!(error.ends_with("has linux/s390x, linux/amd64"), "{error}");
}

#[test]
fn indexes_are_not_followed_for_ever() {
    let mut documents = vec![simple_manifest()];
    for _ in 0..6 {
        let below = documents.last().unwrap();
        let media_type = if documents.len() == 1 { OCI_MANIFEST } else { OCI_INDEX };
        documents.push(fake::index(&[(fake::descriptor(media_type, below), "linux/amd64")]));
    }
    let typed = documents
        .into_iter()
        .enumerate()
        .map(|(n, bytes)| (bytes, if n == 0 { OCI_MANIFEST } else { OCI_INDEX }));
    let fake = serve_documents(typed.rev().collect());
    assert!(matches!(resolve(&fake, "x"), Err(Error::NestedTooDeep { .. })));
}

#[test]
fn a_manifest_must_match_its_digest_and_size() {
    let fake = Fake::start(|_| served(simple_manifest(), OCI_MANIFEST));
    let wrong = format!("x@sha256:{}", "0".repeat(64));
    assert!(matches!(resolve(&fake, &wrong), Err(Error::WrongDigest { .. })));

    let announced = format!("sha256:{}", "0".repeat(64));
    let fake = Fake::start(move |_| {
        served(simple_manifest(), OCI_MANIFEST).header("Docker-Content-Digest", announced.clone())
    });
    assert!(matches!(resolve(&fake, "x"), Err(Error::WrongDigest { .. })));

    let mut entry = fake::descriptor(OCI_MANIFEST, &simple_manifest());
    entry.size += 1;
    let index = fake::index(&[(entry, "linux/amd64")]);
    let fake = serve_documents(vec![(index, OCI_INDEX), (simple_manifest(), OCI_MANIFEST)]);
    assert!(matches!(resolve(&fake, "x"), Err(Error::WrongSize { .. })));

    let fake = Fake::start(|_| served(vec![b' '; 5 * 1024 * 1024], OCI_MANIFEST));
    assert!(matches!(resolve(&fake, "x"), Err(Error::TooLarge { .. })));
}

#[test]
fn what_is_missing_is_said_in_dockers_words() {
    let fake = Fake::start(|request| {
        if request.path.contains("/v2/none/") {
            Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry")
        } else if request.path.contains("/blobs/") {
            Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        } else {
            Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        }
    });
    let registry = fake.address;
    assert_eq!(
        resolve(&fake, "x:9").unwrap_err().to_string(),
        format!("manifest for {registry}/x:9 not found: manifest unknown: manifest unknown")
    );
    assert_eq!(
        resolve(&fake, "none").unwrap_err().to_string(),
        format!("repository {registry}/none not found: name unknown: repository name not known to registry")
    );
    assert!(matches!(read(&fake, &layer()), Err(Error::BlobUnknown { .. })));
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn what_may_pass_is_tried_again() {
    let fake = Fake::start(|request| match request.before {
        0 => Reply::new(503, ""),
        1 => Reply::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "0"),
        _ => served(simple_manifest(), OCI_MANIFEST),
    });
    resolve(&fake, "x").unwrap();
    assert_eq!(fake.requests().len(), 3);

    let fake = Fake::start(|_| Reply::new(500, ""));
    assert!(matches!(resolve(&fake, "x"), Err(Error::ServerFailure { status: 500, .. })));
    assert_eq!(fake.requests().len(), 3);

    let fake =
        Fake::start(|_| Reply::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "3600"));
    let error = resolve(&fake, "x").unwrap_err();
    assert!(matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() == 3600));
    assert!(
        error.to_string().ends_with("(try again in 3600 seconds): toomanyrequests: slow down"),
        "{error}"
    );
    assert_eq!(fake.requests().len(), 1);

    let silence = Duration::from_millis(500);
    let fake = Fake::start(move |_| Reply { silence, ..served(simple_manifest(), OCI_MANIFEST) });
    let impatient = Options { stall_limit: Duration::from_millis(100), ..Options::default() };
    let stalled = fake::client(impatient).resolve(&fake.image("x"), &host());
    assert!(matches!(stalled, Err(Error::Stalled { .. })));
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn a_dead_registry_is_not_asked_twice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let image = ImageRef::parse(&format!("{address}/x")).unwrap();
    let error = fake::client(Options::default()).resolve(&image, &host()).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_broken_blob_is_resumed_where_it_broke() {
    let fake = Fake::start(|request| Reply {
        // Breaks twice; the bytes in between count as progress.
        cut: [Some(100_000), Some(70_000)].get(request.before).copied().flatten(),
        ..Reply::ranged(request, &blob())
    });
    assert_eq!(read(&fake, &layer()).unwrap(), blob());
    let ranges: Vec<Option<String>> = fake.requests().into_iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=170000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_is_read_again_and_passed_over() {
    let fake = Fake::start(|request| Reply {
        cut: (request.before < 2).then_some(100_000 + 1000 * request.before),
        ..Reply::new(200, blob())
    });
    assert_eq!(read(&fake, &layer()).unwrap(), blob());
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn a_blob_without_progress_is_given_up() {
    let fake = Fake::start(|request| Reply { cut: Some(0), ..Reply::ranged(request, &blob()) });
    assert!(matches!(read(&fake, &layer()), Err(Error::Broken { .. })));
    assert_eq!(fake.requests().len(), 3);

    let fake = Fake::start(|request: &Request| match &request.range {
        None => Reply { cut: Some(1000), ..Reply::new(200, blob()) },
        Some(_) => Reply::new(206, &blob()[5..]).header("Content-Range", "bytes 5-199999/200000"),
    });
    assert!(matches!(read(&fake, &layer()), Err(Error::BadRange { .. })));
}

#[test]
fn a_blob_must_have_its_size_and_digest() {
    let mut wrong = blob();
    wrong[77] ^= 1;
    let fake = Fake::start(move |_| Reply::new(200, wrong.clone()));
    assert!(matches!(read(&fake, &layer()), Err(Error::WrongDigest { .. })));

    // Announced: refused before a byte is read.
    let fake = Fake::start(|_| Reply::new(200, [blob(), vec![0]].concat()));
    assert!(matches!(
        read(&fake, &layer()),
        Err(Error::WrongSize { declared: 200_000, received: 200_001, .. })
    ));
    let fake = Fake::start(|_| Reply::new(200, &blob()[1..]));
    assert!(matches!(read(&fake, &layer()), Err(Error::WrongSize { .. })));

    // Not announced: found out at the end.
    let chunked =
        |body: Vec<u8>| Fake::start(move |_| Reply { chunked: true, ..Reply::new(200, body.clone()) });
    assert_eq!(read(&chunked(blob()), &layer()).unwrap(), blob());
    assert!(matches!(read(&chunked([blob(), vec![0]].concat()), &layer()), Err(Error::Oversized { .. })));
    assert!(matches!(
        read(&chunked(blob()[1..].to_vec()), &layer()),
        Err(Error::Truncated { received: 199_999, .. })
    ));
}

#[test]
fn nothing_is_read_after_a_failure() {
    let fake = Fake::start(|_| Reply::new(200, vec![0; 10]));
    let client = fake::client(Options::default());
    let wrong = Descriptor { size: 10, ..layer() };
    let mut reader = client.blob(&fake.image("x"), &wrong).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
    assert!(reader.read(&mut [0]).is_err());
    assert!(reader.read(&mut [0]).is_err());
}

#[test]
fn an_empty_blob_is_verified_too() {
    let fake = Fake::start(|_| Reply::new(200, ""));
    assert_eq!(read(&fake, &fake::descriptor(LAYER_TYPE, b"")).unwrap(), b"");
    assert!(matches!(read(&fake, &Descriptor { size: 0, ..layer() }), Err(Error::WrongDigest { .. })));
}

#[test]
fn a_configuration_has_a_limit() {
    let fake = Fake::start(|_| Reply::new(200, CONFIG));
    let config = Descriptor { size: 9 * 1024 * 1024, ..fake::descriptor(CONFIG_TYPE, CONFIG) };
    let refused = fake::client(Options::default()).config(&fake.image("x"), &config);
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    assert!(fake.requests().is_empty());
}

#[test]
fn options_come_from_the_environment() {
    let options = Options::from_environment(|name| match name {
        "https_proxy" => Some("http://p:1".into()),
        "SSL_CERT_DIR" => Some("/a:/b".into()),
        _ => None,
    });
    assert_eq!(options.proxies.https.as_deref(), Some("http://p:1"));
    assert_eq!(options.authorities.directories.len(), 2);
}
