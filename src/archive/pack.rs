//! Packs a file or a directory with all below it as a tar stream, with docker's names and order.
//!
//! Runs in the files worker for what is in a container, and in the client for its own files. Everything
//! is opened by its name in an open directory and never through a symbolic link, so whoever changes the
//! tree meanwhile can spoil the archive but not lead out of the tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use serde::{Deserialize, Serialize};
use tar_core::EntryType;
use tar_core::HEADER_SIZE;
use tar_core::builder::EntryBuilder;

use super::FailedCall;
use super::attributes::{CAPABILITY, OWNER};
use super::unpack::{Owners, shown};
use crate::sys;

/// Headers and small payloads leave together in pieces of this size.
const BUFFER: usize = 256 * 1024;
/// Payloads from this size on go from the file to the pipe without a copy in this process.
const LARGE: u64 = 64 * 1024;

/// Why something was not packed. What was written until then is not a whole archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("cannot read {path:?}")]
    Read {
        path: String,
        #[source]
        source: FailedCall,
    },
    #[error("{path:?} changed while it was copied")]
    Changed { path: String },
    #[error("{path:?} cannot be put into an archive: {detail}")]
    Header { path: String, detail: String },
    #[error("cannot write the archive")]
    Write(#[source] FailedCall),
}

impl Error {
    /// Nobody reads the archive any more; the reader knows why.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Write(call) if call.errno == Errno::EPIPE as i32)
    }
}

/// What is packed.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub directory: BorrowedFd<'a>,
    /// An entry of the directory, or `.` for the directory itself.
    pub name: &'a CStr,
    /// What it is called in the archive.
    pub called: &'a [u8],
    /// How owners are kept where the files are.
    pub owners: Owners,
}

/// Writes the archive to `out`, a pipe or a file, and counts its bytes in `done`.
pub fn pack(source: Source<'_>, out: &File, done: &AtomicU64) -> Result<(), Error> {
    let mut packer = Packer {
        out,
        buffer: Vec::with_capacity(BUFFER),
        done,
        links: HashMap::new(),
        owners: source.owners,
        by_hand: false,
    };
    packer.entry(source.directory, source.name, source.called.to_vec(), true)?;
    packer.buffer.resize(packer.buffer.len() + 2 * HEADER_SIZE, 0);
    packer.flush()
}

struct Packer<'a> {
    out: &'a File,
    buffer: Vec<u8>,
    done: &'a AtomicU64,
    /// The first name of each file with several: (device, inode).
    links: HashMap<(u64, u64), Vec<u8>>,
    owners: Owners,
    /// The output takes no data in the kernel.
    by_hand: bool,
}

/// A header's fields beside its name.
struct Fields<'a> {
    kind: EntryType,
    size: u64,
    link: &'a [u8],
    owner: Option<(u32, u32)>,
    capability: Option<Vec<u8>>,
}

