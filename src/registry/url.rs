//! Absolute http(s) addresses: only as much as following redirects safely needs.
//! Runs in the client; pure.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// An absolute `http` or `https` address without user information or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    authority: String,
    path: String,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an http or https address")]
pub struct InvalidUrl(pub String);

impl Url {
    /// `authority` is `host[:port]`; `path` starts with a slash and may hold a query.
    pub fn new(tls: bool, authority: &str, path: &str) -> Url {
        Url { tls, authority: authority.to_ascii_lowercase(), path: path.to_owned() }
    }

    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
        let invalid = || InvalidUrl(text.to_owned());
        let (before_fragment, _) = text.split_once('#').unwrap_or((text, ""));
        let uri: Uri = before_fragment.parse().map_err(|_| invalid())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?.as_str();
        if authority.is_empty() || authority.contains('@') {
            return Err(invalid());
        }
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Url::new(tls, authority, &format!("{slash}{path}")))
    }

    /// Resolves a `Location` header against this address (RFC 3986 section 5, the forms in use).
    pub fn join(&self, location: &str) -> Result<Url, InvalidUrl> {
        let scheme = if self.tls { "https" } else { "http" };
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        if location.starts_with("//") {
            return Url::parse(&format!("{scheme}:{location}"));
        }
        let (base, _) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{base}{location}"),
            _ => format!("{directory}/{location}"),
        };
        Url::parse(&format!("{scheme}://{}{path}", self.authority))
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// `host[:port]`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without port and brackets.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// Whether both addresses name the same server, so that what is secret to one may be told the other.
    pub fn same_origin(&self, other: &Url) -> bool {
        let with_port = |url: &Url| {
            let port = url.authority[url.host_end()..].strip_prefix(':').map(str::to_owned);
            let default = if url.tls { "443" } else { "80" };
            (url.tls, url.host().to_owned(), port.unwrap_or_else(|| default.to_owned()))
        };
        with_port(self) == with_port(other)
    }

    fn host_end(&self) -> usize {
        match self.authority.rfind(']') {
            Some(bracket) => bracket + 1,
            None => self.authority.find(':').unwrap_or(self.authority.len()),
        }
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.authority)
    }

    /// The address with `name=value` added to its query, percent-encoded.
    pub fn with_query(mut self, name: &str, value: &str) -> Url {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        for &b in value.as_bytes() {
            if b.is_ascii_alphanumeric() || b"-._~:/,".contains(&b) {
                self.path.push(char::from(b));
            } else {
                self.path.push_str(&format!("%{b:02X}"));
            }
        }
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }
}

/// The host part of `host[:port]`, without brackets.
pub fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

/// Whether `host[:port]` is this machine itself: `localhost`, 127.0.0.0/8 or ::1.
pub fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_locations() {
        let base = Url::parse("https://h:8443/v2/x/blobs/y?z=1").unwrap();
        for (location, target) in [
            ("https://cdn.example/b?sig=%2F", "https://cdn.example/b?sig=%2F"),
            ("http://CDN.example", "http://cdn.example/"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/b?u=http://q", "https://h:8443/b?u=http://q"),
            ("b", "https://h:8443/v2/x/blobs/b"),
            ("?k=v", "https://h:8443/v2/x/blobs/y?k=v"),
            ("/b#part", "https://h:8443/b"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), target, "{location}");
        }
        for location in ["ftp://x/y", "https://user:pw@h/", "https://", "/a b"] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn compares_origins() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://h/a").same_origin(&url("https://H:443/b")));
        assert!(!url("https://h/a").same_origin(&url("http://h/a")));
        assert!(!url("https://h/a").same_origin(&url("https://h:444/a")));
        assert!(!url("https://h/a").same_origin(&url("https://h.evil/a")));
        assert!(url("http://[::1]:80/").same_origin(&url("http://[::1]/")));
    }

    #[test]
    fn knows_loopback() {
        for yes in ["localhost", "LOCALHOST:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["localhost.example", "128.0.0.1", "[::2]", "example:127"] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn encodes_queries() {
        let url = Url::parse("https://a/token?x=1").unwrap().with_query("service", "a b&c");
        assert_eq!(url.to_string(), "https://a/token?x=1&service=a%20b%26c");
    }
}
