//! The directory an archive is unpacked into: every change to it, confined.
//!
//! Runs in the id worker, the only process that writes there. The tree starts empty, so what is in
//! it is known without asking the kernel: `nodes` maps every path to what was put there. Its keys are
//! real paths (no symbolic links); names from the archive become real paths by opening their parent
//! below the root descriptor. Directories stay 0700 and our own until all is unpacked, so neither a
//! strange mode nor an inherited group or ACL gets in the way; `finish` gives them what is theirs.

mod places;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::UnlinkatFlags;

use crate::archive::attributes::{Applier, mode_bits};
use crate::archive::entry::{Attributes, Entry, normalise};
use crate::archive::remove::remove_tree;
use crate::archive::unpack::{Error, Options, Summary, Whiteouts, shown};
use crate::archive::whiteout;
use crate::sys;
use crate::sys::path::Root;

const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW_FILE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// What was put at a path.
#[derive(Debug)]
enum Node {
    Directory {
        /// `None`: no member named it, it was needed as a parent.
        attributes: Option<Box<Attributes>>,
        opaque: bool,
    },
    File {
        size: u64,
        /// The number of its payload in the record, when it has one.
        payload: Option<u64>,
    },
    /// A symbolic link, fifo or further name of a file. `size` is the length of a link's target.
    Other {
        size: u64,
    },
    Whiteout,
}

/// Where a member goes: an open parent, the name in it, and the real path of both.
struct Place {
    parent: Rc<OwnedFd>,
    name: Vec<u8>,
    path: Vec<u8>,
}

/// The parent of the last member; the next one mostly shares it.
struct Cached {
    /// As the archive spells it, normalised.
    lexical: Vec<u8>,
    real: Vec<u8>,
    fd: Rc<OwnedFd>,
}

pub(in crate::archive) struct Tree {
    root: Root,
    layer: OwnedFd,
    replaced_name: &'static str,
    replaced: Option<OwnedFd>,
    nodes: BTreeMap<Vec<u8>, Node>,
    cached: Option<Cached>,
    whiteouts: Whiteouts,
    marker_whiteouts: bool,
    size: u64,
    apply: Applier,
}

impl Tree {
    pub fn new(
        root: Root,
        layer: OwnedFd,
        replaced_name: &'static str,
        options: Options,
    ) -> Result<Tree, Error> {
        let top = Node::Directory { attributes: None, opaque: false };
        Ok(Tree {
            root,
            layer,
            replaced_name,
            replaced: None,
            nodes: BTreeMap::from([(Vec::new(), top)]),
            cached: None,
            whiteouts: options.whiteouts,
            marker_whiteouts: false,
            size: 0,
            apply: Applier::new(options),
        })
    }

    /// Creates the file of a member. Its real path and the file go back to `finish_file`.
    pub fn create_file(&mut self, entry: &Entry) -> Result<(Vec<u8>, File), Error> {
        let place = self.cleared(&entry.path)?;
        let mode = mode_bits(entry.attributes.mode & 0o777);
        let fd = nix::fcntl::openat(&place.parent, place.name.as_slice(), NEW_FILE, mode)
            .map_err(|errno| failed(&place.path, "openat", "O_WRONLY|O_CREAT|O_EXCL", errno))?;
        Ok((place.path, fd.into()))
    }

    /// Gives a written file its attributes and remembers its (size, payload number).
    pub fn finish_file(
        &mut self,
        path: Vec<u8>,
        file: &File,
        entry: &Entry,
        (size, payload): (u64, Option<u64>),
    ) -> Result<(), Error> {
        self.apply.file(file, &path, &entry.attributes)?;
        self.size = self.size.saturating_add(size);
        self.nodes.insert(path, Node::File { size, payload });
        Ok(())
    }

    /// A directory member: new, or the attributes of one that is there.
    pub fn directory(&mut self, entry: &Entry) -> Result<(), Error> {
        let new = Some(Box::new(entry.attributes.clone()));
        if entry.path.is_empty() {
            return self.update_directory(&entry.path, new, false);
        }
        let place = self.place(&entry.path)?;
        let over_whiteout = match self.nodes.get(&place.path) {
            Some(Node::Directory { .. }) => return self.update_directory(&place.path, new, false),
            Some(Node::Whiteout) => true,
            _ => false,
        };
        self.clear(&place)?;
        make_directory(&place)?;
        self.nodes.insert(place.path, Node::Directory { attributes: new, opaque: over_whiteout });
        Ok(())
    }

