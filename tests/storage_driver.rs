//! Both storage drivers do the same: native overlay, and fuse-overlayfs where that is refused.

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
