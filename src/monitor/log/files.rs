//! The files of a json-file log: the one that is written, and the older ones `.1`, `.2` and so on.

use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The path of the `number`th older file of a log; 0 is the log itself.
pub fn older(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    max_size: Option<u64>,
    max_files: u32,
    /// Made at the first output.
    file: Option<File>,
    /// Bytes in `file`.
    size: u64,
}

impl Files {
    pub fn new(path: PathBuf, max_size: Option<u64>, max_files: u32) -> Files {
        Files { path, max_size, max_files, file: None, size: 0 }
    }

    /// Whether `more` bytes bring the file to its size, so that what follows goes to the next.
    pub fn is_filled_by(&self, more: usize) -> bool {
        self.max_size.is_some_and(|most| self.size + more as u64 >= most)
    }

    /// Appends whole lines. A file that is full is put behind the new one first.
    ///
    /// # Errors
    /// When the disk is full or fails; then none of these lines is in the file.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        if self.is_filled_by(0) && self.size > 0 {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        match file.write_all(lines) {
            Ok(()) => {
                self.size += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line would damage the next. Making a file shorter needs no room.
                let _ = file.set_len(self.size);
                Err(error)
            }
        }
    }

    /// Readers go from the youngest file to the oldest: what moves away behind them they meet again,
    /// and never miss.
    fn rotate(&mut self) -> io::Result<()> {
        let missing_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        if self.max_files > 1 {
            // Its place is made free: a rename that replaces a file makes ext4 write out the other one.
            missing_is_fine(remove_file(older(&self.path, self.max_files - 1)))?;
        }
        for number in (1..self.max_files.saturating_sub(1)).rev() {
            missing_is_fine(rename(older(&self.path, number), older(&self.path, number + 1)))?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o600);
        let file = if self.max_files > 1 {
            rename(&self.path, older(&self.path, 1))?;
            options.open(&self.path)?
        } else {
            let mut name = self.path.as_os_str().to_owned();
            name.push(".new");
            let new = PathBuf::from(name);
            let _ = remove_file(&new);
            let file = options.open(&new)?;
            rename(&new, &self.path)?;
            file
        };
        self.file = Some(file);
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        (0..9).map_while(|n| std::fs::read_to_string(older(path, n)).ok()).collect()
    }

    #[test]
    fn as_many_files_as_asked_for() {
        for (count, expected) in
            [(1, vec!["f\n"]), (2, vec!["f\n", "dd\ne\n"]), (3, vec!["f\n", "dd\ne\n", "b\ncc\n"])]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut files = Files::new(path.clone(), Some(5), count);
            for line in ["aaaa\n", "b\n", "cc\n", "dd\n", "e\n", "f\n"] {
                files.append(line.as_bytes()).unwrap();
            }
            assert_eq!(contents(&path), expected, "{count}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), expected.len());
        }
    }

    #[test]
    fn a_log_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for line in ["a\n", "b\n", "c\n"] {
            Files::new(path.clone(), Some(4), 2).append(line.as_bytes()).unwrap();
        }
        assert_eq!(contents(&path), ["c\n", "a\nb\n"]);
        let mut endless = Files::new(path.clone(), None, 1);
        endless.append(&[b'x'; 1000]).unwrap();
        assert!(!endless.is_filled_by(1 << 40));
        assert_eq!(contents(&path).len(), 2);
    }
}
