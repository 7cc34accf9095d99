//! coracle: OCI containers for one unprivileged user.
//!
//! One binary, several processes. `main` decides which role this process plays (see
//! `docs/architecture.md`, "Processes") and is the only place that ends it.

mod archive;
mod cgroup;
mod cli;
mod config;
mod engine;
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

use std::path::Path;

use engine::container::files;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().skip(1).collect();
    let first = argv.first().and_then(|word| word.to_str()).unwrap_or_default();
    if !first.starts_with("__") {
        return cli::main(&argv);
    }
    let argument = argv.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    // Started by way of /proc/self/exe, a role would be called "exe".
    let _ = sys::process::set_name(c"coracle");
    let done = match first {
        monitor::ROLE => monitor::serve(),
        monitor::session::ROLE => monitor::session::serve(),
        userns::home::ROLE => userns::home::serve(Path::new(argument)),
        rootfs::driver::ROLE => rootfs::driver::probe(Path::new(argument)),
        store::worker::ROLE => id_worker(),
        files::protocol::ROLE => files::worker::serve(),
        _ => return cli::main(&argv),
    };
    // A role's client hears of a failure over its socket; this is for who traces it.
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The id worker's control socket is its standard input.
fn id_worker() -> sys::Result<()> {
    use std::os::fd::AsFd;
    let control = std::io::stdin().as_fd().try_clone_to_owned();
    store::worker::serve(control.map_err(|_| sys::Error::last("dup", "stdin"))?)
}
