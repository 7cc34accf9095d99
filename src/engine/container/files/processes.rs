//! Which processes are in a container. Runs in the files worker, which may look at processes of subordinate ids.

use std::path::PathBuf;

fn namespace_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// The host pids of all processes in the pid namespace of `pid`, ascending.
pub fn in_namespace_of(pid: i32) -> Vec<i32> {
    let Some(wanted) = namespace_of(pid) else { return Vec::new() };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> = pids.filter(|pid| namespace_of(*pid).as_ref() == Some(&wanted)).collect();
    pids.sort_unstable();
    pids
}
