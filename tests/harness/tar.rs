//! Tar files written byte by byte, so that they can also hold what no honest tool writes.

use std::io::Write;

/// One header and its data; `Entry::file("a", b"x").mode(0o755)`.
#[derive(Clone)]
pub struct Entry {
    name: Vec<u8>,
    kind: u8,
    link: String,
    mode: u32,
    uid: u32,
    gid: u32,
    data: Vec<u8>,
    /// What the header says; the data's length unless it lies.
    size: Option<u64>,
    device: (u32, u32),
}

impl Entry {
    fn new(name: &str, kind: u8) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            kind,
            link: String::new(),
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            data: Vec::new(),
            size: None,
            device: (0, 0),
        }
    }

    pub fn file(name: &str, data: impl AsRef<[u8]>) -> Entry {
        Entry { data: data.as_ref().to_vec(), ..Entry::new(name, b'0') }
    }

    pub fn folder(name: &str) -> Entry {
        Entry::new(name, b'5')
    }

    pub fn symlink(name: &str, target: &str) -> Entry {
        Entry { link: target.to_owned(), ..Entry::new(name, b'2') }
    }

    pub fn hardlink(name: &str, target: &str) -> Entry {
        Entry { link: target.to_owned(), ..Entry::new(name, b'1') }
    }

    pub fn device(name: &str, major: u32, minor: u32) -> Entry {
        Entry { device: (major, minor), ..Entry::new(name, b'3') }
    }

    /// Any type flag.
    pub fn of_kind(name: &str, kind: u8) -> Entry {
        Entry::new(name, kind)
    }

    /// A pax header that gives `records` to the next entry.
    pub fn pax(records: &[(&str, &str)]) -> Entry {
        let data = records.iter().map(|(key, value)| pax_record(key, value)).collect::<String>();
        Entry { data: data.into_bytes(), ..Entry::new("pax", b'x') }
    }

    pub fn mode(self, mode: u32) -> Entry {
        Entry { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Entry {
        Entry { uid, gid, ..self }
    }

    /// A name of any bytes.
    pub fn named(self, name: &[u8]) -> Entry {
        Entry { name: name.to_vec(), ..self }
    }

    /// The size that the header claims.
    pub fn claims(self, size: u64) -> Entry {
        Entry { size: Some(size), ..self }
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut header = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(self.name.len() <= 100 && self.link.len() <= 100, "short names only; longer ones by pax");
        put(0, &self.name);
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        let size = self.size.unwrap_or(self.data.len() as u64);
        if size < 0o77_777_777_777 {
            put(124, format!("{size:011o}").as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
        put(136, format!("{:011o}", 1_700_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", self.device.0).as_bytes());
        put(337, format!("{:07o}", self.device.1).as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(&self.data);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

/// `LENGTH key=value\n`, where the length counts itself.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// A whole archive with its end mark.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut tar = unfinished(entries);
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// An archive that stops without its end mark.
pub fn unfinished(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        entry.write(&mut tar);
    }
    tar
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// The smallest root file system that runs something: a static busybox and its shell.
pub fn busybox_entries() -> Vec<Entry> {
    let busybox = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox"));
    let busybox = busybox.expect("the package busybox-static is installed");
    let mut entries = ["bin", "etc", "tmp"].map(Entry::folder).to_vec();
    entries.push(Entry::file("bin/busybox", busybox).mode(0o755));
    entries.extend(
        ["sh", "cat", "ls", "true", "id", "rm", "mkdir"]
            .map(|name| Entry::symlink(&format!("bin/{name}"), "busybox")),
    );
    entries.push(Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"));
    entries
}
