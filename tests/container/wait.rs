//! `coracle wait`.

use crate::harness::Env;

#[test]
fn blocks_until_the_end_and_prints_the_status() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "sleep 0.5; exit 3"]).success();
    env.coracle(["wait", "c1"]).success().says("3\n");
    env.coracle(["wait", "c1"]).success().says("3\n");
}

#[test]
fn prints_in_the_order_typed() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "slow", "tiny", "sh", "-c", "sleep 1; exit 1"]).success();
    env.coracle(["run", "-d", "--name", "fast", "tiny", "sh", "-c", "exit 2"]).success();
    env.coracle(["wait", "slow", "fast"]).success().says("1\n2\n");
    env.coracle(["wait", "nobody", "fast"]).code(1).says("2\n").stderr_has("No such container: nobody");
}

#[test]
fn waits_for_one_that_removes_itself() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--rm", "--name", "c1", "tiny", "sh", "-c", "sleep 1; exit 5"]).success();
    env.coracle(["wait", "c1"]).success().says("5\n");
}
