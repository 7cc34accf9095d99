//! A disk without room: a clear error, and a store that is whole.

use std::path::Path;
use std::process::Command;

use crate::harness::{Env, image, machine};

/// A small file system at `XDG_DATA_HOME`, unmounted with its guard.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(env: &Env, size: &str) -> SmallDisk {
        machine::needs_root();
        let folder = env.folder("home/data", 0o755);
        let owner = format!("size={size},uid={},gid={},mode=755", env.user.uid, env.user.gid);
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &owner, "none"]).arg(&folder).status();
        assert!(done.is_ok_and(|status| status.success()), "cannot mount a tmpfs");
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn free(folder: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(folder).unwrap();
    stat.blocks_free() as u64 * stat.fragment_size() as u64
}

#[test]
fn a_pull_that_does_not_fit() {
    let env = Env::new();
    let disk = SmallDisk::mount(&env, "60m");
    env.coracle(["images"]).success();
    let before = (env.listing(&env.store()), free(&disk.0));
    let said = env.coracle(["pull", &image("debian")]).code(1);
    said.stderr_has("No space left");
    env.coracle(["images", "-aq"]).success().says("");
    assert_eq!(env.listing(&env.store()), before.0);
    assert!(free(&disk.0) + (1 << 20) > before.1, "the space is not given back");
    // What fits still works.
    env.coracle(["run", "--rm", "-q", &image("tiny"), "echo", "works"]).success().says("works\n");
}

#[test]
fn a_container_on_a_full_disk() {
    let env = Env::new();
    let disk = SmallDisk::mount(&env, "20m");
    env.coracle(["pull", "-q", &image("tiny")]).success();
    env.coracle(["create", "--name", "before", &image("tiny"), "echo", "works"]).success();
    let filler = disk.0.join("filler");
    Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", filler.display()))
        .output()
        .unwrap();
    let said = env.coracle(["run", "--rm", &image("tiny"), "true"]).code(125);
    said.stderr_has("No space left");
    let listed = env.coracle(["ps", "-aq"]).success();
    assert_eq!(listed.stdout().lines().count(), 1, "{listed:?}");
    std::fs::remove_file(&filler).unwrap();
    env.coracle(["start", "-a", "before"]).success().says("works\n");
    env.coracle(["run", "--rm", &image("tiny"), "echo", "again"]).success().says("again\n");
}
