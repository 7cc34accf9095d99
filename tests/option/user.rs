//! `-u` and the ids inside.

use crate::harness::{Env, image};

#[test]
fn by_name_and_by_number() {
    let env = Env::with_tiny();
    let ids = |user: &str| {
        let said =
            env.coracle(["run", "--rm", "-u", user, "tiny", "sh", "-c", "echo $(id -u) $(id -g) $(id -G)"]);
        said.success().line().to_owned()
    };
    assert_eq!(ids("sailor"), "1000 1000 1000 200");
    assert_eq!(ids("1000"), "1000 1000 1000 200");
    assert_eq!(ids("sailor:crew"), "1000 200 200");
    assert_eq!(ids("1000:5"), "1000 5 5");
    assert_eq!(ids("4321"), "4321 0 0");
    assert_eq!(ids("4321:8765"), "4321 8765 8765");
    assert_eq!(ids("root"), "0 0 0");
    assert_eq!(ids("65534:65534"), "65534 65534 65534");
}

#[test]
fn unknown_ones_are_refused() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "-u", "nosuch", "tiny", "true"]).code(125).stderr_has("nosuch");
    env.coracle(["run", "--rm", "-u", "root:nosuch", "tiny", "true"]).code(125).stderr_has("nosuch");
    // No such id is in the user's range.
    env.coracle(["run", "--rm", "-u", "3000000000", "tiny", "true"]).code(125).stderr_has("3000000000");
    env.coracle(["run", "--rm", "-u", "-1", "tiny", "true"]).code(125);
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn the_images_user_is_the_default() {
    let env = Env::new();
    env.coracle(["run", "--rm", &image("odd"), "id -un"]).success().says("sailor\n");
    env.coracle(["run", "--rm", "-u", "0", &image("odd"), "id -un"]).success().says("root\n");
}

#[test]
fn root_inside_is_the_user_outside() {
    let env = Env::with_tiny();
    let folder = env.folder("shared", 0o777);
    let bind = format!("{}:/shared", folder.display());
    let script = "touch /shared/root; chown 1000:1000 /shared/root; touch /shared/mine; su sailor -c 'touch /shared/sailors'";
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "sh", "-c", script]).success();
    let owner =
        |name: &str| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.join(name)).unwrap());
    assert_eq!(owner("mine"), env.user.uid);
    assert_ne!(owner("sailors"), env.user.uid);
    assert_eq!(owner("sailors"), owner("root"));
}

#[test]
fn other_users_cannot_act_as_root() {
    let env = Env::with_tiny();
    let line = ["run", "--rm", "-u", "sailor", "tiny"];
    env.coracle(line.into_iter().chain(["sh", "-c", "echo x > /etc/passwd"]))
        .code(1)
        .stderr_has("Permission denied");
    let said = env.coracle(line.into_iter().chain(["grep", "CapEff", "/proc/self/status"])).success();
    said.says("CapEff:\t0000000000000000\n");
}
