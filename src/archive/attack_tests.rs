//! Archives that want to write, read or link outside the directory they are unpacked into, or to
//! exhaust whoever reads them. `Target` checks after each that nothing outside changed.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::tar_builder::*;
use super::unpack::{Error, NoteKind};

#[test]
fn dotdot_and_absolute_names_stay_inside() {
    let (target, _) = unpacked(
        Tar::default()
            .add(file("../../outside/secret", "a"))
            .add(file("/etc/passwd", "b"))
            .add(file("x/../../../y", "c")),
    );
    assert_eq!(target.read("outside/secret"), b"a");
    assert_eq!(target.read("etc/passwd"), b"b");
    assert_eq!(target.read("y"), b"c");
    assert!(!target.exists("x"));
}

#[test]
fn a_file_through_an_absolute_link_is_resolved_inside() {
    let outside = Target::new().outside();
    let inside = outside.strip_prefix("/").expect("absolute").to_str().expect("text").to_owned();
    let tar = |before: Tar| {
        before.add(symlink("out", outside.as_os_str().as_encoded_bytes())).add(file("out/secret", "a"))
    };
    // With a directory of that very path in the layer, it is that one; without, it is made.
    for before in [Tar::default().add(dir(&inside)), Tar::default()] {
        let (target, _) = unpacked(tar(before));
        assert!(target.metadata("out").is_symlink());
        assert_eq!(target.read(&format!("{inside}/secret")), b"a");
    }
}

#[test]
fn a_link_of_the_layer_leads_to_what_is_missing_too() {
    for link in ["usr/lib", "/usr/lib", "./usr//lib/", "../../usr/lib", "absent/../usr/lib"] {
        let (target, _) = unpacked(
            Tar::default()
                .add(symlink("lib", link))
                .add(file("lib/x", "a"))
                .add(hard_link("lib/y", "lib/x"))
                .add(dir("lib/d"))
                .add(symlink("lib/d/up", "../../../../../../usr/share"))
                .add(file("lib/d/up/z", "b")),
        );
        assert!(target.metadata("lib").is_symlink(), "{link}");
        assert_eq!(target.read("usr/lib/x"), b"a", "{link}");
        assert_eq!(target.metadata("usr/lib/x").nlink(), 2, "{link}");
        assert_eq!(target.read("usr/share/z"), b"b", "{link}");
        assert_eq!(target.metadata("usr/lib").mode() & 0o7777, 0o755, "{link}");
    }
}

#[test]
fn whiteouts_through_links_are_where_the_link_leads() {
    let (target, _) = unpacked(
        Tar::default()
            .add(symlink("lib", "/usr/lib"))
            .add(file("lib/.wh.gone", ""))
            .add(symlink("etc", "/conf"))
            .add(file("etc/.wh..wh..opq", "")),
    );
    let gone = target.metadata("usr/lib/gone");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(target.xattr("conf", c"user.overlay.opaque").as_deref(), Some(&b"y"[..]));
}

#[test]
fn a_file_on_the_way_is_no_parent() {
    for archive in [
        Tar::default().add(file("f", "")).add(symlink("l", "f/d")).add(file("l/x", "")),
        Tar::default().add(member(b'6', "f")).add(symlink("l", "/f")).add(file("l/x", "")),
        Tar::default().add(file("f", "")).add(file("f/x", "")),
    ] {
        let (_, error) = refused(archive);
        assert!(matches!(error, Error::Parent { .. }), "{error}");
    }
}

#[test]
fn links_cannot_make_a_path_that_nothing_can_open() {
    let long = format!("{}/", "a".repeat(200)).repeat(15);
    let deep = format!("a/{}f", "n/".repeat(700));
    let (_, error) = refused(
        Tar::default().add(symlink("a", "").pax("linkpath", long)).add(file("f", "").pax("path", deep)),
    );
    assert!(
        matches!(&error, Error::System { source, .. } if source.errno == nix::libc::ENAMETOOLONG),
        "{error}"
    );
}

#[test]
fn links_upwards_stop_at_the_root() {
    let (target, _) = unpacked(
        Tar::default()
            .add(symlink("up", "../../.."))
            .add(file("up/a", "a"))
            .add(dir("d"))
            .add(symlink("d/up", "../.."))
            .add(file("d/up/d/b", "b")),
    );
    assert_eq!(target.read("a"), b"a");
    assert_eq!(target.read("d/b"), b"b");
}

#[test]
fn a_link_loop_is_no_parent() {
    let (_, error) =
        refused(Tar::default().add(symlink("a", "b")).add(symlink("b", "a")).add(file("a/f", "")));
    assert!(matches!(error, Error::Parent { .. }), "{error}");
}

