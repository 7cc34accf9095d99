//! `coracle rename`.

use crate::harness::Env;

#[test]
fn running_or_not() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "old", "tiny", "sleep", "1000"]).success();
    env.coracle(["rename", "old", "new"]).success().no_stdout();
    env.coracle(["exec", "new", "true"]).success();
    env.coracle(["exec", "old", "true"]).code(1).stderr_has("No such container: old");
    assert_eq!(env.inspect("new", "/Name").as_str(), Some("/new"));
    env.coracle(["create", "--name", "old", "tiny", "true"]).success();
    env.coracle(["rename", "new", "old"]).code(1).stderr_has("is already in use by container");
    env.coracle(["rename", "old", "/older"]).success();
    env.coracle(["rm", "-f", "new"]).success();
    env.coracle(["rename", "older", "new"]).success();
}

#[test]
fn refuses_in_dockers_words() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "one", "tiny", "true"]).success();
    for (old, new, message) in [
        ("one", "one", "Renaming a container with the same name as its current name"),
        ("one", "bad name", "Invalid container name"),
        ("one", "", "Neither old nor new names may be empty"),
        ("nobody", "two", "Error: failed to rename container named nobody"),
    ] {
        env.coracle(["rename", old, new]).code(1).stderr_has(message);
    }
    assert_eq!(env.inspect("one", "/Name").as_str(), Some("/one"));
}
