//! One HTTP request at a time: which connection pool it uses, how redirects are followed, and what an
//! answer's status means. Runs in the client; used by several threads at once.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy};

use super::error::{Error, Result};
use super::names::{self, HostNames};
use super::proxy::Proxies;
use super::tls::Authorities;
use super::url::Url;

const REDIRECTS_MAX: u32 = 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// A registry on this machine either speaks TLS at once or does not at all.
const LOOPBACK_CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest explanation that is read from a failed answer.
const EXPLANATION_MAX: u64 = 64 * 1024;

/// A GET request.
#[derive(Debug, Clone, Default)]
pub struct Get<'a> {
    /// Empty: anything.
    pub accept: &'a str,
    /// Sent to the address's own server only, never along with a redirect to another.
    pub authorization: Option<&'a str>,
    /// The first byte wanted, when not all are.
    pub from: u64,
}

/// What a connection pool is for; connections of different kinds are never mixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    tls: bool,
    loopback: bool,
    proxy: Option<String>,
}

/// Connection pools and how to make them.
#[derive(Debug)]
pub struct Transport {
    authorities: Authorities,
    proxies: Proxies,
    /// How long a server may send nothing.
    stall_limit: Duration,
    agents: Mutex<HashMap<Kind, Agent>>,
}

impl Transport {
    pub fn new(authorities: Authorities, proxies: Proxies, stall_limit: Duration) -> Transport {
        Transport { authorities, proxies, stall_limit, agents: Mutex::default() }
    }

    /// Sends a request and follows redirects. Any final status is returned, also a failure.
    pub fn send(&self, url: &Url, get: &Get) -> Result<Response<Body>> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let authorization = get.authorization.filter(|_| at.same_origin(url));
            let response = self.send_once(&at, &Get { authorization, ..get.clone() })?;
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let (true, Some(location)) = (is_redirect(response.status().as_u16()), location) else {
                return Ok(response);
            };
            let host = || at.host().to_owned();
            let next = at.join(location).map_err(|source| Error::BadRedirect { host: host(), source })?;
            if at.is_tls() && !next.is_tls() {
                return Err(Error::InsecureRedirect { host: host(), location: location.to_owned() });
            }
            at = next;
        }
        Err(Error::TooManyRedirects { host: url.host().to_owned() })
    }

    fn send_once(&self, url: &Url, get: &Get) -> Result<Response<Body>> {
        let mut request = self.agent(url)?.get(url.to_string());
        if !get.accept.is_empty() {
            request = request.header(header::ACCEPT, get.accept);
        }
        if let Some(authorization) = get.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if get.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", get.from));
        }
        request.call().map_err(|e| self.explain(url, e))
    }

    fn agent(&self, url: &Url) -> Result<Agent> {
        let kind = Kind {
            tls: url.is_tls(),
            loopback: url.is_loopback(),
            proxy: self.proxies.for_url(url).map(str::to_owned),
        };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&kind) {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(&kind)?;
        agents.insert(kind, agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, kind: &Kind) -> Result<Agent> {
        let proxy = match &kind.proxy {
            None => None,
            Some(proxy) => {
                let invalid = |_| Error::InvalidProxy { proxy: proxy.clone() };
                let parsed = Proxy::new(proxy).map_err(invalid)?;
                if !matches!(parsed.protocol(), ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https) {
                    return Err(Error::InvalidProxy { proxy: proxy.clone() });
                }
                Some(parsed)
            }
        };
        let proxy_tls = proxy.as_ref().is_some_and(|proxy| proxy.protocol() == ureq::ProxyProtocol::Https);
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        if kind.loopback {
            // This machine is trusted with plain http too; a certificate of its own making is no worse.
            tls = tls.disable_verification(true).root_certs(RootCerts::new_with_certs(&[]));
        } else if kind.tls || proxy_tls {
            tls = tls.root_certs(RootCerts::new_with_certs(&self.authorities.load()?));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(if kind.loopback { LOOPBACK_CONNECT_LIMIT } else { CONNECT_LIMIT }))
            .timeout_per_read(Some(self.stall_limit))
            .timeout_per_write(Some(self.stall_limit))
            .build();
        Ok(Agent::with_parts(config, DefaultConnector::default(), HostNames::default()))
    }

    /// The error type of a failed exchange with `url`.
    pub fn explain(&self, url: &Url, error: ureq::Error) -> Error {
        let host = url.authority().to_owned();
        match error {
            ureq::Error::Io(source) => self.explain_io(url, source),
            ureq::Error::Rustls(source) => tls_error(host, source),
            ureq::Error::Tls(words) => Error::Tls { host, source: io::Error::other(words) },
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Error::Unreachable { host, source: io::ErrorKind::TimedOut.into() }
            }
            ureq::Error::Timeout(_) => Error::Stalled { host, after: self.stall_limit },
            ureq::Error::ConnectProxyFailed(words) => {
                Error::Unreachable { host, source: io::Error::other(format!("the proxy refused: {words}")) }
            }
            ureq::Error::Other(inner) => match inner.downcast::<names::Error>() {
                Ok(source) => Error::NameNotResolved { host: url.host().to_owned(), source: *source },
                Err(inner) => Error::Broken { host, source: io::Error::other(inner) },
            },
            other => Error::Broken { host, source: other.into_io() },
        }
    }

    /// The same for an error of a body's reader.
    pub fn explain_io(&self, url: &Url, source: io::Error) -> Error {
        let host = url.authority().to_owned();
        if source.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            return match ureq::Error::from(source) {
                // Not an I/O error again, so this ends.
                ureq::Error::Io(source) => Error::Broken { host, source },
                other => self.explain(url, other),
            };
        }
        if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return match source.downcast::<rustls::Error>() {
                Ok(error) => tls_error(host, error),
                Err(source) => Error::Broken { host, source },
            };
        }
        match source.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Error::Unreachable { host, source },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Error::Stalled { host, after: self.stall_limit }
            }
            _ => Error::Broken { host, source },
        }
    }
}