impl Packer<'_> {
    /// Packs one entry; what is gone when its turn comes is left out, unless it was asked for by name.
    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        path: Vec<u8>,
        asked: bool,
    ) -> Result<(), Error> {
        let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) if !asked => return Ok(()),
            result => result.map_err(|errno| failed(&path, "fstatat", errno))?,
        };
        let plain = |kind| Fields { kind, size: 0, link: b"", owner: None, capability: None };
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => self.directory(directory, name, path, asked),
            SFlag::S_IFREG => self.file(directory, name, &path, asked),
            SFlag::S_IFLNK => match nix::fcntl::readlinkat(directory, name) {
                Err(Errno::ENOENT | Errno::EINVAL) if !asked => Ok(()),
                Err(errno) => Err(failed(&path, "readlinkat", errno)),
                Ok(target) => {
                    let link = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str());
                    self.header(&path, &stat, Fields { link, ..plain(EntryType::Symlink) })
                }
            },
            SFlag::S_IFIFO => self.header(&path, &stat, plain(EntryType::Fifo)),
            SFlag::S_IFCHR => self.header(&path, &stat, plain(EntryType::Char)),
            SFlag::S_IFBLK => self.header(&path, &stat, plain(EntryType::Block)),
            // A socket means nothing without its server; docker leaves it out as well.
            _ => Ok(()),
        }
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: Vec<u8>,
        asked: bool,
    ) -> Result<(), Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if !asked => return Ok(()),
            result => result.map_err(|errno| failed(&path, "openat", errno))?,
        };
        let stat = fstat(&fd).map_err(|errno| failed(&path, "fstat", errno))?;
        let mut names = list(&fd).map_err(|errno| failed(&path, "getdents64", errno))?;
        names.sort();
        let below = if path == b"/" { path.clone() } else { [path.as_slice(), b"/"].concat() };
        let owner = self.true_owner(&fd);
        let fields = Fields { kind: EntryType::Directory, size: 0, link: b"", owner, capability: None };
        self.header(&below, &stat, fields)?;
        for name in names {
            let path = [below.as_slice(), name.to_bytes()].concat();
            self.entry(fd.as_fd(), &name, path, false)?;
        }
        Ok(())
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8], asked: bool) -> Result<(), Error> {
        // Should it be a fifo by now, opening must not wait.
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = match nix::fcntl::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ELOOP) if !asked => return Ok(()),
            result => File::from(result.map_err(|errno| failed(path, "openat", errno))?),
        };
        let stat = fstat(&file).map_err(|errno| failed(path, "fstat", errno))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(Error::Changed { path: shown(path) });
        }
        let mut fields = Fields {
            kind: EntryType::Regular,
            size: 0,
            link: b"",
            owner: self.true_owner(&file),
            capability: None,
        };
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key).cloned() {
                let fields = Fields { kind: EntryType::Link, link: &first, ..fields };
                return self.header(path, &stat, fields);
            }
            self.links.insert(key, path.to_vec());
        }
        let capability = CString::new(CAPABILITY).expect("it holds no NUL byte");
        // No attribute, or a file system without: it has no capabilities then.
        fields.capability = sys::xattr::get(&file, &capability).unwrap_or_default();
        fields.size = stat.st_size.cast_unsigned();
        let size = fields.size;
        self.header(path, &stat, fields)?;
        self.payload(&file, size, path)?;
        let padding = size.next_multiple_of(HEADER_SIZE as u64) - size;
        self.room(padding as usize)?;
        self.buffer.resize(self.buffer.len() + padding as usize, 0);
        Ok(())
    }

    /// The owner in the archive that the file came from, where only one id exists.
    fn true_owner(&self, fd: impl AsFd) -> Option<(u32, u32)> {
        if self.owners == Owners::Mapped {
            return None;
        }
        let text = String::from_utf8(sys::xattr::get(fd, OWNER).ok()??).ok()?;
        let (uid, gid) = text.split_once(':')?;
        Some((uid.parse().ok()?, gid.parse().ok()?))
    }

    fn header(&mut self, path: &[u8], stat: &FileStat, fields: Fields<'_>) -> Result<(), Error> {
        let (uid, gid) = fields.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let fail =
            |error: tar_core::HeaderError| Error::Header { path: shown(path), detail: error.to_string() };
        let mut builder = EntryBuilder::new_ustar();
        builder.path(path).entry_type(fields.kind);
        builder.mode(stat.st_mode & 0o7777).map_err(fail)?;
        builder.uid(uid.into()).map_err(fail)?.gid(gid.into()).map_err(fail)?;
        builder.size(fields.size).map_err(fail)?;
        match u64::try_from(stat.st_mtime) {
            Ok(seconds) => builder.mtime(seconds).map_err(fail)?,
            Err(_) => builder.mtime(0).map_err(fail)?.add_pax("mtime", stat.st_mtime.to_string()),
        };
        if !fields.link.is_empty() {
            builder.link_name(fields.link);
        }
        if matches!(fields.kind, EntryType::Char | EntryType::Block) {
            let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
            let device = stat.st_rdev;
            builder
                .device(number(nix::sys::stat::major(device)), number(nix::sys::stat::minor(device)))
                .map_err(fail)?;
        }
        if let Some(value) = fields.capability {
            builder.add_pax("SCHILY.xattr.security.capability", value);
        }
        let bytes = builder.finish_bytes();
        self.room(bytes.len())?;
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }

    /// Exactly `size` bytes of the file, as its header promised.
    fn payload(&mut self, file: &File, size: u64, path: &[u8]) -> Result<(), Error> {
        let mut left = size;
        if size >= LARGE && !self.by_hand {
            self.flush()?;
            left -= self.send(file, left, path)?;
        }
        let mut file = file;
        while left > 0 {
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
            let start = self.buffer.len();
            let count = left.min((BUFFER - start) as u64) as usize;
            self.buffer.resize(start + count, 0);
            let result = file.read(&mut self.buffer[start..]);
            let got = result.as_ref().map_or(0, |got| *got);
            self.buffer.truncate(start + got);
            match result {
                Ok(0) => return Err(Error::Changed { path: shown(path) }),
                Ok(got) => left -= got as u64,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
                    return Err(failed(path, "read", errno));
                }
            }
        }
        Ok(())
    }

    /// Sends bytes from the file to the output in the kernel; how many, if it cannot do all.
    fn send(&mut self, file: &File, size: u64, path: &[u8]) -> Result<u64, Error> {
        let mut sent = 0;
        while sent < size {
            let count = usize::try_from(size - sent).unwrap_or(usize::MAX).min(1 << 30);
            match sendfile(self.out, file, None, count) {
                Ok(0) => return Err(Error::Changed { path: shown(path) }),
                Ok(moved) => {
                    sent += moved as u64;
                    self.done.fetch_add(moved as u64, Ordering::Relaxed);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOVERFLOW) => {
                    self.by_hand = true;
                    break;
                }
                Err(errno) => return Err(write_error("sendfile", errno)),
            }
        }
        Ok(sent)
    }

    fn room(&mut self, count: usize) -> Result<(), Error> {
        if self.buffer.len() + count > BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut out = self.out;
        out.write_all(&self.buffer).map_err(|error| {
            write_error("write", Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
        })?;
        self.done.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        self.buffer.clear();
        Ok(())
    }
}

/// The names in a directory but for `.` and `..`.
fn list(fd: &OwnedFd) -> nix::Result<Vec<CString>> {
    let copy = fd.try_clone().map_err(|_| Errno::EMFILE)?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(copy)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn failed(path: &[u8], call: &'static str, errno: Errno) -> Error {
    Error::Read { path: shown(path), source: sys::Error::new(call, shown(path), errno).into() }
}

fn write_error(call: &'static str, errno: Errno) -> Error {
    Error::Write(sys::Error::new(call, "archive", errno).into())
}
