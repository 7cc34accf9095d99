//! A registry that can lie: it serves exactly what a test gives it, and remembers what was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// How a path is answered.
#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Send so many bytes of the body, then close the connection.
    pub cut_at: Option<usize>,
    /// Pause after `cut_at` bytes, for as long as this, before going on.
    pub pause: Option<Duration>,
}

impl Reply {
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Reply {
        Reply { status, body: body.as_ref().to_vec(), ..Reply::default() }
    }

    #[must_use]
    pub fn header(mut self, key: &str, value: &str) -> Reply {
        self.headers.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

type Gate = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
    /// Asked first; for authentication and answers that change.
    gate: Mutex<Option<Arc<Gate>>>,
}

pub struct FakeRegistry {
    pub address: String,
    shared: Arc<Shared>,
}

/// What a manifest says of a blob.
#[derive(Clone, Debug)]
pub struct Blob {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
}

impl Blob {
    pub fn json(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

impl FakeRegistry {
    pub fn start() -> FakeRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number").to_string();
        let shared = Arc::new(Shared::default());
        let server = Arc::clone(&shared);
        // Lives as long as the test process: a listener costs nothing.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&server);
                std::thread::spawn(move || {
                    // A client that goes away in the middle is part of many tests.
                    let _ = serve(stream, &shared);
                });
            }
        });
        FakeRegistry { address, shared }
    }

    /// The full name of an image in here.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.shared.replies.lock().expect("no server panics").insert(path.to_owned(), reply);
    }

    /// Changes an answer that is there already.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Reply)) {
        let mut replies = self.shared.replies.lock().expect("no server panics");
        change(replies.get_mut(path).unwrap_or_else(|| panic!("nothing at {path}")));
    }

    pub fn gate(&self, gate: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        *self.shared.gate.lock().expect("no server panics") = Some(Arc::new(gate));
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no server panics").clone()
    }

    /// How often `path` was fetched.
    pub fn fetched(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.method == "GET" && request.path == path).count()
    }

    pub fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Blob {
        let digest = sha256(bytes);
        let path = blob_path(repository, &digest);
        self.reply(&path, Reply::new(200, bytes).header("Content-Type", "application/octet-stream"));
        Blob { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    /// A manifest or an index under a tag and under its digest, which is returned.
    pub fn manifest(&self, repository: &str, tag: &str, media_type: &str, document: &Value) -> String {
        let body = serde_json::to_vec(document).expect("JSON");
        let digest = sha256(&body);
        let reply =
            Reply::new(200, body).header("Content-Type", media_type).header("Docker-Content-Digest", &digest);
        self.reply(&manifest_path(repository, &digest), reply.clone());
        self.reply(&manifest_path(repository, tag), reply);
        digest
    }

    /// A whole honest image: `layers` are plain tar files, served compressed with gzip.
    pub fn push(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> Pushed {
        let blobs = layers.iter().map(|tar| self.blob(repository, OCI_LAYER_GZIP, &super::tar::gzip(tar)));
        let blobs: Vec<Blob> = blobs.collect();
        let diff_ids: Vec<String> = layers.iter().map(|tar| sha256(tar)).collect();
        self.push_blobs(repository, tag, &blobs, &diff_ids)
    }

    /// An image of blobs that are what they are.
    pub fn push_blobs(&self, repository: &str, tag: &str, layers: &[Blob], diff_ids: &[String]) -> Pushed {
        self.push_all(repository, tag, layers, diff_ids, &json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }))
    }

    /// An image of one plain layer with this `config` object; its full name.
    pub fn push_config(&self, repository: &str, layer: &[u8], config: &Value) -> String {
        let blob = self.blob(repository, OCI_LAYER, layer);
        self.push_all(repository, "latest", &[blob], &[sha256(layer)], config);
        self.image(repository)
    }

    fn push_all(
        &self,
        repository: &str,
        tag: &str,
        layers: &[Blob],
        diff_ids: &[String],
        config: &Value,
    ) -> Pushed {
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.blob(repository, OCI_CONFIG, &serde_json::to_vec(&config).expect("JSON"));
        let document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.json(),
            "layers": layers.iter().map(Blob::json).collect::<Vec<_>>(),
        });
        let digest = self.manifest(repository, tag, OCI_MANIFEST, &document);
        Pushed { digest, config, layers: layers.to_vec(), document }
    }
}

/// What `push` made.
pub struct Pushed {
    pub digest: String,
    pub config: Blob,
    pub layers: Vec<Blob>,
    pub document: Value,
}

pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

pub fn manifest_path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// The host's architecture in the words of images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Answers one request and closes.
fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(key.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let request = Request { method, path, headers };
    shared.requests.lock().expect("no server panics").push(request.clone());
    let gate = shared.gate.lock().expect("no server panics").clone();
    let reply = gate.and_then(|gate| gate(&request)).unwrap_or_else(|| answer(&request, shared));
    send(stream, &request, &reply)
}

fn answer(request: &Request, shared: &Shared) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/v2/" {
        return Reply::new(200, "{}");
    }
    let known = shared.replies.lock().expect("no server panics").get(path).cloned();
    let code = if path.contains("/manifests/") { "MANIFEST_UNKNOWN" } else { "BLOB_UNKNOWN" };
    known.unwrap_or_else(|| {
        Reply::new(
            404,
            format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"unknown to registry\"}}]}}"),
        )
        .header("Content-Type", "application/json")
    })
}

fn send(mut stream: TcpStream, request: &Request, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Because\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (key, value) in &reply.headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let cut = reply.cut_at.unwrap_or(reply.body.len()).min(reply.body.len());
    stream.write_all(&reply.body[..cut])?;
    if let Some(pause) = reply.pause {
        stream.flush()?;
        std::thread::sleep(pause);
        stream.write_all(&reply.body[cut..])?;
    }
    Ok(())
}
