//! What a client has not taken yet: the first part in memory, the rest in a file without a name.
//! Runs in the monitor.
//!
//! The file shrinks from its front as the client catches up and is gone when it has. Only when it
//! takes no more (a full disk) does the rest stay in memory, and [`Backlog::is_stuck`] asks for output
//! to wait.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

/// Bytes in memory before the file is begun, and at most read back at once.
pub const MEMORY: usize = 1 << 20;

#[derive(Debug)]
struct Spill {
    file: File,
    /// The file holds what waits from `read` to `written`, in bytes.
    read: u64,
    written: u64,
}

/// In order: memory, file, tail.
#[derive(Debug, Default)]
pub struct Backlog {
    memory: Vec<u8>,
    /// How much of `memory` is gone.
    taken: usize,
    spill: Option<Spill>,
    /// What neither memory nor file takes.
    tail: Vec<u8>,
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        // The file and the tail are only used while there is something before them.
        self.memory.len() == self.taken
    }

    /// Bytes in memory that are next.
    pub fn in_memory(&self) -> usize {
        self.memory.len() - self.taken
    }

    /// No more should come: the file takes nothing.
    pub fn is_stuck(&self) -> bool {
        self.tail.len() > MEMORY
    }

    /// Appends. `place` is the directory for the file; without one all stays in memory.
    pub fn push(&mut self, bytes: &[u8], place: Option<&Path>) {
        let fits = place.is_none() || self.is_empty() || self.in_memory() + bytes.len() <= MEMORY;
        if self.spill.is_none() && self.tail.is_empty() && fits {
            self.forget_taken();
            self.memory.extend_from_slice(bytes);
            return;
        }
        self.tail.extend_from_slice(bytes);
        if let Some(place) = place {
            self.move_tail(place);
        }
    }

    /// The bytes that are next.
    pub fn front(&self) -> &[u8] {
        &self.memory[self.taken..]
    }

    /// Forgets `count` bytes of [`Backlog::front`] and brings the next ones there.
    ///
    /// # Errors
    /// When the file cannot be read back: what follows is lost.
    pub fn consume(&mut self, count: usize) -> io::Result<()> {
        self.taken += count;
        if self.taken < self.memory.len() {
            return Ok(());
        }
        self.memory.clear();
        self.taken = 0;
        self.refill()
    }

    /// Every descriptor that holds a part.
    pub fn file(&self) -> Option<&File> {
        self.spill.as_ref().map(|spill| &spill.file)
    }

    /// Gives memory back that is not needed.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Backlog::default();
        }
    }

    fn forget_taken(&mut self) {
        if self.taken > MEMORY / 2 || self.taken == self.memory.len() {
            self.memory.drain(..self.taken);
            self.taken = 0;
        }
    }

    fn move_tail(&mut self, place: &Path) {
        if self.spill.is_none() {
            let Ok(file) = nameless(place) else { return };
            self.spill = Some(Spill { file, read: 0, written: 0 });
        }
        let Some(spill) = &mut self.spill else { return };
        let mut moved = 0;
        while moved < self.tail.len() {
            match spill.file.write_at(&self.tail[moved..], spill.written) {
                Ok(0) => break,
                Ok(count) => {
                    moved += count;
                    spill.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.tail.drain(..moved);
    }

    /// Memory is empty: from the file, or when that is at its end from the tail.
    fn refill(&mut self) -> io::Result<()> {
        if let Some(spill) = &mut self.spill {
            let waiting = usize::try_from(spill.written - spill.read).unwrap_or(MEMORY).min(MEMORY);
            self.memory.resize(waiting, 0);
            spill.file.read_exact_at(&mut self.memory, spill.read)?;
            spill.read += waiting as u64;
            if spill.read == spill.written {
                self.spill = None;
            } else {
                // Not every file system can; then the space is free once all was read.
                let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let _ = fallocate(&spill.file, mode, 0, spill.read.cast_signed());
            }
        }
        if self.memory.is_empty() {
            std::mem::swap(&mut self.memory, &mut self.tail);
        }
        Ok(())
    }
}

/// A file that is gone with its descriptor.
fn nameless(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(place) {
        Ok(file) => Ok(file),
        // NFS and others have no such files.
        Err(_) => {
            let path: PathBuf = place.join(format!("backlog.{}", std::process::id()));
            let file = options.create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that tell their place.
    fn pattern(from: usize, length: usize) -> Vec<u8> {
        (from..from + length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    fn drain(backlog: &mut Backlog, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !backlog.is_empty() && all.len() < most {
            let count = backlog.front().len().min(70_000).min(most - all.len());
            all.extend_from_slice(&backlog.front()[..count]);
            backlog.consume(count).unwrap();
        }
        all
    }

    #[test]
    fn what_went_in_comes_out_in_order() {
        let place = tempfile::tempdir().unwrap();
        let mut backlog = Backlog::default();
        let (mut pushed, mut taken) = (0, Vec::new());
        for round in 0..40 {
            for _ in 0..6 {
                backlog.push(&pattern(pushed, 100_001), Some(place.path()));
                pushed += 100_001;
            }
            assert!(!backlog.is_stuck());
            assert!(backlog.memory.len() <= 2 * MEMORY && backlog.tail.is_empty());
            taken.extend(drain(&mut backlog, if round % 7 == 6 { 3_000_000 } else { 50_000 }));
        }
        assert!(backlog.file().is_some());
        taken.extend(drain(&mut backlog, usize::MAX));
        assert!(taken == pattern(0, pushed), "bytes are lost or mixed");
        assert!(backlog.is_empty() && backlog.file().is_none());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_a_file_it_asks_to_wait_and_loses_nothing() {
        for (place, room) in [(None, 30), (Some(Path::new("/dev/null")), 20)] {
            let mut backlog = Backlog::default();
            for i in 0..30 {
                assert_eq!(backlog.is_stuck(), i > room, "{i}");
                backlog.push(&pattern(i * 100_000, 100_000), place);
            }
            assert!(drain(&mut backlog, usize::MAX) == pattern(0, 3_000_000));
            assert!(!backlog.is_stuck());
        }
    }
}
