//! `coracle inspect`.

use crate::harness::{Env, free_port, image};

#[test]
fn a_container_has_dockers_keys() {
    let env = Env::with_tiny();
    let port = free_port();
    let folder = env.folder("data", 0o755);
    let bind = format!("{}:/data:ro", folder.display());
    let publish = format!("127.0.0.1:{port}:80");
    let flags =
        ["-v", &bind, "-p", &publish, "-e", "K=V", "-l", "l=m", "-w", "/tmp", "-u", "sailor", "-h", "mast"];
    let id = env
        .coracle(["run", "-d", "--name", "c1"].into_iter().chain(flags).chain(["tiny", "sleep", "1000"]))
        .success()
        .line()
        .to_owned();
    let is = |pointer: &str, expected: serde_json::Value| {
        assert_eq!(env.inspect("c1", pointer), expected, "{pointer}")
    };
    is("/Id", id.into());
    is("/Name", "/c1".into());
    is("/Path", "sleep".into());
    is("/Args", serde_json::json!(["1000"]));
    is("/State/Status", "running".into());
    is("/State/Running", true.into());
    is("/State/ExitCode", 0.into());
    is("/Config/Image", "tiny".into());
    is("/Config/Cmd", serde_json::json!(["sleep", "1000"]));
    is("/Config/User", "sailor".into());
    is("/Config/WorkingDir", "/tmp".into());
    is("/Config/Hostname", "mast".into());
    is("/Config/Labels/l", "m".into());
    is("/Config/Tty", false.into());
    is("/HostConfig/AutoRemove", false.into());
    is("/HostConfig/Privileged", false.into());
    is("/HostConfig/Binds", serde_json::json!([bind]));
    is("/Mounts/0/Type", "bind".into());
    is("/Mounts/0/Source", folder.to_string_lossy().into());
    is("/Mounts/0/Destination", "/data".into());
    is("/Mounts/0/RW", false.into());
    is("/NetworkSettings/Ports/80~1tcp/0/HostPort", port.to_string().into());
    is("/NetworkSettings/Ports/80~1tcp/0/HostIp", "127.0.0.1".into());
    let env_list = env.inspect("c1", "/Config/Env");
    let has = |entry: &str| env_list.as_array().expect("a list").iter().any(|e| e == entry);
    assert!(has("K=V") && has("BOAT=tiny"), "{env_list}");
    let image_id = env.inspect("c1", "/Image");
    assert!(image_id.as_str().is_some_and(|id| id.starts_with("sha256:")), "{image_id}");
    assert_eq!(env.inspect("tiny", "/Id"), image_id);
    // A process of the host with the state's pid is the container's.
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", env.pid("c1"))).expect("a process");
    assert_eq!(line, "sleep\u{0}1000\u{0}");
}

#[test]
fn an_image_has_dockers_keys() {
    let env = Env::new();
    let odd = image("odd");
    env.coracle(["pull", "-q", &odd]).success();
    let is = |pointer: &str, expected: serde_json::Value| {
        assert_eq!(env.inspect(&odd, pointer), expected, "{pointer}")
    };
    is("/RepoTags/0", format!("{odd}:latest").into());
    is("/Architecture", "amd64".into());
    is("/Os", "linux".into());
    is("/Config/Entrypoint", serde_json::json!(["/bin/sh", "-c"]));
    is("/Config/Cmd", serde_json::json!(["cat /odd/replaced"]));
    is("/Config/User", "sailor".into());
    is("/Config/StopSignal", "SIGINT".into());
    is("/Config/Labels/b", "with \"quotes\"".into());
    is("/Created", "2023-11-14T22:13:20Z".into());
    assert_eq!(env.inspect(&odd, "/RootFS/Layers").as_array().map(Vec::len), Some(4));
    let digests = env.inspect(&odd, "/RepoDigests/0");
    assert!(
        digests.as_str().is_some_and(|digest| digest.starts_with(&format!("{odd}@sha256:"))),
        "{digests}"
    );
}

#[test]
fn what_is_found_is_printed_and_the_rest_is_an_error() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny"]).success();
    let said = env.coracle(["inspect", "c1", "nothing"]).code(1).stderr_has("no such object: nothing");
    let parsed: serde_json::Value = serde_json::from_str(said.stdout()).expect("JSON all the same");
    assert_eq!(parsed.as_array().map(Vec::len), Some(1));
    env.coracle(["inspect", "nothing"]).code(1).says("[]\n");
}

#[test]
fn the_type_can_be_forced() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "tiny", "tiny"]).success();
    assert_eq!(env.inspect("tiny", "/Name"), "/tiny");
    let said = env.coracle(["image", "inspect", "tiny"]).success();
    assert!(said.stdout().contains("RepoTags"), "{said:?}");
    let said = env.coracle(["container", "inspect", "tiny"]).success();
    assert!(said.stdout().contains("\"State\""), "{said:?}");
}
