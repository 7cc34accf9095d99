//! Test data: archives member by member, with everything a well-behaved writer would refuse, and a
//! directory to unpack them into.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::tarsplit;
use super::unpack::{Error, Options, Owners, Summary, Whiteouts, unpack};
use crate::sys::path::Root;

/// An archive in the making.
#[derive(Clone, Default)]
pub(super) struct Tar(Vec<u8>);

/// One member's header fields; `add` writes it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: i64,
    pub link: Vec<u8>,
    pub data: Vec<u8>,
    /// Claimed size when it is not the data's.
    pub size: Option<u64>,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn member(kind: u8, name: impl AsRef<[u8]>) -> Member {
    Member {
        name: name.as_ref().to_vec(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        owner: (0, 0),
        mtime: 1_000_000_000,
        link: Vec::new(),
        data: Vec::new(),
        size: None,
        pax: Vec::new(),
    }
}

pub(super) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Member {
    Member { data: data.as_ref().to_vec(), ..member(b'0', name) }
}

pub(super) fn dir(name: impl AsRef<[u8]>) -> Member {
    member(b'5', name)
}

pub(super) fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..member(b'2', name) }
}

pub(super) fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..member(b'1', name) }
}

impl Member {
    pub fn mode(mut self, mode: u32) -> Member {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Member {
        self.owner = (uid, gid);
        self
    }

    pub fn mtime(mut self, mtime: i64) -> Member {
        self.mtime = mtime;
        self
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Member {
        self.pax.push((key.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The 512 bytes, without what does not fit.
    pub fn header(&self) -> [u8; 512] {
        let mut header = tar::Header::new_gnu();
        let bytes = header.as_mut_bytes();
        let name = &self.name[..self.name.len().min(100)];
        bytes[..name.len()].copy_from_slice(name);
        let link = &self.link[..self.link.len().min(100)];
        bytes[157..157 + link.len()].copy_from_slice(link);
        bytes[156] = self.kind;
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        if self.mtime >= 0 {
            header.set_mtime(self.mtime as u64);
        } else {
            let field = &mut header.as_mut_bytes()[136..148];
            field.fill(0xff);
            field[4..].copy_from_slice(&self.mtime.to_be_bytes());
        }
        header.set_cksum();
        *header.as_bytes()
    }
}

impl Tar {
    pub fn add(mut self, member: Member) -> Tar {
        if !member.pax.is_empty() {
            let records =
                member.pax.iter().map(|(key, value)| pax_record(key, value)).collect::<Vec<_>>().concat();
            self = self.add(Member { pax: Vec::new(), ..file("PaxHeaders/x", records) }.kind(b'x'));
        }
        self.raw(member.header()).padded(&member.data)
    }

    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Tar {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    pub fn padded(mut self, data: &[u8]) -> Tar {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive so far, without an end.
    pub fn open_end(self) -> Vec<u8> {
        self.0
    }

    pub fn end(self) -> Vec<u8> {
        self.raw([0; 1024]).0
    }
}

impl Member {
    pub fn kind(mut self, kind: u8) -> Member {
        self.kind = kind;
        self
    }
}

fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A place to unpack into: `outside` beside the tree must never change.
pub(super) struct Target {
    directory: tempfile::TempDir,
}

pub(super) const RECORDED: Options =
    Options { owners: Owners::Recorded, whiteouts: Whiteouts::Device, umask_is_zero: false };

impl Target {
    pub fn new() -> Target {
        let directory = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(directory.path().join("diff")).expect("mkdir");
        std::fs::create_dir(directory.path().join("outside")).expect("mkdir");
        std::fs::write(directory.path().join("outside/secret"), "secret").expect("write");
        Target { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("diff").join(name)
    }

    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub fn root(&self) -> Root {
        Root::open(&self.path("")).expect("open")
    }

    fn layer(&self) -> OwnedFd {
        std::fs::File::open(self.directory.path()).expect("open").into()
    }

    /// Unpacks; on success also proves that the archive can be rebuilt and nothing leaked out.
    pub fn unpack_with(&self, archive: &[u8], options: Options) -> Result<Summary, Error> {
        let result = unpack(archive, self.root(), self.layer(), "replaced", Vec::new(), options);
        let outside: Vec<_> = std::fs::read_dir(self.outside()).expect("listing").collect();
        assert_eq!(outside.len(), 1, "something was written outside");
        assert_eq!(std::fs::read(self.outside().join("secret")).expect("read"), b"secret");
        for entry in std::fs::read_dir(self.directory.path()).expect("listing") {
            let name = entry.expect("entry").file_name();
            assert!(["diff", "outside", "replaced"].iter().any(|known| name == *known), "{name:?} leaked");
        }
        let (summary, record) = result?;
        let mut rebuilt = Vec::new();
        let replaced = tarsplit::open_replaced(self.layer(), "replaced").expect("open");
        let replaced = replaced.as_ref().map(std::os::fd::AsFd::as_fd);
        tarsplit::rebuild(record.as_slice(), &self.root(), replaced, &mut rebuilt).expect("rebuilt");
        assert!(rebuilt == archive, "the rebuilt archive differs");
        Ok(summary)
    }

    pub fn unpack(&self, archive: &[u8]) -> Result<Summary, Error> {
        self.unpack_with(archive, RECORDED)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("readable")
    }

    pub fn metadata(&self, name: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.path(name)).expect("there")
    }

    pub fn exists(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.path(name)).is_ok()
    }

    pub fn xattr(&self, name: &str, attribute: &std::ffi::CStr) -> Option<Vec<u8>> {
        let file = std::fs::File::open(self.path(name)).expect("open");
        crate::sys::xattr::get(&file, attribute).expect("readable")
    }
}

/// Unpacks into a new place what must succeed.
pub(super) fn unpacked(tar: Tar) -> (Target, Summary) {
    let target = Target::new();
    let summary = target.unpack(&tar.end()).expect("unpacked");
    (target, summary)
}

/// Unpacks into a new place what must be refused.
pub(super) fn refused(tar: Tar) -> (Target, Error) {
    let target = Target::new();
    let error = target.unpack(&tar.end()).expect_err("refused");
    (target, error)
}
