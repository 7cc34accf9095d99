//! `coracle import`.

use crate::harness::Env;
use crate::harness::fake_registry::{FakeRegistry, Reply};
use crate::harness::tar::{Entry, archive, busybox_entries, gzip, zstd};

fn root_file_system() -> Vec<u8> {
    let mut entries = busybox_entries();
    entries.push(Entry::file("mark", "imported\n").owner(12, 34));
    archive(&entries)
}

#[test]
fn a_file_becomes_an_image() {
    let env = Env::new();
    let file = env.file("root.tar", root_file_system());
    let said = env.coracle(["import", file.to_str().unwrap(), "mine:v1"]).success();
    assert!(said.line().starts_with("sha256:") && said.line().len() == 71, "{said:?}");
    assert_eq!(env.inspect("mine:v1", "/Id"), said.line());
    env.coracle(["run", "--rm", "mine:v1", "cat", "/mark"]).success().says("imported\n");
    let line = ["run", "--rm", "mine:v1", "ls", "-ln", "/mark"];
    let shown = env.coracle(line).success().line().to_owned();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(&words[2..4], ["12", "34"]);
    // It has no command of its own.
    env.coracle(["run", "--rm", "mine:v1"]).code(125).stderr_has("command");
}

#[test]
fn compressed_ones_and_stdin_too() {
    let env = Env::new();
    for (name, bytes) in [("gz", gzip(&root_file_system())), ("zst", zstd(&root_file_system()))] {
        let file = env.file(name, bytes);
        env.coracle(["import", file.to_str().unwrap(), name]).success();
        env.coracle(["run", "--rm", name, "cat", "/mark"]).success().says("imported\n");
    }
    env.command(["import", "-", "piped"]).input(root_file_system()).output().success();
    env.coracle(["run", "--rm", "piped", "cat", "/mark"]).success().says("imported\n");
    let id = env.command(["import", "-"]).input(root_file_system()).output().success().line().to_owned();
    env.coracle(["run", "--rm", &id, "cat", "/mark"]).success().says("imported\n");
}

#[test]
fn from_a_url() {
    let env = Env::new();
    let server = FakeRegistry::start();
    server.reply("/root.tar.gz", Reply::new(200, gzip(&root_file_system())));
    env.coracle(["import", &format!("http://{}/root.tar.gz", server.address), "fetched"]).success();
    env.coracle(["run", "--rm", "fetched", "cat", "/mark"]).success().says("imported\n");
    env.coracle(["import", &format!("http://{}/missing", server.address), "x"]).code(1).stderr_has("404");
}

#[test]
fn what_is_no_archive_is_refused() {
    let env = Env::new();
    let before = env.listing(&env.store());
    env.coracle(["import", "/no/such/file", "x"]).code(1).stderr_has("/no/such/file");
    let text = env.file("text", "this is no archive\n".repeat(100));
    env.coracle(["import", text.to_str().unwrap(), "x"]).code(1);
    let mut cut = root_file_system();
    cut.truncate(cut.len() / 2);
    let cut = env.file("cut", cut);
    env.coracle(["import", cut.to_str().unwrap(), "x"]).code(1);
    let good = env.file("root.tar", root_file_system());
    env.coracle(["import", good.to_str().unwrap(), "UPPER"]).code(1).stderr_has("UPPER");
    env.coracle(["images", "-aq"]).success().says("");
    assert_eq!(env.listing(&env.store()), before);
}
