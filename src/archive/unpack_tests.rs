//! What unpacking makes of well-formed archives. `Target` also rebuilds every one of them.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use proptest::prelude::*;

use super::tar_builder::*;
use super::unpack::{Error, Options, Owners, Whiteouts};

#[test]
fn files_have_content_modes_and_times() {
    let (target, summary) = unpacked(
        Tar::default()
            .add(dir("d").mode(0o1777).mtime(5))
            .add(file("d/f", "hello").mode(0o4755))
            .add(file("d/empty", "").mode(0o400).mtime(-7))
            .add(file("d/fine", "x").pax("mtime", "1234567890.123456789"))
            .add(file("d/large", vec![7; 700_000])),
    );
    assert_eq!(target.metadata("d").mode() & 0o7777, 0o1777);
    assert_eq!(target.metadata("d").mtime(), 5);
    assert_eq!(target.read("d/f"), b"hello");
    assert_eq!(target.metadata("d/f").mode() & 0o7777, 0o4755);
    assert_eq!(target.metadata("d/f").mtime(), 1_000_000_000);
    assert_eq!(target.metadata("d/empty").mode() & 0o7777, 0o400);
    assert_eq!(target.metadata("d/empty").mtime(), -7);
    let fine = target.metadata("d/fine");
    assert_eq!((fine.mtime(), fine.mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(target.read("d/large"), vec![7; 700_000]);
    assert_eq!((summary.size, summary.files), (700_006, 5));
}

#[test]
fn the_root_takes_the_attributes_of_its_member() {
    let (target, _) = unpacked(Tar::default().add(dir("./").mode(0o750).mtime(9)).add(file("./f", "")));
    assert_eq!(target.metadata("").mode() & 0o7777, 0o750);
    assert_eq!(target.metadata("").mtime(), 9);
    let (target, _) = unpacked(Tar::default().add(file("f", "")));
    assert_eq!(target.metadata("").mode() & 0o7777, 0o755);
}

#[test]
fn missing_parents_are_made_and_a_later_member_describes_them() {
    let (target, _) = unpacked(
        Tar::default()
            .add(file("a/b/c", "x"))
            .add(dir("a").mode(0o700))
            .add(dir("z/y").mode(0o555))
            .add(file("z/y/f", "")),
    );
    assert_eq!(target.metadata("a").mode() & 0o7777, 0o700);
    assert_eq!(target.metadata("a/b").mode() & 0o7777, 0o755);
    assert_eq!(target.metadata("z/y").mode() & 0o7777, 0o555);
    assert!(target.exists("z/y/f"));
}

#[test]
fn directories_may_be_closed_to_their_owner() {
    let (target, _) = unpacked(
        Tar::default()
            .add(dir("a").mode(0))
            .add(dir("a/b").mode(0))
            .add(dir("a/b").mode(0o100))
            .add(dir("a").mode(0o300)),
    );
    assert_eq!(target.metadata("a").mode() & 0o7777, 0o300);
    assert_eq!(target.metadata("a/b").mode() & 0o7777, 0o100);
}

#[test]
fn later_members_replace_earlier_ones() {
    let (target, summary) = unpacked(
        Tar::default()
            .add(file("a", "first"))
            .add(file("a", "second"))
            .add(file("b/x/y", "deep"))
            .add(hard_link("kept", "b/x/y"))
            .add(file("b", "file now"))
            .add(symlink("c", "a"))
            .add(dir("c"))
            .add(file("c/f", "in c"))
            .add(symlink("link", "a"))
            .add(file("d", "d"))
            .add(dir("d").mode(0o711))
            .add(member(b'6', "e"))
            .add(file("e", "e")),
    );
    assert_eq!(target.read("a"), b"second");
    assert_eq!(target.read("b"), b"file now");
    assert_eq!(target.read("kept"), b"deep");
    assert_eq!(target.read("c/f"), b"in c");
    assert_eq!(target.metadata("d").mode() & 0o7777, 0o711);
    assert_eq!(target.read("e"), b"e");
    // With the length of the one link that is left.
    assert_eq!(summary.size, 6 + 8 + 4 + 4 + 1 + 1);
}

#[test]
fn a_directory_again_keeps_its_content() {
    let (target, _) =
        unpacked(Tar::default().add(dir("d")).add(file("d/f", "x")).add(dir("d/").mode(0o500).mtime(3)));
    assert_eq!(target.read("d/f"), b"x");
    assert_eq!((target.metadata("d").mode() & 0o7777, target.metadata("d").mtime()), (0o500, 3));
}

#[test]
fn names_may_be_long_or_any_bytes() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let odd = b"caf\xe9 \xff";
    let (target, _) = unpacked(
        Tar::default()
            .add(file("pax", "1").pax("path", &long))
            .add(file("././@LongLink", [b"gnu/", &[b'g'; 180][..], b"\0"].concat()).kind(b'L'))
            .add(file("cut", "2"))
            .add(file("././@LongLink", [&[b't'; 180][..], b"\0"].concat()).kind(b'K'))
            .add(symlink("l", "cut"))
            .add(file(odd, "3")),
    );
    assert_eq!(target.read(&long), b"1");
    assert_eq!(target.read(&format!("gnu/{}", "g".repeat(180))), b"2");
    assert_eq!(std::fs::read_link(target.path("l")).expect("link").as_os_str().len(), 180);
    let path = target.path("").join(std::ffi::OsStr::from_bytes(odd));
    assert_eq!(std::fs::read(path).expect("read"), b"3");
}

#[test]
fn old_archives_and_large_numbers_are_understood() {
    let mut old = dir("olddir/").kind(0).header();
    old[257..265].fill(0);
    old[148..156].fill(b' ');
    let sum: u32 = old.iter().map(|&byte| u32::from(byte)).sum();
    old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let (target, _) = unpacked(
        Tar::default()
            .raw(old)
            .add(file("contiguous", "c").kind(b'7'))
            .add(file("big", "b").owner(3_000_000, 1)),
    );
    assert!(target.metadata("olddir").is_dir());
    assert_eq!(target.read("contiguous"), b"c");
    assert_eq!(target.xattr("big", c"user.coracle.owner").as_deref(), Some(&b"3000000:1"[..]));
}

#[test]
fn only_files_have_data() {
    let mut link = hard_link("l", "f");
    link.size = Some(3);
    let mut directory = dir("d");
    directory.size = Some(4096);
    let (target, _) =
        unpacked(Tar::default().add(file("f", "abc")).add(link).add(directory).add(file("g", "x")));
    assert_eq!(target.metadata("f").nlink(), 2);
    assert_eq!(target.read("g"), b"x");
}

#[test]
fn a_hard_link_to_itself_and_over_a_file() {
    let (target, summary) = unpacked(
        Tar::default()
            .add(file("f", "abc"))
            .add(hard_link("./f", "f"))
            .add(file("g", "long one"))
            .add(hard_link("g", "/f")),
    );
    assert_eq!(target.read("g"), b"abc");
    assert_eq!(target.metadata("f").nlink(), 2);
    assert_eq!(summary.size, 3);
}

#[test]
fn fifos_are_made() {
    let (target, _) = unpacked(Tar::default().add(member(b'6', "fifo").mode(0o622)));
    assert!(target.metadata("fifo").file_type().is_fifo());
    assert_eq!(target.metadata("fifo").mode() & 0o7777, 0o622);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let (target, _) = unpacked(
        Tar::default()
            .add(file(".wh.gone", ""))
            .add(file("same", "mine"))
            .add(file(".wh.same", ""))
            .add(file("d/.wh.later", "content is kept for the archive"))
            .add(file("d/later", "mine too"))
            .add(file(".wh..wh.plnk/1.2", "aufs"))
            .add(file(".wh..wh.aufs", "")),
    );
    let gone = target.metadata("gone");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(target.read("same"), b"mine");
    assert_eq!(target.read("d/later"), b"mine too");
    assert!(!target.exists(".wh.gone") && !target.exists(".wh..wh.plnk"));
}

#[test]
fn a_directory_beside_its_own_whiteout_is_opaque() {
    let (target, _) = unpacked(
        Tar::default()
            .add(file(".wh.before", ""))
            .add(dir("before"))
            .add(dir("after"))
            .add(file(".wh.after", ""))
            .add(file(".wh.implied", ""))
            .add(file("implied/f", "x"))
            .add(dir("plain")),
    );
    for name in ["before", "after", "implied"] {
        assert_eq!(target.xattr(name, c"user.overlay.opaque").as_deref(), Some(&b"y"[..]), "{name}");
    }
    assert_eq!(target.xattr("plain", c"user.overlay.opaque"), None);
}

#[test]
fn opaque_directories_in_any_order() {
    let orders = [
        Tar::default().add(dir("d")).add(file("d/f", "x")).add(file("d/.wh..wh..opq", "")),
        Tar::default().add(file("d/.wh..wh..opq", "")).add(file("d/f", "x")).add(dir("d")),
    ];
    for tar in orders {
        let (target, _) = unpacked(tar);
        assert_eq!(target.read("d/f"), b"x");
        assert_eq!(target.xattr("d", c"user.overlay.opaque").as_deref(), Some(&b"y"[..]));
        assert!(!target.exists("d/.wh..wh..opq"));
    }
    let (target, _) = unpacked(Tar::default().add(file(".wh..wh..opq", "")));
    assert_eq!(target.xattr("", c"user.overlay.opaque").as_deref(), Some(&b"y"[..]));
}

#[test]
fn whiteouts_can_be_markers() {
    let target = Target::new();
    let archive = Tar::default()
        .add(file(".wh.gone", ""))
        .add(file(".wh.back", ""))
        .add(file("back", "x"))
        .add(file(".wh.d", ""))
        .add(file("d/f", ""))
        .end();
    let options = Options { whiteouts: Whiteouts::Marker, ..RECORDED };
    let summary = target.unpack_with(&archive, options).expect("unpacked");
    assert!(summary.marker_whiteouts);
    assert!(target.exists(".wh.gone") && !target.exists("gone"));
    assert!(target.exists("back") && !target.exists(".wh.back"));
    assert!(target.exists("d/f") && !target.exists(".wh.d"));
}

#[test]
fn bad_whiteouts_are_refused() {
    for name in [".wh.", "d/.wh.", ".wh..", ".wh.x/y"] {
        let (_, error) = refused(Tar::default().add(file(name, "")));
        assert!(matches!(error, Error::InvalidWhiteout { .. }), "{name}: {error}");
    }
}

#[test]
fn owners_are_given_or_recorded() {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let archive = |uid: u32, gid: u32| {
        let (uid, gid) = (u64::from(uid), u64::from(gid));
        Tar::default()
            .add(dir("d").owner(uid, gid))
            .add(file("d/f", "x").owner(uid, gid).mode(0o6755))
            .add(symlink("d/l", "f").owner(uid, gid))
            .end()
    };
    let target = Target::new();
    let mapped = Options { owners: Owners::Mapped, ..RECORDED };
    target.unpack_with(&archive(uid, gid), mapped).expect("unpacked");
    assert_eq!((target.metadata("d/f").uid(), target.metadata("d/f").gid()), (uid, gid));
    assert_eq!(target.metadata("d/f").mode() & 0o7777, 0o6755);

    let target = Target::new();
    target.unpack(&archive(12, 34)).expect("unpacked");
    for name in ["d", "d/f"] {
        assert_eq!(target.xattr(name, c"user.coracle.owner").as_deref(), Some(&b"12:34"[..]));
        assert_eq!(target.metadata(name).uid(), uid);
    }
    assert_eq!(target.metadata("d/f").mode() & 0o7777, 0o6755);
}

#[test]
fn sparse_files_of_every_format() {
    let content = |target: &Target| {
        let bytes = target.read("s");
        assert_eq!(bytes.len(), 3_000_000);
        assert_eq!((&bytes[..3], &bytes[1_000_000..1_000_003]), (&b"abc"[..], &b"def"[..]));
        assert!(bytes[3..1_000_000].iter().chain(&bytes[1_000_003..]).all(|&byte| byte == 0));
    };
    let mut old = file("s", "abcdef").kind(b'S').header();
    for (at, value) in
        [(386, 0), (398, 3), (410, 1_000_000), (422, 3), (434, 3_000_000), (446, 0), (483, 3_000_000)]
    {
        old[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    }
    old[148..156].fill(b' ');
    let sum: u32 = old.iter().map(|&byte| u32::from(byte)).sum();
    old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let base = |data: &[u8]| file("GNUSparseFile.0/s", data);
    let mut map = b"2\n0\n3\n1000000\n3\n".to_vec();
    map.resize(512, 0);
    let one = base(&[&map[..], b"abcdef"].concat())
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "s")
        .pax("GNU.sparse.realsize", "3000000");
    let archives = [
        Tar::default().raw(old).padded(b"abcdef"),
        Tar::default().add(one.clone()),
        Tar::default().add(one.pax("size", "518")),
        Tar::default().add(
            base(b"abcdef")
                .pax("GNU.sparse.size", "3000000")
                .pax("GNU.sparse.name", "s")
                .pax("GNU.sparse.map", "0,3,1000000,3"),
        ),
    ];
    for tar in archives {
        let (target, summary) = unpacked(tar.add(file("next", "n")));
        content(&target);
        assert!(target.metadata("s").blocks() * 512 < 1_000_000);
        assert_eq!(target.read("next"), b"n");
        assert_eq!(summary.size, 3_000_001);
    }
}

#[test]
fn endings_of_every_kind_are_kept() {
    let start = || Tar::default().add(file("f", "x"));
    for archive in [
        start().open_end(),
        start().raw([0; 512]).open_end(),
        start().raw([0; 700]).open_end(),
        start().raw([0; 10240]).open_end(),
        start().raw([0; 1024]).raw(b"anything may follow").open_end(),
        start().raw([0; 512]).add(file("g", "after one zero block")).end(),
        start().add(file("comment", "12 comment=a\n").kind(b'g')).end(),
        Vec::new(),
    ] {
        Target::new().unpack(&archive).expect("unpacked and rebuilt");
    }
}

fn any_member() -> impl Strategy<Value = Member> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "a/b",
        "a/b/c",
        "b/a",
        "./a",
        "a/../b",
        ".wh.a",
        "a/.wh.b",
        "a/.wh..wh..opq",
        "long",
    ]);
    let link =
        prop::sample::select(vec!["a", "b", "a/b", "..", "/a", "absent", "/absent/../c", "b/../../d/e"]);
    let kind = prop::sample::select(b"0005126".to_vec());
    let data = prop::collection::vec(any::<u8>(), 0..1500);
    (name, link, kind, data, 0u32..0o7777, any::<bool>()).prop_map(|(name, link, kind, data, mode, pax)| {
        let mut member = member(kind, name).mode(mode | 0o600);
        match kind {
            b'0' => member.data = data,
            b'1' | b'2' => member.link = link.into(),
            _ => {}
        }
        if name == "long" {
            member = member.pax("path", format!("a/{}", "n".repeat(200)));
        }
        if pax { member.pax("mtime", "77.25").pax("comment", "kept") } else { member }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Whatever can be unpacked can be rebuilt to the byte; what cannot is refused without harm.
    #[test]
    fn every_unpacked_archive_can_be_rebuilt(members in prop::collection::vec(any_member(), 0..24), tail in 0usize..2000) {
        let archive = members.into_iter().fold(Tar::default(), Tar::add).raw([0; 1024]).raw(vec![0; tail]).open_end();
        let _ = Target::new().unpack(&archive);
    }
}
