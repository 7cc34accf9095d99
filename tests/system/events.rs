//! `coracle events`.

use crate::harness::Env;

/// The actions of one container's life, as `events` tells them afterwards.
fn actions(env: &Env, filters: &[&str]) -> Vec<String> {
    let mut line = vec!["events", "--since", "1", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    for filter in filters {
        line.extend(["--filter", filter]);
    }
    env.coracle(line).success().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn a_containers_life_is_told() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["exec", "c1", "sh", "-c", "exit 3"]).code(3);
    env.coracle(["kill", "-s", "CONT", "c1"]).success();
    env.coracle(["stop", "-t", "0", "c1"]).success();
    env.coracle(["rm", "c1"]).success();
    let told = actions(&env, &["container=c1"]);
    let expected = [
        "container create",
        "container start",
        "container exec_create: sh -c exit 3",
        "container exec_start: sh -c exit 3",
        "container exec_die",
        "container kill",
        "container kill",
        "container kill",
        "container die",
        "container stop",
        "container destroy",
    ];
    assert_eq!(told, expected);
    assert_eq!(actions(&env, &["event=die", "type=container"]), ["container die"]);
    assert!(actions(&env, &["container=other"]).is_empty());
    let json = env.coracle([
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "event=exec_die",
        "--format",
        "json",
    ]);
    let event: serde_json::Value = serde_json::from_str(json.success().stdout()).unwrap();
    assert_eq!(event["Actor"]["Attributes"]["exitCode"], "3");
    assert_eq!(event["Actor"]["Attributes"]["name"], "c1");
}

#[test]
fn a_throw_away_container_and_an_image_are_told_too() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "tiny", "false"]).code(1);
    env.coracle(["tag", "tiny", "second"]).success();
    env.coracle(["rmi", "second"]).success();
    let told = actions(&env, &["type=container"]);
    let expected =
        ["create", "attach", "start", "die", "destroy"].map(|action| format!("container {action}"));
    assert_eq!(told, expected);
    let told = actions(&env, &["type=image"]);
    assert!(told.ends_with(&["image tag".to_owned(), "image untag".to_owned()]), "{told:?}");
}

#[test]
fn what_happens_is_shown_as_it_happens() {
    let env = Env::with_tiny();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = (now.as_secs() + 4).to_string();
    let follower = env.command(["events", "--until", &until, "--format", "{{.Action}}"]).spawn();
    std::thread::sleep(std::time::Duration::from_secs(1));
    env.coracle(["create", "--name", "c1", "tiny", "true"]).success();
    let said = follower.finish();
    assert_eq!(said.success().stdout(), "create\n");
}
