//! `coracle man`: the manual pages, made from the same tables as `--help`. Runs in the client.

mod page;
mod texts;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{Arity, Verb};
use super::error::CommandError;
use super::{Command, Context};

#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot make the folder {path}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot write the page {path}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["man"],
        about: "Write the manual pages into a folder",
        usage: "DIRECTORY",
        arity: Arity::Exactly(1),
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, _context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        write(Path::new(&words[0])).map(|()| ExitCode::SUCCESS).map_err(CommandError::failure)
    }
}

/// Writes every page; what was there of that name is replaced.
fn write(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
    for page in page::all() {
        let path = folder.join(page.file());
        let at = |source| Error::Write { path: path.clone(), source };
        fs::write(&path, &page.text).map_err(at)?;
        for alias in &page.aliases {
            let path = folder.join(format!("{alias}.1"));
            let at = |source| Error::Write { path: path.clone(), source };
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(error)),
                _ => {}
            }
            std::os::unix::fs::symlink(page.file(), &path).map_err(at)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("man/man1");
        write(&place).unwrap();
        write(&place).unwrap();
        let text = fs::read_to_string(place.join("coracle-container-ls.1")).unwrap();
        assert_eq!(text, fs::read_to_string(place.join("coracle-ps.1")).unwrap());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(write(&folder.path().join("file/below")), Err(Error::Folder { .. })));
    }
}
