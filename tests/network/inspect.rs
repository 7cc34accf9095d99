//! `coracle network inspect`, and networks in `inspect`.

use crate::harness::Env;

fn inspected(env: &Env, name: &str) -> serde_json::Value {
    let said = env.coracle(["network", "inspect", name]).success();
    let parsed: serde_json::Value = serde_json::from_str(said.stdout()).expect("JSON");
    parsed[0].clone()
}

#[test]
fn running_containers_are_named() {
    let env = Env::with_tiny();
    let host = inspected(&env, "host");
    assert_eq!((host["Driver"].as_str(), host["Scope"].as_str()), (Some("host"), Some("local")));
    assert_eq!(host["Containers"], serde_json::json!({}));
    let id =
        env.coracle(["run", "-d", "--network", "none", "--name", "alone", "tiny", "sleep", "1000"]).success();
    let none = inspected(&env, "none");
    assert_eq!(none["Containers"][id.line()]["Name"], "alone");
    assert_eq!(inspected(&env, "host")["Containers"], serde_json::json!({}));
    let by_id = none["Id"].as_str().unwrap();
    assert_eq!(inspected(&env, &by_id[..10])["Name"], "none");
    env.coracle(["rm", "-f", "alone"]).success();
    assert_eq!(inspected(&env, "none")["Containers"], serde_json::json!({}));
}

#[test]
fn a_stack_has_its_own_addresses() {
    let env = Env::new();
    let config = inspected(&env, "slirp4netns")["IPAM"]["Config"][0].clone();
    assert!(config["Subnet"].as_str().is_some_and(|subnet| subnet.ends_with(".0/24")), "{config}");
    assert!(config["Gateway"].as_str().is_some_and(|gateway| gateway.ends_with(".2")), "{config}");
    env.coracle(["network", "inspect", "nope", "none", "-f", "{{.Name}}"])
        .code(1)
        .says("none\n")
        .stderr_has("coracle: network nope not found");
}

#[test]
fn inspect_looks_among_all_kinds() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "host", "tiny", "true"]).success();
    env.coracle(["tag", "tiny", "none"]).success();
    let shown = |args: &[&str]| env.coracle([&["inspect", "-f", "{{.Name}}"], args].concat()).success();
    // Containers go before images, images before networks.
    assert_eq!(shown(&["host"]).stdout(), "/host\n");
    assert_eq!(shown(&["--type", "network", "host", "none"]).stdout(), "host\nnone\n");
    env.coracle(["inspect", "-f", "{{.Os}}", "none"]).success().says("linux\n");
    env.coracle(["inspect", "--type", "container", "none"]).code(1).stderr_has("No such container: none");
    env.coracle(["inspect", "--type", "image", "host"]).code(1).stderr_has("No such image: host:latest");
    env.coracle(["inspect", "--type", "volume", "host"]).code(1).stderr_has("get host: no such volume");
    env.coracle(["inspect", "--type", "plugin", "x"])
        .code(1)
        .stderr_has("--type plugin is not supported yet");
    env.coracle(["inspect", "nobody", "-f", "{{.Name}}", "pasta"])
        .code(1)
        .says("pasta\n")
        .stderr_has("coracle: No such object: nobody");
    env.coracle(["inspect", "-s", "-f", "{{.Name}}", "pasta"])
        .success()
        .stderr_has("WARNING: --size ignored for network");
}
