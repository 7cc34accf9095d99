//! `-v` and `--tmpfs`.

use std::fs;

use crate::harness::Env;

#[test]
fn a_folder_is_shared_both_ways() {
    let env = Env::with_tiny();
    let folder = env.folder("shared", 0o755);
    fs::write(folder.join("in"), "from outside\n").unwrap();
    let bind = format!("{}:/mnt/x", folder.display());
    let script = "cat /mnt/x/in; echo from inside > /mnt/x/out";
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "sh", "-c", script]).success().says("from outside\n");
    assert_eq!(fs::read_to_string(folder.join("out")).unwrap(), "from inside\n");
}

#[test]
fn read_only_holds_for_what_is_mounted_below_too() {
    let env = Env::with_tiny();
    let bind = format!("{}:/mnt:ro", env.folder("shared", 0o755).display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "touch", "/mnt/x"])
        .code(1)
        .stderr_has("Read-only file system");
    let bind = format!("{}:/mnt:rw", env.folder("shared", 0o755).display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "touch", "/mnt/x"]).success();
    // /sys of the host has mounts below it.
    env.coracle([
        "run",
        "--rm",
        "-v",
        "/sys:/mnt:ro",
        "tiny",
        "sh",
        "-c",
        "grep ' /mnt' /proc/self/mountinfo | grep -vc ' ro,'",
    ])
    .code(1)
    .says("0\n");
}

#[test]
fn a_file_can_be_bound() {
    let env = Env::with_tiny();
    let file = env.file("conf", "configured\n");
    let bind = format!("{}:/etc/deep/er/conf:ro", file.display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "cat", "/etc/deep/er/conf"])
        .success()
        .says("configured\n");
    let bind = format!("{}:/etc/passwd", file.display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "cat", "/etc/passwd"]).success().says("configured\n");
}

#[test]
fn a_relative_source_is_below_the_callers_folder() {
    let env = Env::with_tiny();
    env.file("here", "relative\n");
    env.coracle(["run", "--rm", "-v", "./here:/x", "tiny", "cat", "/x"]).success().says("relative\n");
}

#[test]
fn the_target_is_resolved_inside() {
    let env = Env::with_tiny();
    let folder = env.folder("shared", 0o755);
    fs::write(folder.join("file"), "shared\n").unwrap();
    // A link of the container's that points to a folder that the host has as well.
    env.coracle(["run", "--name", "c1", "tiny", "ln", "-s", "/etc", "/link"]).success();
    env.coracle(["rm", "c1"]).success();
    let bind = format!("{}:/bin/../srv/inner", folder.display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "cat", "/srv/inner/file"]).success().says("shared\n");
}

#[test]
fn mounts_nest_in_any_order() {
    let env = Env::with_tiny();
    let outer = env.folder("outer", 0o755);
    let inner = env.folder("inner", 0o755);
    fs::write(inner.join("file"), "inner\n").unwrap();
    let first = format!("{}:/mnt/in", inner.display());
    let second = format!("{}:/mnt", outer.display());
    env.coracle(["run", "--rm", "-v", &first, "-v", &second, "tiny", "cat", "/mnt/in/file"])
        .success()
        .says("inner\n");
}

#[test]
fn bad_volumes_are_refused_and_nothing_is_made() {
    let env = Env::with_tiny();
    let missing = env.root.join("home/missing");
    let bind = format!("{}:/x", missing.display());
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "true"]).code(125).stderr_has(missing.to_str().unwrap());
    assert!(!missing.exists());
    for bad in ["/tmp:relative", "/tmp:/x:nosuchmode", ":/x", "/tmp:", "/tmp:/", "/a:/b:ro:more", "/only"] {
        env.coracle(["run", "--rm", "-v", bad, "tiny", "true"]).code(125).no_stdout().stderr_has(bad);
    }
    env.coracle(["run", "--rm", "-v", "named:/x", "tiny", "true"])
        .code(125)
        .no_stdout()
        .stderr_has("named:/x");
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn a_tmpfs_has_dockers_defaults_and_takes_options() {
    let env = Env::with_tiny();
    let mounted = |flag: &str| {
        let said = env
            .coracle(["run", "--rm", "--tmpfs", flag, "tiny", "grep", " /fast ", "/proc/mounts"])
            .success();
        said.line().to_owned()
    };
    let plain = mounted("/fast");
    for option in ["tmpfs", "rw", "nosuid", "nodev", "noexec"] {
        assert!(plain.contains(option), "{option} is not in {plain}");
    }
    let small = mounted("/fast:size=1m,mode=700,exec");
    assert!(
        small.contains("size=1024k") && small.contains("mode=700") && !small.contains("noexec"),
        "{small}"
    );
    let script = "dd if=/dev/zero of=/fast/x bs=1M count=2";
    env.coracle(["run", "--rm", "--tmpfs", "/fast:size=1m", "tiny", "sh", "-c", script])
        .code(1)
        .stderr_has("No space left");
    env.coracle(["run", "--rm", "--tmpfs", "relative", "tiny", "true"]).code(125).stderr_has("relative");
    env.coracle(["run", "--rm", "--tmpfs", "/fast:nosuchoption", "tiny", "true"])
        .code(125)
        .stderr_has("nosuchoption");
}

#[test]
fn a_volume_of_the_image_is_writable_and_removed_with_rm_v() {
    let env = Env::new();
    let redis = crate::harness::image("redis");
    // VOLUME /data, owned by redis in the image.
    env.coracle(["run", "--rm", "--entrypoint", "sh", &redis, "-c", "stat -c %U /data; touch /data/x"])
        .success()
        .says("redis\n");
    let before = env.listing(&env.store());
    env.coracle(["run", "--name", "c1", "--entrypoint", "sh", &redis, "-c", "echo kept > /data/x"]).success();
    env.coracle(["start", "-a", "c1"]).success();
    env.coracle(["rm", "-v", "c1"]).success();
    assert_eq!(env.listing(&env.store()), before);
}
