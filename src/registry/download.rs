//! A plain file from the web, for `import`: nothing vouches for its content. Runs in the client.

use std::io::{self, Read};

use ureq::BodyReader;

use super::Client;
use super::error::{Error, Result};
use super::transport::{self, Get};
use super::url::Url;

/// The bytes of a web address. An end before the announced length is an error.
pub struct Download<'a> {
    client: &'a Client,
    url: Url,
    body: BodyReader<'static>,
}

impl std::fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("url", &self.url).finish()
    }
}

impl Client {
    /// Opens an `http` or `https` address. Read errors are those of `BlobReader`.
    pub fn download(&self, address: &str) -> Result<Download<'_>> {
        let url = Url::parse(address).map_err(|source| Error::BadAddress { source })?;
        let response = self.retry(|| {
            let response = self.transport.send(&url, &Get::default())?;
            transport::check_server(&url, response)
        })?;
        if response.status().as_u16() != 200 {
            let status = response.status().as_u16();
            let detail = transport::explanation(response).detail;
            return Err(Error::UnexpectedStatus { url: url.to_string(), status, detail });
        }
        Ok(Download { client: self, url, body: response.into_body().into_reader() })
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.body.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            result => result.map_err(|e| self.client.transport.explain_io(&self.url, e).into_io()),
        }
    }
}
