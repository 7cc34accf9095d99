//! `-e`, `--env-file` and what a container's environment holds by itself.

use std::collections::BTreeMap;

use crate::harness::{Env, image};

/// The environment a command in the container sees.
fn environment(said: &str) -> BTreeMap<String, String> {
    said.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn nothing_of_the_host_leaks() {
    let mut env = Env::with_tiny();
    env.set_var("SECRET_OF_THE_HOST", "leaked");
    env.set_var("http_proxy", "http://127.0.0.1:1");
    let said = env.coracle(["run", "--rm", "-h", "mast", "tiny", "env"]).success();
    let expected = [
        ("BOAT", "tiny"),
        ("HOME", "/root"),
        ("HOSTNAME", "mast"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    // busybox' env adds nothing of its own.
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    assert_eq!(environment(said.stdout()), expected);
}

#[test]
fn e_sets_passes_on_and_removes() {
    let mut env = Env::with_tiny();
    env.set_var("GIVEN", "from the caller");
    let flags = [
        "-e", "A=1", "-e", "A=2", "-e", "EMPTY=", "-e", "GIVEN", "-e", "NOT_SET", "-e", "BOAT", "-e", "X=a=b",
    ];
    let said = env.coracle(["run", "--rm"].into_iter().chain(flags).chain(["tiny", "env"])).success();
    let found = environment(said.stdout());
    let get = |key: &str| found.get(key).map(String::as_str);
    assert_eq!(get("A"), Some("2"));
    assert_eq!(get("EMPTY"), Some(""));
    assert_eq!(get("GIVEN"), Some("from the caller"));
    assert_eq!(get("NOT_SET"), None);
    assert_eq!(get("X"), Some("a=b"));
    // As docker does: a name without a value in the caller's environment takes the image's away.
    assert_eq!(get("BOAT"), None);
}

#[test]
fn an_env_file_is_taken_literally() {
    let mut env = Env::with_tiny();
    env.set_var("GIVEN", "from the caller");
    let text = "# comment\n\nA=1\nQUOTED=\"kept\"\nHASH=a # b\nGIVEN\nNOT_SET\n  INDENTED=x\nSPACES=  two  \nOVER=file\n";
    let file = env.file("vars", text);
    let file = file.to_str().unwrap();
    let said = env.coracle(["run", "--rm", "--env-file", file, "-e", "OVER=flag", "tiny", "env"]).success();
    let found = environment(said.stdout());
    let get = |key: &str| found.get(key).map(String::as_str);
    assert_eq!(get("A"), Some("1"));
    assert_eq!(get("QUOTED"), Some("\"kept\""));
    assert_eq!(get("HASH"), Some("a # b"));
    assert_eq!(get("GIVEN"), Some("from the caller"));
    assert_eq!(get("NOT_SET"), None);
    assert_eq!(get("INDENTED"), Some("x"));
    assert_eq!(get("SPACES"), Some("  two  "));
    assert_eq!(get("OVER"), Some("flag"));
}

#[test]
fn bad_env_files_are_refused() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "--env-file", "/no/such/file", "tiny", "env"])
        .code(125)
        .stderr_has("/no/such/file");
    let file = env.file("vars", "A B=1\n");
    env.coracle(["run", "--rm", "--env-file", file.to_str().unwrap(), "tiny", "env"])
        .code(125)
        .stderr_has("A B");
    env.coracle(["run", "--rm", "-e", "=x", "tiny", "env"]).code(125);
}

#[test]
fn the_users_home_and_the_terminal() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "-u", "sailor", "tiny", "sh", "-c", "echo $HOME"])
        .success()
        .says("/home/sailor\n");
    env.coracle(["run", "--rm", "-u", "4321", "tiny", "sh", "-c", "echo $HOME"]).success().says("/\n");
    env.coracle(["run", "--rm", "-e", "HOME=/mine", "tiny", "sh", "-c", "echo $HOME"])
        .success()
        .says("/mine\n");
    env.coracle(["run", "--rm", "-t", "tiny", "sh", "-c", "echo $TERM"]).success().says("xterm\r\n");
}

#[test]
fn empty_values_of_the_image_stay() {
    let env = Env::new();
    env.coracle(["run", "--rm", &image("odd"), "env | grep -x EMPTY="]).success().says("EMPTY=\n");
}
