//! The integration tests: one binary that drives the built coracle as an unprivileged user.
//!
//! Start it with `tests/run`, which installs and makes what it needs. `tests/harness` gives every
//! test a home of its own. Modules whose tests need root: `by_root`, `delegated`, `full_disk`, `missing_tools`,
//! `oracle`, `outside`, `single_id`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail and say why")]

mod harness;

mod container {
    mod attach;
    mod cp;
    mod create;
    mod diff;
    mod exec;
    mod inspect;
    mod kill;
    mod logs;
    mod pause;
    mod port;
    mod prune;
    mod ps;
    mod rename;
    mod restart;
    mod rm;
    mod run;
    mod start;
    mod stats;
    mod stop;
    mod top;
    mod unpause;
    mod update;
    mod wait;
}
mod image {
    mod images;
    mod import;
    mod inspect;
    mod layers;
    mod pull;
    mod rmi;
    mod tag;
}
mod network {
    mod inspect;
    mod ls;
}
mod option {
    mod command;
    mod env;
    mod health;
    mod mount;
    mod name;
    mod network;
    mod publish;
    mod restart;
    mod security;
    mod user;
}
mod system {
    mod completion;
    mod events;
    mod help;
    mod info;
    mod man;
    mod version;
}
mod volume {
    mod ls;
}

mod bad_input;
mod by_root;
mod crash;
mod delegated;
mod full_disk;
mod hostile;
mod isolation;
mod kills;
mod log;
mod missing_tools;
mod oracle;
mod outside;
mod parallel;
mod single_id;
mod storage_driver;
mod terminal;

mod real {
    mod big;
    mod mariadb;
    mod nginx;
    mod redis;
}

mod tidy;
