//! Names of images: docker's reference grammar and defaults, parsed by hand.
//!
//! `redis` means `docker.io/library/redis:latest`. The grammar is that of the distribution project's
//! reference package: `[domain[:port]/]path[:tag][@digest]`. A regular expression for it costs 40 ms
//! to compile, which is more than a container start may take.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

/// The registry of names that give none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

/// A normalised image name with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name; the words are docker's.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum InvalidReference {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error("repository name must not be more than {PATH_LENGTH_MAX} characters")]
    TooLong,
}

impl ImageRef {
    /// Parses what a user typed; a name with neither tag nor digest gets the tag `latest`.
    pub fn parse(text: &str) -> Result<ImageRef, InvalidReference> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(InvalidReference::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let name = remainder.split_once(':').map_or(remainder.as_str(), |(name, _)| name);
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidReference::Uppercase(name.to_owned()));
        }
        if !is_domain(&domain) {
            return Err(InvalidReference::Format);
        }

        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| InvalidReference::Format)?)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_path(path) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(InvalidReference::Format);
        }
        if path.len() > PATH_LENGTH_MAX {
            return Err(InvalidReference::TooLong);
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        Ok(ImageRef { domain, path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/redis`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at one digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> ImageRef {
        ImageRef { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The short form that docker prints: `redis:latest`, `localhost:5000/x:tag`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), Suffix(self))
    }

    /// The short form of the repository alone: `redis`, `localhost:5000/x`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            // A path whose first component reads as a domain needs its own domain in front.
            _ if split_domain(&self.path).0 != DEFAULT_DOMAIN => self.name(),
            _ => self.path.clone(),
        }
    }

    /// The repository with its registry: `docker.io/library/redis`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
}

/// `:tag`, `@digest` or both, as they follow a name.
struct Suffix<'a>(&'a ImageRef);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The canonical form: `docker.io/library/redis:latest`.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, Suffix(self))
    }
}

impl FromStr for ImageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<ImageRef, InvalidReference> {
        ImageRef::parse(text)
    }
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ImageRef, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Splits the registry off. The first component is one only if it could not be a user's name on the
/// default registry: `localhost`, or something with a dot, a colon or an upper-case letter.
fn split_domain(text: &str) -> (String, String) {
    let (domain, path) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((LEGACY_DEFAULT_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest)) => {
            let domain = first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase());
            if domain { (first, rest) } else { (DEFAULT_DOMAIN, text) }
        }
    };
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let prefix = if official { OFFICIAL_PREFIX } else { "" };
    (domain.to_owned(), format!("{prefix}{path}"))
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

/// `host[:port]`, where host is dot-separated labels or an IPv6 address in brackets.
fn is_domain(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let address_ok = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return address_ok && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Runs of lower-case letters and digits joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&b| word(b))
        && bytes.len() <= TAG_LENGTH_MAX
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        ImageRef::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).to_string()
    }

    #[test]
    fn fills_in_dockers_defaults() {
        let hex = "0a".repeat(32);
        let digest = format!("sha256:{hex}");
        for (typed, full, familiar) in [
            ("redis", "docker.io/library/redis:latest", "redis:latest"),
            ("redis:7", "docker.io/library/redis:7", "redis:7"),
            ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("index.docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("library/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("grafana/loki", "docker.io/grafana/loki:latest", "grafana/loki:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x:tag", "localhost:5000/x:tag", "localhost:5000/x:tag"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("Host/x", "Host/x:latest", "Host/x:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            ("a__b-----c.d_e", "docker.io/library/a__b-----c.d_e:latest", "a__b-----c.d_e:latest"),
        ] {
            assert_eq!(canonical(typed), full);
            assert_eq!(ImageRef::parse(typed).unwrap().familiar(), familiar);
        }
        assert_eq!(canonical(&format!("redis@{digest}")), format!("docker.io/library/redis@{digest}"));
        let both = ImageRef::parse(&format!("redis:7@{digest}")).unwrap();
        assert_eq!((both.tag(), both.digest().unwrap().to_string()), (Some("7"), digest.clone()));
        assert_eq!(both.to_string(), format!("docker.io/library/redis:7@{digest}"));
        assert_eq!(both.with_digest(digest.parse().unwrap()).familiar(), format!("redis@{digest}"));
    }

    #[test]
    fn refuses_with_dockers_words() {
        let message = |text: &str| ImageRef::parse(text).expect_err(text).to_string();
        let must_be_lowercase = "invalid reference format: repository name (library/Redis) must be lowercase";
        assert_eq!(message("Redis:7"), must_be_lowercase);
        assert_eq!(
            message("ghcr.io/Me/x"),
            "invalid reference format: repository name (Me/x) must be lowercase"
        );
        let long_tag = format!("x:{}", "t".repeat(129));
        for text in [
            "",
            ":7",
            "redis:",
            "redis:a b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a._b",
            "x@",
            "x@sha256:00",
            "x:.t",
            "x:-t",
            "-h.io/x",
            "h-.io/x",
            "h.io:port/x",
            "h.io:99999/x",
            "[::1/x",
            "é",
            "a@b",
            &long_tag,
        ] {
            assert_eq!(message(text), "invalid reference format", "{text:?}");
        }
        assert_eq!(
            message(&format!("q/{}", "a".repeat(254))),
            "repository name must not be more than 255 characters"
        );
        assert!(message(&"ab".repeat(32)).ends_with("cannot specify 64-byte hexadecimal strings"));
    }

    #[test]
    fn serialises_as_the_canonical_text() {
        let name = ImageRef::parse("redis").unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, "\"docker.io/library/redis:latest\"");
        assert_eq!(serde_json::from_str::<ImageRef>(&json).unwrap(), name);
    }

    proptest! {
        #[test]
        fn canonical_and_familiar_forms_parse_back(
            domain in prop::option::of("[a-z0-9]{1,5}(\\.[a-z0-9]{1,4}){1,2}(:[1-9][0-9]{0,3})?|localhost(:5000)?"),
            path in "[a-z0-9]{1,6}([._-][a-z0-9]{1,3})?(/[a-z0-9]{1,6}(__[a-z0-9]{1,3})?){0,3}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in prop::option::of("sha256:[a-f0-9]{64}"),
        ) {
            let domain = domain.map(|d| d + "/").unwrap_or_default();
            let tag = tag.map(|t| format!(":{t}")).unwrap_or_default();
            let digest = digest.map(|d| format!("@{d}")).unwrap_or_default();
            let name = ImageRef::parse(&format!("{domain}{path}{tag}{digest}")).unwrap();
            prop_assert_eq!(&ImageRef::parse(&name.to_string()).unwrap(), &name);
            prop_assert_eq!(&ImageRef::parse(&name.familiar()).unwrap(), &name);
            prop_assert_eq!(name.tag(), tag.strip_prefix(':').or(digest.is_empty().then_some("latest")));
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "\\PC{0,80}") {
            if let Ok(name) = ImageRef::parse(&text) {
                prop_assert_eq!(ImageRef::parse(&name.to_string()), Ok(name));
            }
        }

        #[test]
        fn near_names_are_refused_or_round_trip(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,40}") {
            if let Ok(name) = ImageRef::parse(&text) {
                prop_assert_eq!(ImageRef::parse(&name.familiar()), Ok(name));
            }
        }
    }
}
