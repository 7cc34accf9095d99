//! Packing and extracting against real directories, without privileges.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::extract::{Error, Ownership, Rules, extract};
use super::pack::{Source, pack};
use super::unpack::Owners;
use crate::sys::path::Root;

const RULES: Rules = Rules { ownership: Ownership::Caller, owners: Owners::Mapped, umask_is_zero: false };

fn packed(directory: &Path, called: &str) -> Vec<u8> {
    let opened = File::open(directory).expect("directory");
    let place = tempfile::tempdir().expect("temp dir");
    let out = File::create(place.path().join("tar")).expect("archive");
    let done = AtomicU64::new(0);
    let source =
        Source { directory: opened.as_fd(), name: c".", called: called.as_bytes(), owners: Owners::Mapped };
    pack(source, &out, &done).expect("packed");
    let bytes = fs::read(place.path().join("tar")).expect("archive");
    assert_eq!(done.load(Ordering::Relaxed), bytes.len() as u64);
    bytes
}

fn extracted(bytes: &[u8], into: &Path) -> Result<(), Error> {
    let (read, write) = nix::unistd::pipe().expect("pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = File::from(write).write_all(bytes);
        });
        let place = Root::open(into).expect("destination");
        let read = File::from(read);
        extract(&read, place, "dest", RULES, &AtomicU64::new(0)).map(drop)
    })
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let (from, to) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let path = |name: &str| from.path().join(name);
    fs::create_dir_all(path("a/closed")).expect("mkdir");
    let large: Vec<u8> = (0..700_001u32).map(|i| i as u8).collect();
    fs::write(path("a/large"), &large).expect("write");
    fs::write(path("a/closed/file"), "x").expect("write");
    fs::write(path("x".repeat(200).as_str()), "long").expect("write");
    fs::hard_link(path("a/large"), path("a/second")).expect("link");
    symlink("/nowhere", path("a/link")).expect("symlink");
    fs::set_permissions(path("a/closed/file"), fs::Permissions::from_mode(0o4640)).expect("chmod");
    fs::set_permissions(path("a/closed"), fs::Permissions::from_mode(0o555)).expect("chmod");
    extracted(&packed(from.path(), "top"), to.path()).expect("extracted");
    let got = |name: &str| to.path().join("top").join(name);
    assert_eq!(fs::read(got("a/large")).expect("large"), large);
    assert_eq!(
        fs::metadata(got("a/large")).expect("stat").ino(),
        fs::metadata(got("a/second")).expect("stat").ino()
    );
    assert_eq!(fs::read_link(got("a/link")).expect("link"), Path::new("/nowhere"));
    assert_eq!(fs::read(got(&"x".repeat(200))).expect("long"), b"long");
    assert_eq!(fs::metadata(got("a/closed/file")).expect("stat").mode() & 0o7777, 0o4640);
    assert_eq!(fs::metadata(got("a/closed")).expect("stat").mode() & 0o7777, 0o555);
    // A second time: what is there is replaced, directories are merged.
    fs::set_permissions(got("a/closed"), fs::Permissions::from_mode(0o755)).expect("chmod");
    extracted(&packed(from.path(), "top"), to.path()).expect("extracted");
}

#[test]
fn directories_and_files_do_not_replace_each_other() {
    let (from, to) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    fs::create_dir(from.path().join("d")).expect("mkdir");
    fs::write(from.path().join("f"), "x").expect("write");
    let archive = packed(from.path(), ".");
    fs::write(to.path().join("d"), "").expect("write");
    let error = extracted(&archive, to.path()).expect_err("refused").to_string();
    assert_eq!(error, "cannot overwrite non-directory \"d\" with directory \"dest\"");
    fs::remove_file(to.path().join("d")).expect("rm");
    fs::create_dir(to.path().join("f")).expect("mkdir");
    let error = extracted(&archive, to.path()).expect_err("refused").to_string();
    assert_eq!(error, "cannot overwrite directory \"f\" with non-directory \"dest\"");
}

#[test]
fn links_that_are_there_do_not_lead_out() {
    let outside = tempfile::tempdir().expect("temp dir");
    let to = tempfile::tempdir().expect("temp dir");
    symlink(outside.path(), to.path().join("up")).expect("symlink");
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["up/evil", "b/../../evil2"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        // The builder itself refuses such names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, &b"x"[..]).expect("appended");
    }
    let archive = tar.into_inner().expect("archive");
    let _ = extracted(&archive, to.path());
    assert_eq!(fs::read_dir(outside.path()).expect("listing").count(), 0);
    assert!(!to.path().parent().expect("above").join("evil2").exists());
}
