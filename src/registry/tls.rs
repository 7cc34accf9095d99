//! The certificate authorities that this host trusts. Runs in the client; read only when https is needed.

use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::tls::Certificate;

use super::error::{Error, Result};

/// Where distributions keep the bundle of all authorities, most common first.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];
/// Where they keep one file for each, if there is no bundle.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// What the user chose by environment variables; each replaces the system's place of its kind.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    /// `SSL_CERT_FILE`.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`, split at colons.
    pub directories: Vec<PathBuf>,
}

impl Authorities {
    /// Reads all trusted certificates. A file that was named and cannot be read is an error.
    pub fn load(&self) -> Result<Vec<Certificate<'static>>> {
        let mut found = Vec::new();
        match &self.file {
            Some(file) => found = read_file(file).map_err(|e| named(file, e))?,
            None => {
                for bundle in BUNDLES {
                    found = read_file(Path::new(bundle)).unwrap_or_default();
                    if !found.is_empty() {
                        break;
                    }
                }
            }
        }
        for directory in &self.directories {
            found.extend(read_directory(directory).map_err(|e| named(directory, e))?);
        }
        if found.is_empty() {
            found =
                DIRECTORIES.iter().flat_map(|d| read_directory(Path::new(d)).unwrap_or_default()).collect();
        }
        if found.is_empty() {
            return Err(Error::NoCertificates);
        }
        // Directories hold the same certificates again under other names.
        found.sort();
        found.dedup();
        Ok(found.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
    }
}

fn named(path: &Path, source: io::Error) -> Error {
    Error::Certificates { path: path.display().to_string(), source }
}

fn read_file(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let text = std::fs::read(path)?;
    // A damaged entry must not hide the others.
    Ok(CertificateDer::pem_slice_iter(&text).flatten().map(|der| der.as_ref().to_vec()).collect())
}

fn read_directory(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_file() {
            // Dead links and private files are common there.
            found.extend(read_file(&path).unwrap_or_default());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    #[test]
    fn reads_files_and_directories_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pem");
        std::fs::write(&file, format!("junk\n{PEM}{}", PEM.replace("AAEC", "BBBB"))).unwrap();
        let certs = dir.path().join("certs");
        std::fs::create_dir(&certs).unwrap();
        std::fs::write(certs.join("b"), PEM).unwrap();
        std::os::unix::fs::symlink("nowhere", certs.join("dead")).unwrap();
        let authorities = Authorities { file: Some(file), directories: vec![certs] };
        assert_eq!(authorities.load().unwrap().len(), 2);
    }

    #[test]
    fn a_named_file_must_exist() {
        let authorities = Authorities { file: Some("/nonexistent.pem".into()), directories: Vec::new() };
        let error = authorities.load().unwrap_err();
        assert_eq!(error.to_string(), "cannot read the trusted certificates in /nonexistent.pem");
    }
}
