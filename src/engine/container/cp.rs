//! `cp`: between a container and the caller's own files, or a tar stream of his. Runs in the client.
//!
//! Whoever packs and whoever extracts are two processes with a pipe between them: the files worker on the container's
//! side, this one on the caller's, with his own rights.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use nix::sys::stat::SFlag;

use super::files::names::{self, Destination, Misfit};
use super::files::{self, Files, large_pipe};
use crate::archive::compress;
use crate::archive::extract::{self, Ownership, Rules};
use crate::archive::pack::{self, Source};
use crate::archive::unpack::{Note, Owners};
use crate::engine::Engine;
use crate::store::events::of_container;
use crate::sys;
use crate::sys::path::Root;

#[derive(Debug)]
pub struct Request {
    pub source: String,
    pub destination: String,
    /// Keep the ids in the archive.
    pub archive: bool,
    pub follow_link: bool,
}

/// What the copy is, decided by its two names.
#[derive(Debug, PartialEq, Eq)]
pub enum Direction {
    Out { container: String, from: String, to: String },
    In { from: String, container: String, to: String },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("source can not be empty")]
    NoSource,
    #[error("destination can not be empty")]
    NoDestination,
    #[error("copying between containers is not supported")]
    BetweenContainers,
    #[error("must specify at least one container source")]
    NoContainer,
    #[error("bad parameter: path cannot be empty")]
    EmptyPath,
    #[error("invalid output path: directory {0:?} does not exist")]
    NoOutputDirectory(String),
    #[error("invalid output path: {0:?} must be a directory or a regular file: got a device")]
    OutputDevice(String),
    #[error("destination \"{0}\" must be a directory or a regular file: got a device")]
    DestinationDevice(String),
    #[error("destination \"{0}\" must be a directory")]
    NotDirectory(String),
    #[error("{call} {path}: {}", lower_first(.cause))]
    Host { call: &'static str, path: String, cause: io::Error },
    #[error("not a directory")]
    AssertedDirectory,
    #[error("too many symlinks in {0}")]
    Links(String),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(transparent)]
    Files(#[from] files::Error),
    #[error(transparent)]
    Pack(#[from] pack::Error),
    #[error(transparent)]
    Extract(#[from] extract::Error),
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    #[error("cannot unpack standard input")]
    Compressed(#[from] compress::Error),
    #[error("cannot write to standard output")]
    Output(#[source] pack::Error),
    #[error("cannot copy")]
    System(#[from] sys::Error),
}

/// The kernel's words as Go prints them.
fn lower_first(error: &io::Error) -> String {
    let text = error.raw_os_error().map(|code| nix::errno::Errno::from_raw(code).desc().to_owned());
    let text = text.unwrap_or_else(|| error.to_string());
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// Where to, as docker tells it; `None` when it went to standard output.
    pub to: Option<String>,
    /// What could not be kept.
    pub notes: Vec<Note>,
}

/// Which way a copy goes.
pub fn direction(request: &Request) -> Result<Direction, Error> {
    if request.source.is_empty() {
        return Err(Error::NoSource);
    }
    if request.destination.is_empty() {
        return Err(Error::NoDestination);
    }
    let (source, destination) = (names::split_side(&request.source), names::split_side(&request.destination));
    match (source, destination) {
        ((Some(_), _), (Some(_), _)) => Err(Error::BetweenContainers),
        ((Some(container), from), (None, to)) => {
            Ok(Direction::Out { container: container.into(), from: from.into(), to: to.into() })
        }
        ((None, from), (Some(container), to)) => {
            Ok(Direction::In { from: from.into(), container: container.into(), to: to.into() })
        }
        ((None, _), (None, _)) => Err(Error::NoContainer),
    }
}

/// Copies. Bytes of the tar stream are counted in `done`.
pub fn cp(
    engine: &Engine,
    request: &Request,
    direction: &Direction,
    done: &AtomicU64,
) -> Result<Copied, Error> {
    match direction {
        Direction::Out { container, from, to } => Out { engine, request, container, done }.copy(from, to),
        Direction::In { from, container, to } => In { engine, request, container, done }.copy(from, to),
    }
}

fn host(call: &'static str, path: &str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Host { call, path, cause }
}

/// An absolute path of the caller's, with the ending he gave it.
fn local(path: &str) -> Result<String, Error> {
    let here = std::env::current_dir().map_err(host("getwd", "."))?;
    let whole =
        if path.starts_with('/') { names::clean(path) } else { names::join(&here.to_string_lossy(), path) };
    Ok(names::preserve_ending(whole, path))
}

struct Out<'a> {
    engine: &'a Engine,
    request: &'a Request,
    container: &'a str,
    done: &'a AtomicU64,
}

impl Out<'_> {
    fn copy(&self, from: &str, to: &str) -> Result<Copied, Error> {
        let to = if to == "-" { None } else { Some(local(to)?) };
        if let Some(to) = &to {
            check_output(to)?;
        }
        if from.is_empty() {
            return Err(Error::EmptyPath);
        }
        let files = Files::open(self.engine, self.container)?;
        let (mut from, mut name) = (from.to_owned(), None);
        let mut stat = files.stat(&from)?;
        if self.request.follow_link && stat.kind() == SFlag::S_IFLNK {
            (from, name) = names::rebase(&from, &stat.link_target);
            stat = files.stat(&from)?;
        }
        self.engine.store.note(&of_container(files.container(), "archive-path", &[]));
        let Some(to) = to else {
            let stdout = io::stdout();
            // Under its own name, as docker does.
            files.start_pack(&from, None, stdout.as_fd())?;
            return match files.finish() {
                Err(files::Error::Refused(files::protocol::Refusal::Pack(error @ pack::Error::Write(_)))) => {
                    Err(Error::Output(error))
                }
                result => Ok(Copied { to: None, notes: result? }),
            };
        };
        let destination = resolve_destination(&to)?;
        let (directory, new_name) = names::target(stat.is_directory(), &destination)?;
        let called = new_name.or(name);
        let place = Root::open(Path::new(&directory))?;
        let (archive, packed) = large_pipe()?;
        files.start_pack(&from, called.as_deref(), packed.as_fd())?;
        drop(packed);
        let rules = Rules { ownership: Ownership::Caller, owners: Owners::Mapped, umask_is_zero: false };
        let extracted = extract::extract(&archive, place, &directory, rules, self.done);
        // A worker that still writes sees that nobody reads.
        drop(archive);
        match (files.finish(), extracted) {
            (Err(files::Error::Refused(files::protocol::Refusal::Pack(error))), Err(extracted))
                if error.is_closed() =>
            {
                Err(extracted.into())
            }
            (Err(packed), _) => Err(packed.into()),
            (Ok(_), extracted) => Ok(Copied { to: Some(to), notes: extracted? }),
        }
    }
}

/// docker's check of an output path: its directory is there, and it is no device.
fn check_output(path: &str) -> Result<(), Error> {
    use std::os::unix::fs::FileTypeExt;
    let directory = names::parent(&names::clean(path));
    if matches!(std::fs::metadata(&directory), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Err(Error::NoOutputDirectory(directory));
    }
    match std::fs::metadata(path) {
        Ok(there) if there.file_type().is_block_device() || there.file_type().is_char_device() => {
            Err(Error::OutputDevice(path.to_owned()))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(host("stat", path)(error)),
        _ => Ok(()),
    }
}

/// How many links a destination may be behind, as docker has it.
const MAX_LINKS: usize = 10;

/// What is at the end of the links at a destination; its directory has to be there.
fn resolve_destination(original: &str) -> Result<Destination, Error> {
    let mut path = original.to_owned();
    let mut found = std::fs::symlink_metadata(&path);
    for links in 0.. {
        match &found {
            Ok(there) if there.file_type().is_symlink() => {
                if links > MAX_LINKS {
                    return Err(Error::Links(original.to_owned()));
                }
                let target = std::fs::read_link(&path).map_err(host("readlink", &path))?;
                let target = target.to_string_lossy().into_owned();
                path = match target.starts_with('/') {
                    true => target,
                    false => names::join(&names::split_entry(&path).0, &target),
                };
                found = std::fs::symlink_metadata(&path);
            }
            _ => break,
        }
    }
    match found {
        Ok(there) => Ok(Destination { path, is_directory: Some(there.is_dir()) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (parent, _) = names::split_entry(&path);
            match std::fs::metadata(&parent) {
                Err(error) => Err(host("stat", &parent)(error)),
                Ok(there) if !there.is_dir() => Err(Error::AssertedDirectory),
                Ok(_) => Ok(Destination { path, is_directory: None }),
            }
        }
        Err(error) => Err(host("lstat", &path)(error)),
    }
}

struct In<'a> {
    engine: &'a Engine,
    request: &'a Request,
    container: &'a str,
    done: &'a AtomicU64,
}

impl In<'_> {
    fn copy(&self, from: &str, to: &str) -> Result<Copied, Error> {
        let from = if from == "-" { None } else { Some(local(from)?) };
        let files = Files::open(self.engine, self.container)?;
        let side = |path: &str| format!("{}:{path}", self.container);
        let mut destination = Destination { path: to.to_owned(), is_directory: None };
        let mut stat = match files.stat(to) {
            // The copy fails in its own words, if it does.
            Err(files::Error::NotFound { .. } | files::Error::Refused(_)) => None,
            result => Some(result?),
        };
        if let Some(link) = stat.as_ref().filter(|stat| stat.kind() == SFlag::S_IFLNK) {
            destination.path = link.link_target.clone();
            stat = match files.stat(&destination.path) {
                // A link to what is not there yet: that is made.
                Err(files::Error::NotFound { .. }) => None,
                result => Some(result?),
            };
        }
        if let Some(stat) = &stat {
            if matches!(stat.kind(), SFlag::S_IFCHR | SFlag::S_IFBLK) {
                return Err(Error::DestinationDevice(side(to)));
            }
            destination.is_directory = Some(stat.is_directory());
        }
        let ownership = if self.request.archive { Ownership::Archive } else { Ownership::Root };
        let notes = match from {
            None if destination.is_directory != Some(true) => return Err(Error::NotDirectory(side(to))),
            None => self.copy_stdin(&files, &destination.path, ownership)?,
            Some(from) => self.copy_host(&files, &from, &destination, ownership)?,
        };
        Ok(Copied { to: Some(side(&destination.path)), notes })
    }

    fn copy_host(
        &self,
        files: &Files,
        from: &str,
        destination: &Destination,
        ownership: Ownership,
    ) -> Result<Vec<Note>, Error> {
        let (from, name) = resolve_source(from, self.request.follow_link)?;
        let there = std::fs::symlink_metadata(&from).map_err(|error| match error.kind() {
            // docker's word for a file that is called a directory.
            io::ErrorKind::NotADirectory => Error::AssertedDirectory,
            _ => host("lstat", &from)(error),
        })?;
        let (directory, new_name) = names::target(there.is_dir(), destination)?;
        let (parent, entry) = names::split_entry(&from);
        // A directory is opened through its own path: an ending `/` follows a link.
        let (open, entry) =
            if there.is_dir() { (from.as_str(), ".") } else { (parent.as_str(), entry.as_str()) };
        let called = new_name.or(name).unwrap_or_else(|| names::base(&from).to_owned());
        let opened = File::open(open).map_err(host("open", open))?;
        let entry = std::ffi::CString::new(entry).expect("words hold no NUL byte");
        let source = Source {
            directory: opened.as_fd(),
            name: &entry,
            called: called.as_bytes(),
            owners: Owners::Mapped,
        };
        self.send(files, &directory, ownership, |out| pack::pack(source, out, self.done).map_err(Error::Pack))
    }

    fn copy_stdin(&self, files: &Files, directory: &str, ownership: Ownership) -> Result<Vec<Note>, Error> {
        self.send(files, directory, ownership, |out| {
            let mut archive = compress::decoder(io::stdin())?;
            let mut buffer = vec![0; 256 * 1024];
            let mut out = out;
            loop {
                match archive.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => {
                        // The worker has its reason when it reads no more.
                        if out.write_all(&buffer[..count]).is_err() {
                            return Ok(());
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::Input(error)),
                }
            }
        })
    }

    /// Has the worker extract what `feed` writes.
    fn send(
        &self,
        files: &Files,
        directory: &str,
        ownership: Ownership,
        feed: impl FnOnce(&File) -> Result<(), Error>,
    ) -> Result<Vec<Note>, Error> {
        self.engine.store.note(&of_container(files.container(), "extract-to-dir", &[]));
        let (archive, out) = large_pipe()?;
        files.start_extract(directory, ownership, archive.as_fd())?;
        drop(archive);
        let fed = feed(&out);
        drop(out);
        let extracted = files.finish();
        match fed {
            // What stopped the reader is what went wrong.
            Err(Error::Pack(error)) if error.is_closed() => Ok(extracted?),
            Err(error) => Err(error),
            Ok(()) => Ok(extracted?),
        }
    }
}

/// The path that is packed, and the name it gets when that is not its own.
fn resolve_source(path: &str, follow: bool) -> Result<(String, Option<String>), Error> {
    let real = |path: &str| -> Result<String, Error> {
        let found = std::fs::canonicalize(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotADirectory => Error::AssertedDirectory,
            _ => Error::Host { call: "lstat", path: missing_part(Path::new(path)), cause },
        })?;
        Ok(found.to_string_lossy().into_owned())
    };
    if follow {
        return Ok(names::rebase(path, &real(path)?));
    }
    let cut = path.rfind('/').map_or(0, |slash| slash + 1);
    let (directory, last) = path.split_at(cut);
    let resolved = format!("{}/{last}", real(directory)?.trim_end_matches('/'));
    let name = (path.ends_with('/') && names::base(path) != names::base(&resolved))
        .then(|| names::base(path).to_owned());
    Ok((resolved, name))
}

/// Which part of a path is not there: what a message names.
fn missing_part(path: &Path) -> String {
    let mut here = PathBuf::new();
    for part in path.components() {
        here.push(part);
        match std::fs::metadata(&here) {
            Ok(_) => {}
            Err(_) => {
                let target = std::fs::read_link(&here).ok();
                return match target {
                    Some(target) => {
                        let parent = here.parent().unwrap_or(Path::new("/"));
                        names::clean(&parent.join(target).to_string_lossy())
                    }
                    None => here.display().to_string(),
                };
            }
        }
    }
    path.display().to_string()
}