    pub fn symlink(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Error> {
        let place = self.cleared(&entry.path)?;
        nix::unistd::symlinkat(target, &place.parent, place.name.as_slice())
            .map_err(|errno| failed(&place.path, "symlinkat", "", errno))?;
        self.apply.symlink(&place.parent, &place.name, &place.path, &entry.attributes)?;
        let size = target.len() as u64;
        self.size = self.size.saturating_add(size);
        self.nodes.insert(place.path, Node::Other { size });
        Ok(())
    }

    /// A further name of a file of this layer. Owner and mode are the file's, not the member's.
    pub fn hard_link(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Error> {
        let no_target = || Error::LinkTarget { path: shown(&entry.path), target: shown(target) };
        let place = self.place(&entry.path)?;
        let target = self.existing(&normalise(target))?.ok_or_else(no_target)?;
        if target.path == place.path {
            return Ok(());
        }
        if !matches!(self.nodes.get(&target.path), Some(Node::File { .. } | Node::Other { .. })) {
            return Err(no_target());
        }
        self.clear(&place)?;
        let result = nix::unistd::linkat(
            &target.parent,
            target.name.as_slice(),
            &place.parent,
            place.name.as_slice(),
            AtFlags::empty(),
        );
        match result {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Err(no_target()),
            Err(errno) => return Err(failed(&place.path, "linkat", &shown(&target.path), errno)),
        }
        self.nodes.insert(place.path, Node::Other { size: 0 });
        Ok(())
    }

    pub fn fifo(&mut self, entry: &Entry) -> Result<(), Error> {
        let place = self.cleared(&entry.path)?;
        let mode = mode_bits(entry.attributes.mode & 0o777);
        nix::sys::stat::mknodat(&place.parent, place.name.as_slice(), SFlag::S_IFIFO, mode, 0)
            .map_err(|errno| failed(&place.path, "mknodat", "S_IFIFO", errno))?;
        self.apply.special(&place.parent, &place.name, &place.path, &entry.attributes)?;
        self.nodes.insert(place.path, Node::Other { size: 0 });
        Ok(())
    }

    /// Device nodes cannot be made by a user; containers get theirs from the runtime.
    pub fn device(&mut self, entry: &Entry) {
        self.apply.notes.add(crate::archive::unpack::NoteKind::DeviceSkipped, &entry.path);
    }

    /// Hides `path` of the lower layers. What this very layer has there stays.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), Error> {
        let place = self.place(path)?;
        match self.nodes.get_mut(&place.path) {
            // The directory stays, but nothing of a lower one may shine through.
            Some(Node::Directory { opaque, .. }) => *opaque = true,
            Some(_) => {}
            None => {
                self.write_whiteout(&place)?;
                self.nodes.insert(place.path, Node::Whiteout);
            }
        }
        Ok(())
    }

    /// Hides all that lower layers have in a directory.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), Error> {
        if path.is_empty() {
            return self.update_directory(path, None, true);
        }
        let real = self.parent(path, path)?.real.clone();
        self.update_directory(&real, None, true)
    }

    /// Applies what was put off for directories, the deepest first, and sums up.
    pub fn finish(mut self) -> Result<Summary, Error> {
        let nodes = std::mem::take(&mut self.nodes);
        let files = nodes.len() as u64 - 1;
        // A directory sorts before all below it.
        for (path, node) in nodes.iter().rev() {
            if let Node::Directory { attributes, opaque } = node {
                self.finish_directory(path, attributes.as_deref(), *opaque)?;
            }
        }
        Ok(Summary {
            size: self.size,
            files,
            marker_whiteouts: self.marker_whiteouts,
            notes: self.apply.notes.into_vec(),
        })
    }

