//! A blob as a stream: size and digest verified, broken connections resumed where they broke.
//! Runs in the client, one reader per thread.

use std::io::{self, Read};

use ureq::http::{HeaderMap, header};
use ureq::{Body, BodyReader};

use super::error::{Error, Result};
use super::manifest::Descriptor;
use super::transport::Get;
use super::url::Url;
use super::{Client, check_found, text_header};
use crate::spec::digest::Hasher;
use crate::spec::image_ref::ImageRef;

/// So many new bytes prove that a server works; a failure after them is counted as a first one again.
const PROGRESS: u64 = 64 * 1024;

/// Reads a blob. `read` returns 0 only after size and digest were found right; every failure is an
/// `io::Error` that wraps this module's `Error` (`Error::from_io`).
pub struct BlobReader<'a> {
    client: &'a Client,
    image: ImageRef,
    blob: Descriptor,
    /// Taken when it proves wrong, so that nothing is read after an error.
    hasher: Option<Hasher>,
    stream: Option<Stream>,
    /// Bytes handed out.
    position: u64,
    failures: u32,
    position_at_failure: u64,
    is_verified: bool,
}

/// One connection's part.
struct Stream {
    url: Url,
    body: BodyReader<'static>,
    /// Bytes to pass over: a server may answer a range request with everything.
    skip: u64,
}

impl std::fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader").field("blob", &self.blob).field("position", &self.position).finish()
    }
}

impl<'a> BlobReader<'a> {
    pub(super) fn open(client: &'a Client, image: ImageRef, blob: Descriptor) -> Result<BlobReader<'a>> {
        let hasher = Some(Hasher::new(blob.digest.algorithm()));
        let mut reader = BlobReader {
            client,
            image,
            blob,
            hasher,
            stream: None,
            position: 0,
            failures: 0,
            position_at_failure: 0,
            is_verified: false,
        };
        let stream = client.retry(|| reader.connect())?;
        reader.stream = Some(stream);
        Ok(reader)
    }

    fn connect(&self) -> Result<Stream> {
        let path = format!("/v2/{}/blobs/{}", self.image.path(), self.blob.digest);
        let get = Get { from: self.position, ..Get::default() };
        let (url, response) = self.client.get(&self.image, &path, &get)?;
        let response = check_found(&self.image, &url, response, |detail| Error::BlobUnknown {
            name: self.image.familiar_name(),
            digest: self.blob.digest.clone(),
            detail,
        })?;
        let is_partial = response.status().as_u16() == 206;
        if is_partial {
            self.check_range(&url, response.headers())?;
        }
        let (skip, expected) =
            if is_partial { (0, self.blob.size - self.position) } else { (self.position, self.blob.size) };
        let announced = content_length(response.body(), response.headers());
        if let Some(length) = announced.filter(|length| *length != expected) {
            return Err(Error::WrongSize {
                host: url.authority().to_owned(),
                digest: self.blob.digest.clone(),
                declared: self.blob.size,
                received: length + self.position - skip,
            });
        }
        Ok(Stream { url, body: response.into_body().into_reader(), skip })
    }

    /// A 206 must start where it was asked to, and be about a blob of this size.
    fn check_range(&self, url: &Url, headers: &HeaderMap) -> Result<()> {
        let text = text_header(headers, header::CONTENT_RANGE.as_str()).unwrap_or_default();
        let parsed = text.strip_prefix("bytes ").and_then(|range| {
            let (range, total) = range.split_once('/')?;
            let (start, end) = range.split_once('-')?;
            let total = if total == "*" { self.blob.size } else { total.parse().ok()? };
            Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?, total))
        });
        match parsed {
            Some((start, end, total))
                if start == self.position && total == self.blob.size && end.checked_add(1) == Some(total) =>
            {
                Ok(())
            }
            _ => Err(Error::BadRange {
                host: url.authority().to_owned(),
                detail: format!("asked for {}-, got {text:?}", self.position),
            }),
        }
    }

    /// Gets a new connection after a failure, or gives the failure back.
    fn resume(&mut self, mut failure: Error) -> Result<()> {
        self.stream = None;
        if self.position - self.position_at_failure >= PROGRESS {
            self.failures = 0;
        }
        self.position_at_failure = self.position;
        loop {
            // A registry that just worked and now refuses connections may be restarting.
            if !failure.is_transient() && !matches!(failure, Error::Unreachable { .. }) {
                return Err(failure);
            }
            self.failures += 1;
            self.client.pause(self.failures, failure)?;
            match self.connect() {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(e) => failure = e,
            }
        }
    }

    /// All bytes are here: there must be no more, and they must be the right ones.
    fn verify(&mut self) -> Result<()> {
        if let Some(Stream { url, mut body, .. }) = self.stream.take() {
            // Also lets the connection be used again. A failure after the last byte harms nothing.
            if body.read(&mut [0]).is_ok_and(|length| length > 0) {
                let (digest, declared) = (self.blob.digest.clone(), self.blob.size);
                return Err(Error::Oversized { host: url.authority().to_owned(), digest, declared });
            }
        }
        let Some(hasher) = self.hasher.take() else { return Err(self.spent()) };
        let actual = hasher.finish();
        if actual != self.blob.digest {
            let what = format!("a blob of {}", self.image.familiar_name());
            return Err(Error::WrongDigest { what, expected: self.blob.digest.clone(), actual });
        }
        self.is_verified = true;
        Ok(())
    }

    /// What a read after a failed one gets.
    fn spent(&self) -> Error {
        let source = io::Error::other("an earlier read failed");
        Error::Broken { host: self.image.domain().to_owned(), source }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let left = self.blob.size - self.position;
            if left == 0 {
                if !self.is_verified {
                    self.verify()?;
                }
                return Ok(0);
            }
            let Some(stream) = &mut self.stream else { return Err(self.spent()) };
            let wanted = if stream.skip > 0 { stream.skip } else { left };
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(buffer.len());
            match stream.body.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    let failure = Error::Truncated {
                        host: stream.url.authority().to_owned(),
                        digest: self.blob.digest.clone(),
                        declared: self.blob.size,
                        received: self.position,
                    };
                    return Err(failure);
                }
                Ok(length) if stream.skip > 0 => stream.skip -= length as u64,
                Ok(length) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&buffer[..length]);
                    }
                    self.position += length as u64;
                    return Ok(length);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let failure = self.client.transport.explain_io(&stream.url, e);
                    self.resume(failure)?;
                }
            }
        }
    }
}

/// The length that the server announces, if it does.
fn content_length(body: &Body, headers: &HeaderMap) -> Option<u64> {
    body.content_length().or_else(|| text_header(headers, header::CONTENT_LENGTH.as_str())?.parse().ok())
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.try_read(buffer).map_err(|e| {
            (self.stream, self.hasher) = (None, None);
            e.into_io()
        })
    }
}
