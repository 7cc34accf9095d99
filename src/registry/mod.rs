//! Everything between a name and verified bytes: the distribution protocol's pull side.
//! Runs in the client; one `Client` serves several threads.
//!
//! Nothing here writes to disk. What is handed out was checked against its digest and size, or its
//! last read fails.

mod auth;
mod blob;
mod download;
mod error;
#[cfg(test)]
pub mod fake;
mod manifest;
mod names;
mod proxy;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod url;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Body;
use ureq::http::{HeaderMap, Response, header};

pub use auth::Credentials;
pub use blob::BlobReader;
pub use error::{Error, Result};
pub use manifest::Descriptor;
pub use proxy::Proxies;
pub use tls::Authorities;

use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image_ref::{DEFAULT_DOMAIN, ImageRef};
use crate::spec::platform::Platform;
use auth::Authorizer;
use manifest::{Document, Manifest};
use transport::{Get, Transport};
use url::Url;

/// The server that speaks for the default registry's name.
const DEFAULT_ENDPOINT: &str = "registry-1.docker.io";
const MANIFEST_MAX: u64 = 4 * 1024 * 1024;
const CONFIG_MAX: u64 = 8 * 1024 * 1024;
/// An index may point to indexes; so deep, and so many documents in all.
const NESTING_MAX: u32 = 4;
const DOCUMENTS_MAX: u32 = 16;
/// A registry that wants a longer pause is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How a client reaches registries.
#[derive(Debug, Clone)]
pub struct Options {
    pub credentials: Option<Credentials>,
    pub authorities: Authorities,
    pub proxies: Proxies,
    /// How long a server may send nothing before the connection is given up. There is no limit in all.
    pub stall_limit: Duration,
    /// How often a request is sent in all while it fails in a way that may pass.
    pub tries: u32,
    /// The pause before the second try; it doubles from try to try.
    pub retry_pause: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            credentials: None,
            authorities: Authorities::default(),
            proxies: Proxies::default(),
            stall_limit: Duration::from_secs(30),
            tries: 3,
            retry_pause: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Takes proxies and certificate places from environment variables, given by a look-up.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Options {
        let text = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_ascii_lowercase()))?;
            value.into_string().ok().filter(|value| !value.is_empty())
        };
        let path = |name: &str| variable(name).filter(|value| !value.is_empty());
        let authorities = Authorities {
            file: path("SSL_CERT_FILE").map(Into::into),
            directories: path("SSL_CERT_DIR")
                .map(|list| std::env::split_paths(&list).collect())
                .unwrap_or_default(),
        };
        let proxies = Proxies {
            http: text("HTTP_PROXY"),
            https: text("HTTPS_PROXY"),
            except: text("NO_PROXY").unwrap_or_default(),
        };
        Options { authorities, proxies, ..Options::default() }
    }
}

/// An image's manifest, found by name and chosen by platform. All bytes are verified.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The digest of the index that the name led to, if it was one.
    pub index_digest: Option<Digest>,
    pub manifest_digest: Digest,
    pub manifest_bytes: Vec<u8>,
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

impl Resolved {
    /// The digest that the name stands for in the registry: `name@digest` finds the same again.
    pub fn digest(&self) -> &Digest {
        self.index_digest.as_ref().unwrap_or(&self.manifest_digest)
    }
}

/// A client for all registries. Cheap to make: connections and certificates wait until needed.
#[derive(Debug)]
pub struct Client {
    options: Options,
    transport: Transport,
    authorizer: Authorizer,
    /// Whether a registry on this machine speaks TLS, once known.
    loopback_tls: Mutex<HashMap<String, bool>>,
}

impl Client {
    pub fn new(options: Options) -> Client {
        let transport =
            Transport::new(options.authorities.clone(), options.proxies.clone(), options.stall_limit);
        let authorizer = Authorizer::new(options.credentials.clone());
        Client { options, transport, authorizer, loopback_tls: Mutex::default() }
    }

    /// Finds the manifest of `image` for `platform`, through indexes.
    pub fn resolve(&self, image: &ImageRef, platform: &Platform) -> Result<Resolved> {
        let mut budget = DOCUMENTS_MAX;
        let fetched = self.fetch_manifest(image, None)?;
        let reference = image.familiar();
        let document = Document::parse(&fetched.bytes, fetched.content_type.as_deref(), &reference)?;
        match document {
            Document::Manifest(manifest) => Ok(fetched.resolved(manifest, None)),
            Document::Index(entries) => {
                let index_digest = fetched.digest;
                let search = Search { client: self, image, platform };
                match search.descend(&entries, NESTING_MAX, &mut budget)? {
                    Some((fetched, manifest)) => Ok(fetched.resolved(manifest, Some(index_digest))),
                    None => Err(Error::NoMatchingPlatform {
                        reference,
                        wanted: platform.clone(),
                        available: manifest::available(&entries),
                    }),
                }
            }
        }
    }

