//! Run by root, as CI jobs often are: the same tool, with root's own ranges or without any.

use crate::harness::machine::User;
use crate::harness::{Env, image};

#[test]
fn the_same_works() {
    let env = Env::of(User::root());
    env.coracle(["run", "--rm", "-q", &image("odd")]).success().says("second\n");
    env.coracle(["run", "-d", "--name", "c1", &image("tiny"), "sh", "-c", "echo up; sleep 1000"]).success();
    env.wait_for_log("c1", "up");
    env.coracle(["exec", "c1", "id", "-u"]).success().says("0\n");
    env.coracle(["rm", "-f", "c1"]).success();
}

#[test]
fn root_inside_is_not_root_outside() {
    let env = Env::of(User::root());
    env.coracle(["pull", "-q", &image("tiny")]).success();
    let name = image("tiny");
    let ours = std::fs::read_link("/proc/self/ns/user").unwrap().display().to_string();
    let said = env.coracle(["run", "--rm", &name, "readlink", "/proc/self/ns/user"]).success();
    assert_ne!(said.line(), ours, "the container is in the host's user namespace");
    let script = "mknod /x b 8 0; echo $?; mount -t proc none /mnt 2>/dev/null; echo $?";
    env.coracle(["run", "--rm", &name, "sh", "-c", script]).success().stdout_has("1\n");
}