    fn finish_directory(
        &mut self,
        path: &[u8],
        attributes: Option<&Attributes>,
        opaque: bool,
    ) -> Result<(), Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let fd = self
            .root
            .resolve_plain(Path::new(OsStr::from_bytes(path)), flags, Mode::empty())
            .map_err(|error| system(path, error))?;
        if opaque {
            match sys::xattr::set(&fd, whiteout::OPAQUE_ATTRIBUTE, b"y") {
                Err(error) if error.is(Errno::ENOTSUP) => {
                    self.marker_whiteouts = true;
                    create_empty(&fd, whiteout::OPAQUE, path)?;
                }
                result => result.map_err(|error| system(path, error))?,
            }
        }
        self.apply.directory(&fd, path, attributes)
    }

    fn update_directory(
        &mut self,
        path: &[u8],
        new: Option<Box<Attributes>>,
        now_opaque: bool,
    ) -> Result<(), Error> {
        let Some(Node::Directory { attributes, opaque }) = self.nodes.get_mut(path) else {
            return Err(Error::Parent { path: shown(path), parent: shown(path) });
        };
        if new.is_some() {
            *attributes = new;
        }
        *opaque |= now_opaque;
        Ok(())
    }

    fn write_whiteout(&mut self, place: &Place) -> Result<(), Error> {
        if self.whiteouts == Whiteouts::Device {
            let made = nix::sys::stat::mknodat(
                &place.parent,
                place.name.as_slice(),
                SFlag::S_IFCHR,
                Mode::empty(),
                0,
            );
            match made {
                Ok(()) => return Ok(()),
                // Kernels before 5.8, and some file systems.
                Err(Errno::EPERM | Errno::EOPNOTSUPP) => self.whiteouts = Whiteouts::Marker,
                Err(errno) => return Err(failed(&place.path, "mknodat", "S_IFCHR, 0:0", errno)),
            }
        }
        self.marker_whiteouts = true;
        create_empty(&place.parent, &[whiteout::PREFIX, &place.name].concat(), &place.path)
    }

    /// The place of a member with nothing there any more.
    fn cleared(&mut self, path: &[u8]) -> Result<Place, Error> {
        if path.is_empty() {
            let detail = "the root of a layer can only be a directory".to_owned();
            return Err(Error::Member { path: "/".to_owned(), detail });
        }
        let place = self.place(path)?;
        self.clear(&place)?;
        Ok(place)
    }

    /// Removes what is at a place. Payloads that the record refers to are put aside.
    fn clear(&mut self, place: &Place) -> Result<(), Error> {
        let Some(node) = self.nodes.remove(&place.path) else { return Ok(()) };
        self.cached = None;
        match node {
            Node::File { size, payload } => self.discard_file(place, size, payload),
            Node::Other { size } => {
                self.size = self.size.saturating_sub(size);
                unlink(place, &place.name)
            }
            Node::Whiteout => match unlink(place, &place.name) {
                Err(Error::System { source, .. }) if source.errno == Errno::ENOENT as i32 => {
                    unlink(place, &[whiteout::PREFIX, &place.name].concat())
                }
                result => result,
            },
            Node::Directory { .. } => self.clear_directory(place),
        }
    }

    fn clear_directory(&mut self, place: &Place) -> Result<(), Error> {
        let below = [&place.path, b"/".as_slice()].concat();
        let inside: Vec<Vec<u8>> = self
            .nodes
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in inside {
            match self.nodes.remove(&path) {
                Some(Node::File { size, payload }) => {
                    let file =
                        self.existing(&path)?.ok_or_else(|| failed(&path, "openat2", "", Errno::ENOENT))?;
                    self.discard_file(&file, size, payload)?;
                }
                Some(Node::Other { size }) => self.size = self.size.saturating_sub(size),
                _ => {}
            }
        }
        let name = std::ffi::CString::new(place.name.as_slice()).expect("member names hold no NUL byte");
        remove_tree(&place.parent, &name).map_err(|error| system(&place.path, error))
    }

    fn discard_file(&mut self, place: &Place, size: u64, payload: Option<u64>) -> Result<(), Error> {
        let name = place.name.as_slice();
        let stat = nix::sys::stat::fstatat(&place.parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(&place.path, "fstatat", "", errno))?;
        if stat.st_nlink == 1 {
            self.size = self.size.saturating_sub(size);
        }
        let Some(number) = payload else { return unlink(place, name) };
        let replaced = self.replaced_directory()?;
        nix::fcntl::renameat(&place.parent, name, replaced, number.to_string().as_str())
            .map_err(|errno| failed(&place.path, "renameat", "", errno))
    }

    fn replaced_directory(&mut self) -> Result<&OwnedFd, Error> {
        if self.replaced.is_none() {
            let name = self.replaced_name;
            let fd = nix::sys::stat::mkdirat(&self.layer, name, Mode::S_IRWXU)
                .and_then(|()| nix::fcntl::openat(&self.layer, name, DIRECTORY, Mode::empty()))
                .map_err(|errno| failed(name.as_bytes(), "mkdirat", "", errno))?;
            self.replaced = Some(fd);
        }
        Ok(self.replaced.as_ref().expect("made above"))
    }
}

fn make_directory(place: &Place) -> Result<OwnedFd, Error> {
    let name = place.name.as_slice();
    nix::sys::stat::mkdirat(&place.parent, name, Mode::S_IRWXU)
        .map_err(|errno| failed(&place.path, "mkdirat", "0700", errno))?;
    nix::fcntl::openat(&place.parent, name, DIRECTORY, Mode::empty())
        .map_err(|errno| failed(&place.path, "openat", "O_PATH|O_DIRECTORY", errno))
}

fn create_empty(parent: impl AsFd, name: &[u8], path: &[u8]) -> Result<(), Error> {
    nix::fcntl::openat(parent, name, NEW_FILE, mode_bits(0o600))
        .map(drop)
        .map_err(|errno| failed(path, "openat", &shown(name), errno))
}

fn unlink(place: &Place, name: &[u8]) -> Result<(), Error> {
    nix::unistd::unlinkat(&place.parent, name, UnlinkatFlags::NoRemoveDir)
        .map_err(|errno| failed(&place.path, "unlinkat", "", errno))
}

pub(in crate::archive) fn system(path: &[u8], error: sys::Error) -> Error {
    Error::System { path: shown(path), source: error.into() }
}

pub(in crate::archive) fn failed(path: &[u8], call: &'static str, args: &str, errno: Errno) -> Error {
    system(path, sys::Error::new(call, args, errno))
}
