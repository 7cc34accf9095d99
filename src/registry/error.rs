//! What can go wrong between a name and verified bytes.

use std::io;
use std::time::Duration;

use super::names;
use super::url::InvalidUrl;
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;

/// A failed exchange with a registry. `detail` is the registry's own explanation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("manifest for {reference} not found: {detail}")]
    ManifestUnknown { reference: String, detail: String },
    #[error("repository {name} not found: {detail}")]
    RepositoryUnknown { name: String, detail: String },
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {detail}"
    )]
    AccessDenied { name: String, detail: String },
    #[error("blob {digest} of {name} not found: {detail}")]
    BlobUnknown { name: String, digest: Digest, detail: String },
    #[error("{host} refused the user name or password: {detail}")]
    LoginRefused { host: String, detail: String },

    #[error("cannot find the address of {host}")]
    NameNotResolved { host: String, source: names::Error },
    #[error("cannot connect to {host}")]
    Unreachable { host: String, source: io::Error },
    #[error("{host} gave no answer for {} seconds", .after.as_secs())]
    Stalled { host: String, after: Duration },
    #[error("the connection to {host} broke")]
    Broken { host: String, source: io::Error },
    #[error(
        "the certificate of {host} is not trusted; add its authority to the system's, or name a file of authorities in SSL_CERT_FILE"
    )]
    Untrusted { host: String, source: rustls::Error },
    #[error("no secure connection to {host}; plain http is for registries on this machine only")]
    Tls { host: String, source: io::Error },
    #[error("cannot read the trusted certificates in {path}")]
    Certificates { path: String, source: io::Error },
    #[error(
        "no trusted certificates found on this machine; install the ca-certificates package or set SSL_CERT_FILE"
    )]
    NoCertificates,
    #[error("invalid proxy {proxy:?}; expected http://HOST:PORT")]
    InvalidProxy { proxy: String },

    #[error("{host} answers too many requests for now{}: {detail}", retry_hint(.retry_after))]
    RateLimited { host: String, retry_after: Option<Duration>, detail: String },
    #[error("{host} failed with status {status}: {detail}")]
    ServerFailure { host: String, status: u16, detail: String },
    #[error("unexpected status {status} from {url}: {detail}")]
    UnexpectedStatus { url: String, status: u16, detail: String },
    #[error("{host} redirects too often")]
    TooManyRedirects { host: String },
    #[error("{host} redirects to an unusable address")]
    BadRedirect { host: String, source: InvalidUrl },
    #[error("{host} redirects from https to plain http ({location}); not followed")]
    InsecureRedirect { host: String, location: String },
    #[error("{host} asks for a login in a way that is not understood: {challenge}")]
    UnknownChallenge { host: String, challenge: String },
    #[error("{host} sends logins to {realm}, which is not a secure address; nothing was sent")]
    InsecureRealm { host: String, realm: String },
    #[error("{host} asks for a password over plain http; nothing was sent")]
    InsecureLogin { host: String },
    #[error("the answer of {host} to a range request is wrong: {detail}")]
    BadRange { host: String, detail: String },

    #[error("wrong digest: {what} should be {expected} but is {actual}")]
    WrongDigest { what: String, expected: Digest, actual: Digest },
    #[error("wrong size: {digest} should have {declared} bytes but {host} sends {received}")]
    WrongSize { host: String, digest: Digest, declared: u64, received: u64 },
    #[error("wrong size: {digest} should have {declared} bytes but {host} sends more")]
    Oversized { host: String, digest: Digest, declared: u64 },
    #[error("truncated: {digest} should have {declared} bytes but {host} sends only {received}")]
    Truncated { host: String, digest: Digest, declared: u64, received: u64 },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },

    #[error("{what} cannot be read")]
    Malformed { what: String, source: serde_json::Error },
    #[error("{what} is refused: {why}")]
    Ambiguous { what: String, why: &'static str },
    #[error("{what} has a digest that is not supported: {digest}")]
    UnsupportedDigest { what: String, digest: String },
    #[error("unknown media type {media_type:?} of {what}")]
    UnknownMediaType { what: String, media_type: String },
    #[error("{reference} is no container image: its configuration is of type {media_type:?}")]
    NotAnImage { reference: String, media_type: String },
    #[error(
        "{reference} is stored in docker's schema 1 format, which is no longer supported; push it again with a newer tool"
    )]
    Schema1 { reference: String },
    #[error(
        "layer {digest} of {reference} may not be distributed by the registry (media type {media_type}); such images cannot be pulled"
    )]
    ForeignLayer { reference: String, digest: Digest, media_type: String },
    #[error("no matching manifest for {wanted} in the manifest list entries: {reference} has {available}")]
    NoMatchingPlatform { reference: String, wanted: Platform, available: String },
    #[error("{reference}: its indexes are nested too deep")]
    NestedTooDeep { reference: String },
}

pub type Result<T> = std::result::Result<T, Error>;

fn retry_hint(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!(" (try again in {} seconds)", wait.as_secs()),
        None => String::new(),
    }
}

impl Error {
    /// Whether the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Stalled { .. }
                | Error::Broken { .. }
                | Error::RateLimited { .. }
                | Error::ServerFailure { .. }
        )
    }

    /// For a reader, whose trait allows nothing but an `io::Error`.
    pub fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// Takes an error of `BlobReader` out of the `io::Error` that carried it.
    pub fn from_io(error: io::Error) -> std::result::Result<Error, io::Error> {
        error.downcast::<Error>()
    }
}
