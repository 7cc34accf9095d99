//! coracle: OCI containers for one unprivileged user.
//!
//! One binary, several processes. `main` decides which role this process plays (see
//! `docs/architecture.md`, "Processes") and is the only place that ends it.

mod archive;
mod cli;
mod config;
mod engine;
mod host;
mod monitor;
mod network;
mod registry;
mod rootfs;
mod runtime;
mod security;
mod spec;
mod store;
mod sys;
mod userns;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|role| role == store::worker::ROLE) {
        return id_worker();
    }
    let argv: Vec<_> = std::env::args_os().skip(1).collect();
    cli::main(&argv)
}

/// The id worker's control socket is its standard input.
fn id_worker() -> ExitCode {
    use std::os::fd::AsFd;
    match std::io::stdin().as_fd().try_clone_to_owned().map(store::worker::serve) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