fn tls_error(host: String, source: rustls::Error) -> Error {
    match source {
        rustls::Error::InvalidCertificate(_) => Error::Untrusted { host, source },
        source => Error::Tls { host, source: io::Error::other(source) },
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Turns the statuses that mean the same for every request into errors; returns the others.
pub fn check_server(url: &Url, response: Response<Body>) -> Result<Response<Body>> {
    let host = url.authority().to_owned();
    match response.status().as_u16() {
        429 => {
            let retry_after = retry_after(response.headers());
            Err(Error::RateLimited { host, retry_after, detail: explanation(response).detail })
        }
        status @ 500..=599 => {
            Err(Error::ServerFailure { host, status, detail: explanation(response).detail })
        }
        _ => Ok(response),
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = date.duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// What a registry says about a failure: the first entry of the specification's error list.
#[derive(Debug, Default)]
pub struct Explanation {
    /// `MANIFEST_UNKNOWN` and the like; empty when the answer has no such list.
    pub code: String,
    /// In docker's form: `manifest unknown: manifest unknown`.
    pub detail: String,
}

/// Reads a failed answer's explanation.
pub fn explanation(response: Response<Body>) -> Explanation {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let mut body = Vec::new();
    // Whatever could be read is used.
    let _ = response.into_body().into_reader().take(EXPLANATION_MAX).read_to_end(&mut body);
    let errors = serde_json::from_slice::<Errors>(&body).map(|list| list.errors).unwrap_or_default();
    match errors.into_iter().next() {
        Some(Entry { code, message }) => {
            let words = code.to_lowercase().replace('_', " ");
            let detail = if message.is_empty() { words } else { format!("{words}: {}", printable(&message)) };
            Explanation { code, detail }
        }
        None => {
            let reason = status.canonical_reason().unwrap_or("unknown status");
            Explanation { code: String::new(), detail: format!("{} {reason}", status.as_u16()) }
        }
    }
}

/// A server's words on one line, without anything that a terminal would act on.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}
