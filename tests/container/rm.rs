//! `coracle rm`.

use crate::harness::Env;

#[test]
fn removes_by_name_id_and_prefix() {
    let env = Env::with_tiny();
    let empty = env.listing(&env.store());
    let make = || env.coracle(["create", "tiny", "true"]).success().line().to_owned();
    let (one, two) = (make(), make());
    env.coracle(["create", "--name", "three", "tiny"]).success();
    env.coracle(["rm", &one, &two[..12], "three"]).success().says(&format!("{one}\n{}\nthree\n", &two[..12]));
    env.coracle(["ps", "-aq"]).success().says("");
    assert_eq!(env.listing(&env.store()), empty);
}

#[test]
fn a_running_container_needs_force() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "100"]).success();
    env.coracle(["rm", "c1"]).code(1).no_stdout().stderr_has("running");
    assert_eq!(env.status("c1"), "running");
    env.coracle(["rm", "-f", "c1"]).success().says("c1\n");
    env.coracle(["ps", "-aq"]).success().says("");
}

#[test]
fn a_missing_container_is_an_error_unless_forced() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny"]).success();
    env.coracle(["rm", "nobody", "c1"]).code(1).says("c1\n").stderr_has("No such container: nobody");
    env.coracle(["rm", "-f", "nobody"]).success().no_stdout();
}

#[test]
fn takes_what_the_containers_user_cannot_touch() {
    let env = Env::with_tiny();
    let script = "mkdir -p /d/e; chown 1234:2345 /d; chmod 0 /d/e; mknod /d/p p; touch /d/-f; chmod 000 /d";
    env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", script]).success();
    env.coracle(["rm", "-v", "c1"]).success();
}

#[test]
fn an_ambiguous_prefix_removes_nothing() {
    let env = Env::with_tiny();
    let ids: Vec<String> =
        (0..17).map(|_| env.coracle(["create", "tiny"]).success().line().to_owned()).collect();
    // Seventeen ids have a first digit in common with another.
    let twice =
        ids.iter().find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1).expect("a pair");
    env.coracle(["rm", &twice[..1]]).code(1).no_stdout();
    assert_eq!(env.coracle(["ps", "-aq"]).success().stdout().lines().count(), 17);
}
