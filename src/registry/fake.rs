//! A registry for tests: answers plain HTTP on a loopback port from a closure, and remembers what it
//! was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::manifest::{Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::{Client, Options};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image_ref::ImageRef;

pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[derive(Debug, Clone)]
pub struct Request {
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    /// How often the same path was asked before.
    pub before: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Send the body in chunks, so that its length is not announced.
    pub chunked: bool,
    /// Say nothing for so long before the body.
    pub silence: Duration,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Reply::new(status, body.to_string())
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A blob as a registry that knows ranges answers.
    pub fn ranged(request: &Request, body: &[u8]) -> Reply {
        let start = request
            .range
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            None => Reply::new(200, body),
            Some(start) => Reply::new(206, &body[start..])
                .header("Content-Range", format!("bytes {start}-{}/{}", body.len() - 1, body.len())),
        }
    }
}

pub struct Fake {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (shared, answer) = (Arc::clone(&log), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Fake { address, log }
    }

    /// `name` in this registry.
    pub fn image(&self, name: &str) -> ImageRef {
        ImageRef::parse(&format!("{}/{name}", self.address)).unwrap()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    pub fn count(&self, part: &str) -> usize {
        self.requests().iter().filter(|request| request.path.contains(part)).count()
    }
}

/// A client that does not pause for long between tries.
pub fn client(options: Options) -> Client {
    Client::new(Options { retry_pause: Duration::from_millis(1), ..options })
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(Algorithm::Sha256, bytes),
        size: bytes.len() as u64,
    }
}

fn json(descriptor: &Descriptor) -> serde_json::Value {
    let Descriptor { media_type, digest, size } = descriptor;
    serde_json::json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

pub fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(json).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": json(config), "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// An index of documents with their platforms (`os/architecture`).
pub fn index(entries: &[(Descriptor, &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(descriptor, platform)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            let mut entry = json(descriptor);
            entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
            entry
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    index.to_string().into_bytes()
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) {
    let mut first = [0];
    // A TLS greeting: this server does not understand it and hangs up.
    if stream.peek(&mut first).is_err() || first[0] == 0x16 {
        return;
    }
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
    let path = line().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, authorization: None, range: None, before: 0 };
    loop {
        let header = line();
        match header.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.authorization = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                request.range = Some(value.to_owned())
            }
            Some(_) => {}
            None => break,
        }
    }
    {
        let mut log = log.lock().unwrap();
        request.before = log.iter().filter(|earlier| earlier.path == request.path).count();
        log.push(request.clone());
    }
    let reply = answer(&request);
    // The client may have hung up already.
    let _ = write_reply(&mut stream, &reply);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut first);
}

fn write_reply(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    } else {
        head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    }
    stream.write_all(head.as_bytes())?;
    std::thread::sleep(reply.silence);
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    if reply.chunked {
        stream.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
        stream.write_all(body)?;
        stream.write_all(b"\r\n0\r\n\r\n")
    } else {
        stream.write_all(body)
    }
}
