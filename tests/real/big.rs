//! A gigabyte of many small files: a compiler and an interpreter at work.

use std::time::Duration;

use crate::harness::{Env, image};

fn compiles_and_interprets(tag: &str) {
    let env = Env::new();
    let name = image(tag);
    let pull = env.command(["pull", "-q", &name]).patience(Duration::from_secs(300)).output();
    pull.success().says(&format!("{name}\n"));
    let script = "gcc hello.c -o c && ./c && g++ hello.cc -o cc && ./cc && python3 hello.py && perl -e 'print \"hello from Perl\\n\"'";
    let expected = "hello from C\nhello from C++\nhello from Python 45\nhello from Perl\n";
    let run = env.command(["run", "--rm", "--network", "none", &name, "sh", "-c", script]);
    run.patience(Duration::from_secs(120)).output().success().says(expected);
    // As many files as the packages say they have, of the right contents.
    let script = "dpkg --verify 2>&1 | grep -v -e ' c /etc' -e /usr/share/doc -e /usr/share/man -e /usr/share/locale \
        -e /usr/share/info -e /usr/share/zoneinfo -e 5.36.0/pod -e /var/log; echo verified";
    let run = env.command(["run", "--rm", "--network", "none", &name, "sh", "-c", script]);
    run.patience(Duration::from_secs(300)).output().success().says("verified\n");
    env.command(["rmi", &name]).patience(Duration::from_secs(120)).output().success();
}

#[test]
fn gzip() {
    compiles_and_interprets("big:latest");
}

#[test]
fn zstd() {
    compiles_and_interprets("big:zstd");
}
