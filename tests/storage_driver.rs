//! Both storage drivers do the same: native overlay, and fuse-overlayfs where that is refused.

use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{Mode, SFlag};

use crate::harness::fake_registry::FakeRegistry;
use crate::harness::tar::{Entry, archive, busybox_entries};
use crate::harness::{Env, image, machine};

fn with_driver(driver: &str) -> Env {
    let mut env = Env::new();
    env.set_var("CORACLE_STORAGE_DRIVER", driver);
    env
}

fn files_behave(driver: &str) {
    let env = with_driver(driver);
    let odd = image("odd");
    env.coracle(["pull", "-q", &odd]).success();
    let line = ["run", "--name", "c1", "-u", "0", "-w", "/odd", &odd];
    // Copy up, whiteouts of our own, renames over folders, links, owners, modes, capabilities.
    let script = "cat removed opaque/above && echo changed >> replaced && cat replaced && rm -r opaque && mkdir opaque \
        && ls opaque && ln one three && [ one -ef three ] && stat -c %u three && chown 99:98 owned && stat -c %u:%g owned \
        && mv real moved && ls -d moved && chmod 0 folder-to-file && rm -r closed && touch sticky/x \
        && su sailor -c '/odd/busybox-bind grep CapEff /proc/self/status'";
    let expected = "back\nabove\nsecond\nchanged\n7\n99:98\nmoved\nCapEff:\t0000000000000400\n";
    env.coracle(line.into_iter().chain([script])).success().says(expected);
    assert_eq!(env.inspect("c1", "/Driver").as_str(), Some(driver));
    // A second start sees the first one's changes, another container does not.
    let line = ["run", "--rm", "-u", "0", "-w", "/odd", &odd];
    env.coracle(line.into_iter().chain(["cat replaced; ls opaque; stat -c %u:%g owned"]))
        .success()
        .says("second\nabove\n1234:2345\n");
    env.coracle(["rm", "c1"]).success();
}

#[test]
fn overlay_files_behave() {
    files_behave("overlay");
}

#[test]
fn fuse_overlayfs_files_behave() {
    files_behave("fuse-overlayfs");
}

fn life_is_the_same(driver: &str) {
    let env = with_driver(driver);
    env.coracle(["pull", "-q", &image("tiny")]).success();
    env.coracle(["tag", &image("tiny"), "tiny"]).success();
    let script = "echo x >> /count; wc -l < /count; exec sleep 1000";
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.wait_for_log("c1", "1");
    env.coracle(["exec", "c1", "cat", "/count"]).success().says("x\n");
    env.coracle(["restart", "-t", "0", "c1"]).success();
    env.wait_for_log("c1", "2");
    env.coracle(["run", "--rm", "--read-only", "tiny", "touch", "/x"]).code(1).stderr_has("Read-only");
    env.coracle(["run", "--rm", "tiny", "sh", "-c", "exit 9"]).code(9);
    let fuse = || {
        env.processes().into_iter().filter(|pid| machine::describe(*pid).contains("(fuse-overlayfs")).count()
    };
    assert_eq!(fuse(), usize::from(driver == "fuse-overlayfs"));
    env.coracle(["rm", "-f", "c1"]).success();
    assert!(
        crate::harness::eventually(std::time::Duration::from_secs(5), || fuse() == 0),
        "fuse-overlayfs stays"
    );
}

#[test]
fn overlay_life() {
    life_is_the_same("overlay");
}

#[test]
fn fuse_overlayfs_life() {
    life_is_the_same("fuse-overlayfs");
}

/// An image whose second layer hides a file, an empty folder and all that a folder had.
fn push_whiteouts(registry: &FakeRegistry) -> String {
    let mut base = busybox_entries();
    base.extend(["gone", "kept", "old/one", "old/two", "lost/x"].map(|name| Entry::file(name, "base\n")));
    let top = [
        Entry::file(".wh.gone", ""),
        Entry::file(".wh.lost", ""),
        Entry::file("old/.wh..wh..opq", ""),
        Entry::file("old/new", "top\n"),
    ];
    registry.push("app", "latest", &[archive(&base), archive(&top)]);
    registry.image("app")
}

/// What a container of that image has at its root.
const LOOK: &str = "ls -aR /gone /lost /old /kept 2>/dev/null; cat /old/new";
const SEEN: &str = "/kept\n\n/old:\n.\n..\nnew\ntop\n";

const OTHER: [(&str, &str); 2] = [("overlay", "fuse-overlayfs"), ("fuse-overlayfs", "overlay")];

#[test]
fn whiteouts_of_an_image_outlive_the_driver() {
    let registry = FakeRegistry::start();
    let name = push_whiteouts(&registry);
    for (first, second) in OTHER {
        let mut env = with_driver(first);
        env.coracle(["pull", "-q", &name]).success();
        for driver in [second, first, second] {
            env.set_var("CORACLE_STORAGE_DRIVER", driver);
            env.coracle(["run", "--rm", &name, "sh", "-c", LOOK]).success().says(SEEN);
        }
    }
}

