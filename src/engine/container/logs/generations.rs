//! The files of a log that is rotated, found while a monitor may be moving them.
//!
//! A file only ever moves to a higher number, and its place is taken by a younger one. Whoever opens
//! them from 0 upwards therefore meets each at least once, and knows one met twice by its inode.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use crate::monitor::log::files::older;

/// One file of a log, open: it stays readable when it is rotated away.
#[derive(Debug)]
pub struct Generation {
    pub file: File,
    /// Device and inode.
    pub identity: (u64, u64),
}

impl Generation {
    /// When it was last written to.
    pub fn changed(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }
}

fn open(path: &Path) -> io::Result<Option<Generation>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some(Generation { file, identity: (metadata.dev(), metadata.ino()) }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files that are younger than `known`, oldest first; all without one.
pub fn younger(path: &Path, known: Option<(u64, u64)>) -> io::Result<VecDeque<Generation>> {
    let mut found: VecDeque<Generation> = VecDeque::new();
    let mut missing = 0;
    for number in 0.. {
        match open(&older(path, number))? {
            Some(generation) if Some(generation.identity) == known => break,
            Some(generation) => {
                if found.iter().all(|met| met.identity != generation.identity) {
                    found.push_front(generation);
                }
            }
            // One is missing while the files are moved, and for good where that was cut short.
            None => missing += 1,
        }
        if missing > 2 {
            break;
        }
    }
    Ok(found)
}

/// Whether the file that is written now is another one.
pub fn is_rotated(path: &Path, known: (u64, u64)) -> bool {
    std::fs::metadata(path).map_or(true, |m| (m.dev(), m.ino()) != known)
}
