//! What must come out of the layers of the image `odd`, which tests/images makes.

use std::path::{Path, PathBuf};

use crate::harness::{Env, image};

/// Runs `script` as root in a fresh container of `odd`.
fn odd(script: &str) -> String {
    let env = Env::new();
    env.coracle(["run", "--rm", "-q", "-u", "0", "-w", "/odd", "--network", "none", &image("odd"), script])
        .success()
        .stdout()
        .to_owned()
}

#[test]
fn owners_and_modes() {
    let shown = odd(
        "stat -c '%n %u:%g %a' owned highest setuid setgid sticky unreadable closed closed/inside one two",
    );
    let expected = "owned 1234:2345 640\nhighest 65534:65534 644\nsetuid 0:0 4755\nsetgid 0:0 2755\nsticky 0:0 1777\n\
        unreadable 0:0 0\nclosed 0:0 0\nclosed/inside 0:0 644\none 7:0 644\ntwo 7:0 644\n";
    assert_eq!(shown, expected);
}

#[test]
fn times() {
    let shown = odd("stat -c '%n %Y' old fraction folder-time folder-time/inner");
    assert_eq!(shown, "old 1\nfraction 1000000000\nfolder-time 86400\nfolder-time/inner 172800\n");
    assert!(odd("stat -c %y fraction").contains(".123456"), "{}", odd("stat -c %y fraction"));
}

#[test]
fn links_pipes_and_names() {
    assert_eq!(odd("[ one -ef two ] && stat -c %h one"), "2\n");
    assert_eq!(odd("[ again -ef again-link ] && cat again-link"), "again\n");
    assert_eq!(
        odd("for l in absolute upwards dangling through; do readlink $l; done; cat absolute upwards"),
        "/srv/hello\n../../../../../srv/hello\nnowhere\nreal\nhello from tiny\nhello from tiny\n"
    );
    assert_eq!(odd("stat -c %F pipe"), "fifo\n");
    assert_eq!(odd(&format!("cat {}", "long".repeat(60))), "long name\n");
    assert_eq!(odd("cat 'name with space and \u{fc}ml\u{e4}ut'"), "name\n");
    assert_eq!(odd("cat implied/folder/file"), "implied\n");
}

#[test]
fn whiteouts_and_opaque_folders() {
    assert_eq!(odd("cat removed; ls -d removed-folder 2>/dev/null; ls opaque"), "back\nabove\n");
    assert_eq!(
        odd("cat file-to-folder/inner folder-to-file replaced; stat -c %a replaced"),
        "inner\nfile\nsecond\n644\n"
    );
    assert_eq!(odd("ls -a | grep -c '^.wh'; true"), "0\n");
}

#[test]
fn file_capabilities_work() {
    let env = Env::new();
    let line = ["run", "--rm", "-q", "-u", "1000", "--network", "none", &image("odd")];
    // Bit 10: CAP_NET_BIND_SERVICE, from the file, for a user who has none.
    let script = "/odd/busybox-bind grep CapEff /proc/self/status";
    env.coracle(line.into_iter().chain([script])).success().says("CapEff:\t0000000000000400\n");
}

#[test]
fn attributes_are_kept() {
    let env = Env::new();
    env.coracle(["run", "-d", "-q", "--name", "c1", &image("odd"), "sleep 1000"]).success();
    // Read by a program in the container's mount namespace: the attributes are ordinary ones.
    let store = attribute_in_store(&env.store());
    assert_eq!(store.as_deref(), Some("kept"));
    env.coracle(["rm", "-f", "c1"]).success();
}

/// The value of `user.note` on the stored file `odd/tagged`.
fn attribute_in_store(store: &Path) -> Option<String> {
    let mut found: Option<PathBuf> = None;
    crate::harness::machine::walk(store, &mut |path| {
        if path.ends_with("odd/tagged") {
            found = Some(path.to_owned());
        }
    });
    let script = "import os, sys; print(os.getxattr(sys.argv[1], 'user.note').decode(), end='')";
    let said = std::process::Command::new("python3").args(["-c", script]).arg(found?).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}

#[test]
fn what_a_container_does_to_them_stays_in_it() {
    let env = Env::new();
    let line = ["run", "--name", "c1", "-q", "-u", "0", "-w", "/odd", &image("odd")];
    let script = "rm -r opaque closed; echo changed > replaced; chown 5:6 owned; mv file-to-folder moved; ls";
    env.coracle(line.into_iter().chain([script])).success();
    env.coracle(["start", "c1"]).success();
    let line = ["run", "--rm", "-u", "0", "-w", "/odd", &image("odd")];
    let script = "cat replaced opaque/above closed/inside file-to-folder/inner; stat -c %u:%g owned";
    env.coracle(line.into_iter().chain([script])).success().says("second\nabove\ninside\ninner\n1234:2345\n");
}
