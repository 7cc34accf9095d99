//! Permission to read a repository: the `WWW-Authenticate` challenge, anonymous and password tokens,
//! and their cache. Runs in the client; used by several threads at once.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use ureq::http::{HeaderMap, header};

use super::error::{Error, Result};
use super::transport::{self, Get, Transport};
use super::url::Url;
use crate::spec::image_ref::ImageRef;

/// What a token server may answer at most.
const TOKEN_MAX: u64 = 1024 * 1024;
/// A token's life when the server names none (distribution's token specification).
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// A token so close to its end is not used any more.
const TOKEN_MARGIN: Duration = Duration::from_secs(5);

/// A user's name and password for one registry.
#[derive(Clone)]
pub struct Credentials {
    /// `docker.io`, `localhost:5000`: no other registry is ever told.
    pub registry: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .finish()
    }
}

impl Credentials {
    fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// A value for the `Authorization` header, good until it expires.
#[derive(Debug, Clone)]
struct Grant {
    header: String,
    expires: Option<Instant>,
}

impl Grant {
    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() + TOKEN_MARGIN < expires)
    }
}

/// Grants by (registry, repository): realm, service and scope follow from these two.
#[derive(Debug)]
pub struct Authorizer {
    credentials: Option<Credentials>,
    grants: Mutex<HashMap<(String, String), Grant>>,
}

impl Authorizer {
    pub fn new(credentials: Option<Credentials>) -> Authorizer {
        Authorizer { credentials, grants: Mutex::default() }
    }

    /// The header that worked last for this repository, if it is still good.
    pub fn current(&self, image: &ImageRef) -> Option<String> {
        let grants = self.lock();
        grants.get(&key(image)).filter(|grant| grant.is_fresh()).map(|grant| grant.header.clone())
    }

    /// A new header after `refused` (or none at all) was answered with a challenge. The flag says
    /// whether it was fetched just now, and not by another thread in the meantime.
    pub fn renew(
        &self,
        transport: &Transport,
        url: &Url,
        image: &ImageRef,
        refused: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(String, bool)> {
        // Held while fetching, so that threads that are refused together fetch one token together.
        let mut grants = self.lock();
        let is_other = |grant: &&Grant| grant.is_fresh() && refused != Some(grant.header.as_str());
        if let Some(grant) = grants.get(&key(image)).filter(is_other) {
            return Ok((grant.header.clone(), false));
        }
        let grant = self.answer(transport, url, image, headers)?;
        let header = grant.header.clone();
        grants.insert(key(image), grant);
        Ok((header, true))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        transport: &Transport,
        url: &Url,
        image: &ImageRef,
        headers: &HeaderMap,
    ) -> Result<Grant> {
        let host = || url.authority().to_owned();
        let credentials = self.credentials.as_ref().filter(|c| c.registry == image.domain());
        let challenges: Vec<Challenge> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        if let Some(bearer) = challenges.iter().find(|c| c.scheme == "bearer") {
            return fetch_token(transport, url, image, credentials, bearer);
        }
        if challenges.iter().any(|c| c.scheme == "basic") {
            let Some(credentials) = credentials else {
                let detail = "unauthorized: authentication required".to_owned();
                return Err(Error::AccessDenied { name: image.familiar_name(), detail });
            };
            if !url.is_tls() && !url.is_loopback() {
                return Err(Error::InsecureLogin { host: host() });
            }
            return Ok(Grant { header: credentials.basic(), expires: None });
        }
        let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
        Err(Error::UnknownChallenge { host: host(), challenge: format!("{:?}", schemes.join(", ")) })
    }
}

fn key(image: &ImageRef) -> (String, String) {
    (image.domain().to_owned(), image.path().to_owned())
}

/// Asks the challenge's realm for a token to pull.
fn fetch_token(
    transport: &Transport,
    registry: &Url,
    image: &ImageRef,
    credentials: Option<&Credentials>,
    challenge: &Challenge,
) -> Result<Grant> {
    #[derive(Deserialize)]
    struct Token {
        #[serde(default)]
        token: String,
        #[serde(default)]
        access_token: String,
        expires_in: Option<u64>,
    }
    let realm = challenge.parameter("realm").unwrap_or_default();
    let insecure = || Error::InsecureRealm { host: registry.authority().to_owned(), realm: realm.to_owned() };
    let mut url = registry
        .join(realm)
        .map_err(|source| Error::BadRedirect { host: registry.authority().to_owned(), source })?;
    if !url.is_tls() && !url.is_loopback() {
        return Err(insecure());
    }
    if let Some(service) = challenge.parameter("service") {
        url = url.with_query("service", service);
    }
    url = url.with_query("scope", &format!("repository:{}:pull", image.path()));

    let basic = credentials.map(Credentials::basic);
    let asked = Instant::now();
    let response = transport.send(&url, &Get { authorization: basic.as_deref(), ..Get::default() })?;
    let response = transport::check_server(&url, response)?;
    let status = response.status().as_u16();
    if status != 200 {
        let detail = transport::explanation(response).detail;
        return Err(match (status, basic) {
            (401 | 403, Some(_)) => Error::LoginRefused { host: url.authority().to_owned(), detail },
            (401 | 403, None) => Error::AccessDenied { name: image.familiar_name(), detail },
            _ => Error::UnexpectedStatus { url: url.to_string(), status, detail },
        });
    }
    let what = format!("the token from {}", url.authority());
    let mut body = Vec::new();
    let reader = response.into_body().into_reader();
    reader.take(TOKEN_MAX).read_to_end(&mut body).map_err(|e| transport.explain_io(&url, e))?;
    let token: Token =
        serde_json::from_slice(&body).map_err(|source| Error::Malformed { what: what.clone(), source })?;
    let text = if token.token.is_empty() { token.access_token } else { token.token };
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Ambiguous { what, why: "it holds no usable token" });
    }
    let life = token.expires_in.map_or(TOKEN_LIFE, Duration::from_secs);
    Ok(Grant { header: format!("Bearer {text}"), expires: asked.checked_add(life) })
}

/// One challenge of a `WWW-Authenticate` header; scheme and parameter names in lower case.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Splits a header into its challenges (RFC 9110 section 11.6.1): one header may hold several.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            // The padding of an old-style token, or a parameter of nothing: skip one character.
            (Some(value), None) => rest = value,
            (Some(value), Some(challenge)) => {
                let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (None, _) => {
                if !word.is_empty() {
                    found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                }
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// A bare or quoted value, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[place + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_challenges() {
        let all = challenges(
            r#"Basic realm="a \"b\", c", Bearer realm="https://auth.example/token",service=reg,scope="repository:x:pull,push" , Negotiate"#,
        );
        let schemes: Vec<&str> = all.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "negotiate"]);
        assert_eq!(all[0].parameter("realm"), Some("a \"b\", c"));
        assert_eq!(all[1].parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(all[1].parameter("service"), Some("reg"));
        assert_eq!(all[1].parameter("scope"), Some("repository:x:pull,push"));
        assert_eq!(all[2].parameters, []);
    }

    #[test]
    fn a_password_is_never_shown() {
        let credentials =
            Credentials { registry: "r".into(), username: "u".into(), password: "secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
        assert_eq!(credentials.basic(), "Basic dTpzZWNyZXQ=");
    }

    proptest! {
        #[test]
        fn any_header_ends(text in "\\PC{0,60}") {
            challenges(&text);
        }

        #[test]
        fn any_punctuation_ends(text in "[a-b\"=, \\\\]{0,30}") {
            challenges(&text);
        }
    }
}