#[test]
fn links_of_proc_are_not_followed() {
    let (target, _) =
        unpacked(Tar::default().add(symlink("root", "/proc/self/root")).add(file("root/tmp/f", "a")));
    assert_eq!(target.read("proc/self/root/tmp/f"), b"a");
    assert!(target.metadata("proc/self/root").is_dir());
}

#[test]
fn the_last_component_is_never_followed() {
    let secret = Target::new().outside().join("secret");
    let (target, _) = unpacked(
        Tar::default().add(symlink("l", secret.as_os_str().as_encoded_bytes())).add(file("l", "mine")),
    );
    assert!(target.metadata("l").is_file());
    assert_eq!(target.read("l"), b"mine");
}

#[test]
fn hard_links_cannot_reach_outside() {
    for link in ["/etc/passwd", "../../outside/secret", "../outside/secret", "absent"] {
        let (_, error) = refused(Tar::default().add(hard_link("x", link)));
        assert!(matches!(error, Error::LinkTarget { .. }), "{link}: {error}");
    }
}

#[test]
fn hard_links_through_symbolic_links_stay_inside() {
    let target = Target::new();
    let outside = target.outside();
    let archive = Tar::default()
        .add(symlink("out", outside.as_os_str().as_encoded_bytes()))
        .add(hard_link("x", "out/secret"))
        .end();
    let error = target.unpack(&archive).expect_err("refused");
    assert!(matches!(error, Error::LinkTarget { .. }), "{error}");

    // A link to a symbolic link is one more name of the link, not of what it points to.
    let target = Target::new();
    let secret = target.outside().join("secret");
    let archive = Tar::default()
        .add(symlink("l", secret.as_os_str().as_encoded_bytes()))
        .add(hard_link("x", "l"))
        .end();
    target.unpack(&archive).expect("unpacked");
    assert!(target.metadata("x").is_symlink());
    assert_eq!(std::fs::metadata(&secret).expect("there").nlink(), 1);
}

#[test]
fn a_directory_replaced_by_a_link_does_not_lead_out() {
    let outside = Target::new().outside();
    let (target, _) = unpacked(
        Tar::default()
            .add(dir("d"))
            .add(file("d/secret", "one"))
            .add(symlink("d", outside.as_os_str().as_encoded_bytes()))
            .add(file("d/secret", "two")),
    );
    let inside = outside.strip_prefix("/").expect("absolute").to_str().expect("text").to_owned();
    assert_eq!(target.read(&format!("{inside}/secret")), b"two");
}

#[test]
fn a_parent_that_changed_is_looked_up_again() {
    let (target, _) = unpacked(
        Tar::default()
            .add(dir("e"))
            .add(file("d/f", "one"))
            .add(symlink("d", "e"))
            .add(file("d/g", "two"))
            .add(hard_link("d/h", "d/g")),
    );
    assert!(target.metadata("d").is_symlink());
    assert_eq!(target.read("e/g"), b"two");
    assert_eq!(target.metadata("e/h").nlink(), 2);
    assert!(!target.exists("e/f"));
}

#[test]
fn device_nodes_are_left_out_with_one_note() {
    let (target, summary) =
        unpacked(Tar::default().add(dir("dev")).add(member(b'3', "dev/mem")).add(member(b'4', "dev/sda")));
    assert!(!target.exists("dev/mem") && !target.exists("dev/sda"));
    assert_eq!(summary.notes.len(), 1);
    assert_eq!((&summary.notes[0].kind, summary.notes[0].count), (&NoteKind::DeviceSkipped, 2));
    assert_eq!(summary.notes[0].to_string(), "device node \"dev/mem\" was left out (and 1 more like it)");
}

#[test]
fn headers_of_a_gigabyte_are_refused_unread() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let mut huge = member(kind, "huge");
        huge.size = Some(1 << 30);
        let target = Target::new();
        let error = target.unpack(&Tar::default().raw(huge.header()).open_end()).expect_err("refused");
        assert!(matches!(error, Error::HeaderTooLarge { offset: 0 }), "{error}");
    }
}

#[test]
fn an_endless_chain_of_sparse_headers_is_refused() {
    let mut header = member(b'S', "sparse").header();
    header[482] = 1;
    fix_checksum(&mut header);
    let mut more = [0; 512];
    more[504] = 1;
    let archive = std::io::Read::chain(&header[..], std::io::repeat(0).take_blocks(more));
    let target = Target::new();
    let result = super::unpack::unpack(
        archive,
        target.root(),
        std::fs::File::open(target.path("")).expect("open").into(),
        "replaced",
        Vec::new(),
        RECORDED,
    );
    let error = result.map(|_| ()).expect_err("refused");
    assert!(matches!(error, Error::HeaderTooLarge { .. }), "{error}");
}