    /// The image configuration's bytes, verified.
    pub fn config(&self, image: &ImageRef, config: &Descriptor) -> Result<Vec<u8>> {
        if config.size > CONFIG_MAX {
            let what = format!("the configuration of {}", image.familiar());
            return Err(Error::TooLarge { what, limit: CONFIG_MAX });
        }
        let mut bytes = Vec::new();
        let mut reader = self.blob(image, config)?;
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => Err(Error::from_io(e)
                .unwrap_or_else(|source| Error::Broken { host: image.domain().to_owned(), source })),
        }
    }

    /// Opens a blob. The reader verifies size and digest before it reports the end, and resumes broken
    /// connections by itself.
    pub fn blob(&self, image: &ImageRef, blob: &Descriptor) -> Result<BlobReader<'_>> {
        BlobReader::open(self, image.clone(), blob.clone())
    }

    fn fetch_manifest(&self, image: &ImageRef, entry: Option<&Descriptor>) -> Result<Fetched> {
        let what = || format!("the manifest of {}", image.familiar());
        let expected = entry.map(|entry| &entry.digest).or(image.digest());
        let tag = expected.map(Digest::to_string).or(image.tag().map(str::to_owned)).unwrap_or_default();
        let path = format!("/v2/{}/manifests/{tag}", image.path());
        self.retry(|| {
            let (url, response) =
                self.get(image, &path, &Get { accept: manifest::ACCEPT, ..Get::default() })?;
            let response = check_found(image, &url, response, |detail| Error::ManifestUnknown {
                reference: image.familiar(),
                detail,
            })?;
            let content_type = text_header(response.headers(), header::CONTENT_TYPE.as_str());
            let announced = text_header(response.headers(), "docker-content-digest");
            let mut bytes = Vec::new();
            let reader = response.into_body().into_reader();
            reader
                .take(MANIFEST_MAX + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| self.transport.explain_io(&url, e))?;
            let received = bytes.len() as u64;
            if received > MANIFEST_MAX {
                return Err(Error::TooLarge { what: what(), limit: MANIFEST_MAX });
            }
            if let Some(entry) = entry.filter(|entry| entry.size != received) {
                let (host, digest) = (url.authority().to_owned(), entry.digest.clone());
                return Err(Error::WrongSize { host, digest, declared: entry.size, received });
            }
            // By tag, the server's word is only a check on the transfer; the bytes decide.
            let announced = announced.and_then(|text| text.parse::<Digest>().ok());
            let expected = expected.cloned().or(announced);
            let algorithm = expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
            let digest = Digest::of(algorithm, &bytes);
            match expected {
                Some(expected) if expected != digest => {
                    Err(Error::WrongDigest { what: what(), expected, actual: digest })
                }
                _ => Ok(Fetched { digest, bytes, content_type }),
            }
        })
    }

    /// Repeats what fails in a way that may pass, with growing pauses.
    fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            match attempt() {
                Err(e) if e.is_transient() => {
                    failures += 1;
                    self.pause(failures, e)?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits before the next try after `failures` failures in a row; gives the error back when there
    /// are no more tries, or when the registry wants too long a pause.
    fn pause(&self, failures: u32, error: Error) -> Result<()> {
        if failures >= self.options.tries {
            return Err(error);
        }
        let own = self.options.retry_pause * 2u32.saturating_pow(failures - 1);
        let wait = match &error {
            Error::RateLimited { retry_after: Some(wait), .. } => (*wait).max(own),
            _ => own,
        };
        if wait > RETRY_AFTER_MAX {
            return Err(error);
        }
        std::thread::sleep(wait);
        Ok(())
    }

    /// One authorised request below the registry of `image`.
    fn get(&self, image: &ImageRef, path: &str, get: &Get) -> Result<(Url, Response<Body>)> {
        let mut authorization = self.authorizer.current(image);
        let mut is_new = false;
        loop {
            let get = Get { authorization: authorization.as_deref(), ..get.clone() };
            let (url, response) = self.send(image.domain(), path, &get)?;
            if response.status().as_u16() != 401 {
                return Ok((url.clone(), transport::check_server(&url, response)?));
            }
            if is_new {
                let detail = transport::explanation(response).detail;
                return Err(Error::AccessDenied { name: image.familiar_name(), detail });
            }
            let refused = authorization.as_deref();
            let (header, fetched) =
                self.authorizer.renew(&self.transport, &url, image, refused, response.headers())?;
            (authorization, is_new) = (Some(header), fetched);
        }
    }

    /// Sends to the registry's server; on this machine plain http is tried when https is not spoken.
    fn send(&self, domain: &str, path: &str, get: &Get) -> Result<(Url, Response<Body>)> {
        let authority = if domain == DEFAULT_DOMAIN { DEFAULT_ENDPOINT } else { domain };
        let secure = Url::new(true, authority, path);
        if !secure.is_loopback() {
            return Ok((secure.clone(), self.transport.send(&secure, get)?));
        }
        let plain = Url::new(false, authority, path);
        let known = self.loopback_schemes().get(authority).copied();
        if known != Some(false) {
            match self.transport.send(&secure, get) {
                Ok(response) => {
                    self.loopback_schemes().insert(authority.to_owned(), true);
                    return Ok((secure, response));
                }
                Err(e) if known == Some(true) => return Err(e),
                // Nobody listens: asking again in another way tells nothing more.
                Err(e @ (Error::Unreachable { .. } | Error::NameNotResolved { .. })) if !matches!(&e, Error::Unreachable { source, .. } if source.kind() == std::io::ErrorKind::TimedOut) =>
                {
                    return Err(e);
                }
                Err(_) => {}
            }
        }
        let response = self.transport.send(&plain, get)?;
        self.loopback_schemes().insert(authority.to_owned(), false);
        Ok((plain, response))
    }

    fn loopback_schemes(&self) -> std::sync::MutexGuard<'_, HashMap<String, bool>> {
        self.loopback_tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A document with the digest of its bytes.
struct Fetched {
    digest: Digest,
    bytes: Vec<u8>,
    content_type: Option<String>,
}

impl Fetched {
    fn resolved(self, manifest: Manifest, index_digest: Option<Digest>) -> Resolved {
        let Manifest { config, layers } = manifest;
        Resolved { index_digest, manifest_digest: self.digest, manifest_bytes: self.bytes, config, layers }
    }
}

/// The way down through indexes to one platform's manifest.
struct Search<'a> {
    client: &'a Client,
    image: &'a ImageRef,
    platform: &'a Platform,
}

impl Search<'_> {
    fn descend(
        &self,
        entries: &[manifest::IndexEntry],
        depth: u32,
        budget: &mut u32,
    ) -> Result<Option<(Fetched, Manifest)>> {
        let too_deep = || Error::NestedTooDeep { reference: self.image.familiar() };
        for candidate in manifest::candidates(entries, self.platform) {
            *budget = budget.checked_sub(1).ok_or_else(too_deep)?;
            let fetched = self.client.fetch_manifest(self.image, Some(candidate))?;
            // The digest vouches for the bytes, so the index's word on their type counts.
            let reference = self.image.familiar();
            match Document::parse(&fetched.bytes, Some(&candidate.media_type), &reference)? {
                Document::Manifest(manifest) => return Ok(Some((fetched, manifest))),
                Document::Index(_) if depth <= 1 => return Err(too_deep()),
                Document::Index(entries) => {
                    if let Some(found) = self.descend(&entries, depth - 1, budget)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}

fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Passes a success; turns the registry's refusals into errors. `unknown` is for a plain 404.
fn check_found(
    image: &ImageRef,
    url: &Url,
    response: Response<Body>,
    unknown: impl FnOnce(String) -> Error,
) -> Result<Response<Body>> {
    let status = response.status().as_u16();
    if status == 200 || status == 206 {
        return Ok(response);
    }
    let transport::Explanation { code, detail } = transport::explanation(response);
    let name = image.familiar_name();
    Err(match (status, code.as_str()) {
        (_, "DENIED") | (401 | 403, _) => Error::AccessDenied { name, detail },
        (404, "NAME_UNKNOWN") => Error::RepositoryUnknown { name, detail },
        (404, _) => unknown(detail),
        _ => Error::UnexpectedStatus { url: url.to_string(), status, detail },
    })
}