/// What a kernel that refuses devices to users leaves in the store: files `.wh.NAME`.
fn make_markers(env: &Env) -> std::path::PathBuf {
    let layers = std::fs::read_dir(env.store().join("layers")).unwrap();
    let layer =
        layers.map(|entry| entry.unwrap().path()).find(|layer| layer.join("diff/old/new").exists()).unwrap();
    let diff = layer.join("diff");
    let time = std::fs::metadata(&diff).unwrap().modified().unwrap();
    for hidden in ["gone", "lost"] {
        std::fs::remove_file(diff.join(hidden)).unwrap();
        std::fs::write(diff.join(format!(".wh.{hidden}")), "").unwrap();
    }
    // A folder of the same owner and mode without the attribute.
    let (old, attributed) = (diff.join("old"), diff.join("attributed"));
    std::fs::rename(&old, &attributed).unwrap();
    let known = std::fs::metadata(&attributed).unwrap();
    std::fs::create_dir(&old).unwrap();
    std::fs::set_permissions(&old, known.permissions()).unwrap();
    std::os::unix::fs::chown(&old, Some(known.uid()), Some(known.gid())).unwrap();
    std::fs::rename(attributed.join("new"), old.join("new")).unwrap();
    std::fs::remove_dir(&attributed).unwrap();
    std::fs::write(old.join(".wh..wh..opq"), "").unwrap();
    std::fs::File::open(&diff).unwrap().set_modified(time).unwrap();
    let record = layer.join("layer.json");
    let json = std::fs::read_to_string(&record).unwrap();
    let changed = json.replace("\"marker_whiteouts\":false", "\"marker_whiteouts\":true");
    assert_ne!(json, changed);
    std::fs::write(&record, changed).unwrap();
    layer
}

#[test]
fn markers_are_turned_for_native_overlay() {
    let registry = FakeRegistry::start();
    let name = push_whiteouts(&registry);
    let mut env = with_driver("fuse-overlayfs");
    env.coracle(["pull", "-q", &name]).success();
    let layer = make_markers(&env);
    let time = || std::fs::metadata(layer.join("diff")).unwrap().modified().unwrap();
    let before = time();
    // The driver that knows them leaves them.
    env.coracle(["run", "--rm", &name, "sh", "-c", LOOK]).success().says(SEEN);
    assert!(layer.join("diff/.wh.gone").exists());
    // Native overlay gets what it knows, once; fuse-overlayfs goes on.
    for driver in ["overlay", "overlay", "fuse-overlayfs"] {
        env.set_var("CORACLE_STORAGE_DRIVER", driver);
        env.coracle(["run", "--rm", &name, "sh", "-c", LOOK]).success().says(SEEN);
        assert!(!layer.join("diff/.wh.gone").exists() && !layer.join("diff/old/.wh..wh..opq").exists());
    }
    assert_eq!(time(), before);
    let record = std::fs::read_to_string(layer.join("layer.json")).unwrap();
    assert!(record.contains("\"marker_whiteouts\":false"), "{record}");
    env.coracle(["rmi", &name]).success();
}

#[test]
fn markers_left_by_a_killed_turn_are_turned() {
    let registry = FakeRegistry::start();
    let name = push_whiteouts(&registry);
    let env = with_driver("overlay");
    env.coracle(["pull", "-q", &name]).success();
    let layer = make_markers(&env);
    // One device was made, its marker is still there; one marker is gone.
    nix::sys::stat::mknod(&layer.join("diff/gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    nix::sys::stat::mknod(&layer.join("diff/lost"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    std::fs::remove_file(layer.join("diff/.wh.lost")).unwrap();
    env.coracle(["run", "--rm", &name, "sh", "-c", LOOK]).success().says(SEEN);
}

#[test]
fn what_a_container_removed_stays_removed_under_the_other_driver() {
    let registry = FakeRegistry::start();
    let name = push_whiteouts(&registry);
    for (first, second) in OTHER {
        let mut env = with_driver(first);
        env.coracle(["pull", "-q", &name]).success();
        let script = "[ -e /kept ] && { rm /kept && rm -r /old && mkdir /old && echo mine >/old/mine; }; \
            ls -a /old; cat /old/mine; ls /kept || echo no kept";
        let seen = ".\n..\nmine\nmine\nno kept\n";
        env.coracle(["run", "--name", "c1", &name, "sh", "-c", &format!("{script} 2>/dev/null")]).success();
        for driver in [first, second, first, second] {
            env.set_var("CORACLE_STORAGE_DRIVER", driver);
            env.coracle(["start", "-a", "c1"]).success().says(seen);
            assert_eq!(env.inspect("c1", "/Driver").as_str(), Some(driver));
        }
        env.coracle(["rm", "c1"]).success();
    }
}