trait TakeBlocks {
    fn take_blocks(self, block: [u8; 512]) -> Blocks;
}

impl TakeBlocks for std::io::Repeat {
    fn take_blocks(self, block: [u8; 512]) -> Blocks {
        Blocks { block, at: 0 }
    }
}

/// The same block without end.
struct Blocks {
    block: [u8; 512],
    at: usize,
}

impl std::io::Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.block[self.at];
            self.at = (self.at + 1) % 512;
        }
        Ok(buffer.len())
    }
}

fn fix_checksum(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn an_archive_cut_anywhere_is_an_error_or_ends_between_members() {
    let whole = Tar::default()
        .add(dir("d"))
        .add(file("d/f", "x".repeat(700)).pax("mtime", "5.5"))
        .add(symlink("l", "d"));
    let bytes = whole.open_end();
    // After the first header, after the file with its two extra blocks, and at the very end.
    let boundaries = [0, 512, bytes.len() - 512, bytes.len()];
    let near = boundaries.iter().flat_map(|&at| [at.saturating_sub(1), at, at + 1]);
    for length in near.chain((0..bytes.len()).step_by(131)).filter(|&length| length <= bytes.len()) {
        let result = Target::new().unpack(&bytes[..length]);
        if boundaries.contains(&length) {
            assert!(result.is_ok(), "{length}");
        } else {
            assert!(matches!(result, Err(Error::Truncated { .. })), "{length}: {result:?}");
        }
    }
}

#[test]
fn a_member_larger_than_the_archive_is_truncation() {
    let mut large = file("f", "short");
    large.size = Some(1 << 40);
    let (_, error) = refused(Tar::default().add(large));
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn damaged_headers_are_named_with_their_place() {
    let mut header = file("f", "").header();
    header[0] = b'g';
    let (_, error) = refused(Tar::default().add(dir("d")).raw(header));
    assert!(matches!(error, Error::Malformed { offset: 512, .. }), "{error}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    for key in ["size", "uid", "gid", "mtime"] {
        let (_, error) = refused(Tar::default().add(file("f", "x").pax(key, "1x")));
        assert!(matches!(error, Error::Member { .. }), "{key}: {error}");
    }
    let (_, error) = refused(Tar::default().add(file("f", "").owner(1 << 33, 0)));
    assert!(matches!(error, Error::Member { .. }), "{error}");
}

#[test]
fn names_with_nul_or_too_long_are_refused() {
    let (_, error) = refused(Tar::default().add(file("f", "").pax("path", b"a\0b")));
    assert!(matches!(error, Error::Member { .. }), "{error}");
    let (_, error) = refused(Tar::default().add(file("f", "").pax("path", vec![b'a'; 5000])));
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let (_, error) = refused(Tar::default().add(file("f", "").pax("path", vec![b'a'; 256])));
    assert!(
        matches!(&error, Error::System { source, .. } if source.errno == nix::libc::ENAMETOOLONG),
        "{error}"
    );
}

#[test]
fn the_root_can_only_be_a_directory() {
    let (_, error) = refused(Tar::default().add(symlink("./", "/")));
    assert!(matches!(error, Error::Member { .. }), "{error}");
    let (_, error) = refused(Tar::default().add(file("a/..", "x")));
    assert!(matches!(error, Error::Member { .. }), "{error}");
}

#[test]
fn attributes_of_the_storage_cannot_be_forged() {
    let (target, summary) = unpacked(
        Tar::default().add(
            dir("d")
                .pax("SCHILY.xattr.user.overlay.opaque", "y")
                .pax("SCHILY.xattr.trusted.overlay.redirect", "/etc")
                .pax("SCHILY.xattr.user.coracle.owner", "0:0")
                .pax("SCHILY.xattr.user.fuseoverlayfs.opaque", "y")
                .pax("SCHILY.xattr.user.kept", "v"),
        ),
    );
    assert_eq!(target.xattr("d", c"user.overlay.opaque"), None);
    assert_eq!(target.xattr("d", c"user.coracle.owner"), None);
    assert_eq!(target.xattr("d", c"user.fuseoverlayfs.opaque"), None);
    assert_eq!(target.xattr("d", c"user.kept").as_deref(), Some(&b"v"[..]));
    assert_eq!(summary.notes, []);
}

#[test]
fn unknown_member_types_are_refused_by_name() {
    let (_, error) = refused(Tar::default().add(member(b'V', "label")));
    assert_eq!(error.to_string(), "malformed archive member \"label\": its type is unknown");
}
