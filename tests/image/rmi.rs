//! `coracle rmi`.

use crate::harness::{Env, image};

#[test]
fn untags_and_deletes() {
    let env = Env::new();
    let empty = env.listing(&env.store());
    let name = format!("{}:latest", image("tiny"));
    env.coracle(["pull", "-q", &name]).success();
    let id = env.inspect(&name, "/Id").as_str().unwrap().to_owned();
    env.coracle(["tag", &name, "other"]).success();
    env.coracle(["rmi", "other"]).success().says("Untagged: other:latest\n");
    let said = env.coracle(["rmi", &name]).success();
    assert!(said.stdout().starts_with(&format!("Untagged: {name}\n")), "{said:?}");
    assert!(said.stdout().contains(&format!("Deleted: {id}\n")), "{said:?}");
    env.coracle(["images", "-aq"]).success().says("");
    let left: Vec<String> =
        env.listing(&env.store()).into_iter().filter(|path| !empty.contains(path)).collect();
    assert!(left.iter().all(|path| !path.contains("srv/hello")), "the layer stays: {left:?}");
}

#[test]
fn by_id_needs_one_name_or_force() {
    let env = Env::with_tiny();
    let id = env.inspect("tiny", "/Id").as_str().unwrap()["sha256:".len()..][..12].to_owned();
    env.coracle(["rmi", &id]).code(1).stderr_has("multiple repositories");
    env.coracle(["rmi", "-f", &id]).success().stdout_has("Untagged: tiny:latest\n");
    env.coracle(["images", "-aq"]).success().says("");
}

#[test]
fn a_shared_layer_stays_for_the_other() {
    let env = Env::new();
    env.coracle(["pull", "-q", &image("odd")]).success();
    env.coracle(["pull", "-q", &image("odd:twin")]).success();
    env.coracle(["rmi", &image("odd")]).success();
    env.coracle(["run", "--rm", &image("odd:twin"), "cat", "/odd/replaced"]).success().says("second\n");
}

#[test]
fn an_image_in_use_stays() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "echo", "still"]).success();
    env.coracle(["rmi", &image("tiny")])
        .success()
        .stdout_has(&format!("Untagged: {}:latest\n", image("tiny")));
    env.coracle(["rmi", "tiny"]).code(1).no_stdout().stderr_has("is using its referenced image");
    // By force it loses its name, and the container keeps what it needs.
    env.coracle(["rmi", "-f", "tiny"]).success().stdout_has("Untagged: tiny:latest");
    env.coracle(["start", "-a", "c1"]).success().says("still\n");
    env.coracle(["rm", "c1"]).success();
}

#[test]
fn what_is_missing_is_an_error_unless_forced() {
    let env = Env::with_tiny();
    env.coracle(["rmi", "nothing", "tiny"]).code(1).stdout_has("Untagged: tiny:latest").stderr_has("nothing");
    env.coracle(["rmi", "-f", "nothing"]).success();
}
