//! `coracle unpause`.

use crate::harness::Env;

#[test]
fn says_what_docker_says() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["pause", "c1"]).success();
    env.coracle(["unpause", "nobody", "c1"]).code(1).says("c1\n").stderr_has("No such container: nobody");
    env.coracle(["unpause", "c1"]).code(1).no_stdout().stderr_has("is not paused");
    env.coracle(["exec", "c1", "true"]).success();
}

#[test]
fn whoever_is_attached_sees_it_go_on() {
    let env = Env::with_tiny();
    let script = "echo up; cat";
    let mut client = env.command(["run", "-i", "--name", "c1", "tiny", "sh", "-c", script]).spawn();
    client.wait_for("up");
    env.coracle(["pause", "c1"]).success();
    client.send("while paused\n");
    env.coracle(["unpause", "c1"]).success();
    client.wait_for("while paused");
    client.close_stdin();
    client.finish().success();
}
