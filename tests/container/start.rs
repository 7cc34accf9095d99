//! `coracle start`.

use crate::harness::Env;

#[test]
fn prints_the_name_as_typed() {
    let env = Env::with_tiny();
    let id = env.coracle(["create", "--name", "c1", "tiny", "sleep", "100"]).success().line().to_owned();
    env.coracle(["start", &id[..10]]).success().says(&format!("{}\n", &id[..10]));
    assert_eq!(env.status("c1"), "running");
    // A running container is started already.
    env.coracle(["start", "c1"]).success().says("c1\n");
}

#[test]
fn starts_an_exited_container_again_with_its_files() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", "echo x >> /count; wc -l < /count"])
        .success()
        .says("1\n");
    env.coracle(["start", "-a", "c1"]).success().says("2\n");
    env.coracle(["start", "-a", "c1"]).success().says("3\n");
    env.coracle(["logs", "c1"]).success().says("1\n2\n3\n");
}

#[test]
fn attached_gives_the_exit_status() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "sh", "-c", "echo out; echo err >&2; exit 6"]).success();
    let said = env.coracle(["start", "-a", "c1"]).code(6);
    assert_eq!((said.stdout(), said.stderr()), ("out\n", "err\n"));
}

#[test]
fn interactive_takes_stdin() {
    let env = Env::with_tiny();
    env.coracle(["create", "-i", "--name", "c1", "tiny", "cat"]).success();
    env.command(["start", "-a", "-i", "c1"]).input("typed").output().success().says("typed");
}

#[test]
fn does_what_it_can_of_several() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "true"]).success();
    env.coracle(["create", "--name", "c2", "tiny", "true"]).success();
    env.coracle(["start", "c1", "nobody", "c2"])
        .code(1)
        .says("c1\nc2\n")
        .stderr_has("No such container: nobody");
    env.coracle(["start", "-a", "c1", "c2"]).code(1);
}

#[test]
fn a_start_that_fails_says_why_and_can_be_repeated() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "no-such-command"]).success();
    for _ in 0..2 {
        env.coracle(["start", "c1"]).code(1).no_stdout().stderr_has("no-such-command");
        assert_eq!(env.status("c1"), "created");
    }
}
