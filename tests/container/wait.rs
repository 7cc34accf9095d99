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

#[test]
fn waits_for_the_next_end_of_one_that_does_not_run() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "sh", "-c", "exit 4"]).success();
    env.coracle(["wait", "c1"]).success().says("0\n");
    let mut waiting = env.command(["wait", "--condition", "next-exit", "c1"]).spawn();
    let exited = env.command(["wait", "--condition", "exited", "c1"]).spawn();
    env.coracle(["start", "-a", "c1"]).code(4);
    exited.finish().success().says("4\n");
    // It may have come after that end.
    while !waiting.ended() {
        env.coracle(["start", "-a", "c1"]).code(4);
    }
    waiting.finish().success().says("4\n");
}

#[test]
fn waits_for_the_removal() {
    let env = Env::with_tiny();
    for command in ["sleep 100", "true"] {
        let well = (0..50).any(|try_number| {
            let name = format!("c{try_number}");
            env.coracle(["run", "-d", "--name", &name, "tiny", "sh", "-c", command]).success();
            let removed = env.command(["wait", "--condition=removed", &name]).spawn();
            std::thread::sleep(std::time::Duration::from_millis(10 * try_number));
            env.coracle(["rm", "-f", &name]).success();
            // What is removed before it was found was never there.
            removed.finish().went_well()
        });
        assert!(well, "{command}");
    }
}

#[test]
fn waits_for_states() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "sleep 0.2; exit 3"]).success();
    env.coracle(["wait", "--condition", "exited", "c1"]).success().says("3\n");
    env.coracle(["run", "-d", "--name", "c2", "tiny", "sleep", "100"]).success();
    env.coracle(["wait", "--condition", "running", "c2"]).success().says("-1\n");
    env.coracle(["wait", "--condition", "soon", "c2"]).code(1).stderr_has("invalid condition: \"soon\"");
}
