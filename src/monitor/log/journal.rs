//! The systemd journal: one datagram a line, with the fields that docker's driver gives
//! (systemd.journal-fields(7), native protocol).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Stream;

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    /// The fields that are the same for every line, encoded.
    fields: Vec<u8>,
    /// Drop lines that the journal does not take at once.
    lossy: bool,
}

impl Journal {
    /// `fields`: names of the journal's form and their values.
    pub fn open(socket: &Path, fields: &[(String, String)], lossy: bool) -> io::Result<Journal> {
        let connection = UnixDatagram::unbound()?;
        connection.connect(socket)?;
        connection.set_nonblocking(lossy)?;
        let mut encoded = Vec::new();
        fields.iter().for_each(|(name, value)| put(&mut encoded, name, value.as_bytes()));
        Ok(Journal { socket: connection, fields: encoded, lossy })
    }

    /// Sends one line, with or without its end. `partial`: more of the same line follows.
    pub fn send(&self, stream: Stream, line: &[u8], partial: bool) -> io::Result<()> {
        let mut message = Vec::with_capacity(self.fields.len() + line.len() + 80);
        put(&mut message, "MESSAGE", line.strip_suffix(b"\n").unwrap_or(line));
        // LOG_INFO and LOG_ERR, as docker's.
        put(&mut message, "PRIORITY", if stream == Stream::Stderr { b"3" } else { b"6" });
        if partial {
            put(&mut message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        message.extend_from_slice(&self.fields);
        match self.socket.send(&message) {
            Err(error) if self.lossy && error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The fields of a container's lines; attributes get names that the journal takes.
pub fn fields(
    id: &str,
    name: &str,
    image: &str,
    tag: &str,
    attributes: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let own = [
        ("CONTAINER_ID", &id[..id.len().min(12)]),
        ("CONTAINER_ID_FULL", id),
        ("CONTAINER_NAME", name),
        ("CONTAINER_TAG", tag),
        ("IMAGE_NAME", image),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let given = attributes.iter().map(|(key, value)| (field_name(key), value.clone()));
    own.into_iter().chain(given.filter(|(key, _)| !key.is_empty())).collect()
}

/// Upper case letters, digits and `_`, and no `_` at the start, which the journal keeps to itself.
fn field_name(key: &str) -> String {
    let name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    name.trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram_of_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let attributes = BTreeMap::from([("_com.x".to_owned(), "1\n2".to_owned())]);
        let fields = fields("0123456789abcdef", "web", "tiny", "t", &attributes);
        let sender = Journal::open(&path, &fields, false).unwrap();
        sender.send(Stream::Stderr, b"hello\n", false).unwrap();
        let mut bytes = [0; 1000];
        let length = journal.recv(&mut bytes).unwrap();
        let expected = "MESSAGE=hello\nPRIORITY=3\nCONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL=0123456789abcdef\n\
             CONTAINER_NAME=web\nCONTAINER_TAG=t\nIMAGE_NAME=tiny\nSYSLOG_IDENTIFIER=t\n\
             COM_X\n\x03\0\0\0\0\0\0\x001\n2\n";
        assert_eq!(String::from_utf8_lossy(&bytes[..length]), expected);
        sender.send(Stream::Stdout, b"a", true).unwrap();
        let length = journal.recv(&mut bytes).unwrap();
        let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(said.starts_with("MESSAGE=a\nPRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\n"), "{said}");
    }
}
