//! `coracle top`.

use crate::harness::Env;

#[test]
fn shows_the_containers_processes_only() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "-u", "0", "tiny", "sleep", "1000"]).success();
    env.coracle(["exec", "-d", "-u", "1000", "c1", "sleep", "2000"]).success();
    let shown = || env.coracle(["top", "c1", "-o", "pid,args"]).success().stdout().to_owned();
    assert!(crate::harness::eventually(crate::harness::PATIENCE, || shown().contains("sleep 2000")));
    let text = shown();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "PID                 COMMAND");
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].starts_with(&env.pid("c1").to_string()), "{text}");
    let said = env.coracle(["top", "c1"]).success();
    assert!(said.stdout().starts_with("UID                 PID                 PPID"), "{said:?}");
}

#[test]
fn says_what_docker_says() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["top", "c1", "-o", "args"]).code(1).stderr_has("Couldn't find PID field in ps output");
    env.coracle(["top", "c1", "--nonsense"]).code(1).stderr_has("ps: ");
    env.coracle(["kill", "c1"]).success();
    env.coracle(["wait", "c1"]).success();
    env.coracle(["top", "c1"]).code(1).stderr_has("is not running");
    env.coracle(["top", "nobody"]).code(1).stderr_has("No such container: nobody");
}
