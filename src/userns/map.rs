//! Which ids are mapped, and writing the maps.

use std::ffi::CString;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::subid::{Range, ranges_of, user_name};
use crate::config::Config;
use crate::sys::Result as SysResult;
use crate::sys::namespace::write_map;
use crate::sys::process::{Ended, Pid, Spawn, spawn, wait_for};

/// Subordinate ranges behind the ids from 1 on; id 0 is the user. Empty: single-id mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    pub uids: Vec<Range>,
    pub gids: Vec<Range>,
}

impl IdMaps {
    pub fn single() -> IdMaps {
        IdMaps { uids: Vec::new(), gids: Vec::new() }
    }

    pub fn is_single(&self) -> bool {
        self.uids.is_empty()
    }

    /// The highest mapped group id inside.
    pub fn highest_gid(&self) -> u32 {
        self.gids.iter().map(|range| range.count).sum()
    }

    /// The uid and gid map of a container's namespace inside home: the same numbers, in the same
    /// extents, for an extent that straddles two of the parent's is EPERM.
    pub fn nested(&self) -> (String, String) {
        (nested(&self.uids), nested(&self.gids))
    }
}

fn nested(ranges: &[Range]) -> String {
    let mut map = "0 0 1\n".to_owned();
    let mut next = 1;
    for range in ranges {
        map.push_str(&format!("{next} {next} {}\n", range.count));
        next += range.count;
    }
    map
}

/// The arguments of newuidmap(1), or the lines of a map file: inside, outside, count.
fn triples(own: u32, ranges: &[Range]) -> Vec<[u32; 3]> {
    let mut triples = vec![[0, own, 1]];
    let mut next = 1;
    for range in ranges {
        triples.push([next, range.first, range.count]);
        next += range.count;
    }
    triples
}

/// What the host's files grant.
#[derive(Debug)]
pub enum Wanted {
    Ranges(IdMaps),
    /// One id, and why not more (nothing when the user asked for it).
    Single(Option<String>),
}

impl Wanted {
    /// Whether a home with these maps still fits. A home that fell back to one id, because the
    /// helpers failed, is kept while it lives.
    pub fn accepts(&self, maps: &IdMaps) -> bool {
        match self {
            Wanted::Ranges(wanted) => wanted == maps || maps.is_single(),
            Wanted::Single(_) => maps.is_single(),
        }
    }
}

/// Ids for root without ranges of its own: far above what distributions hand out.
const ROOT_RANGE: Range = Range { first: 0x7000_0000, count: 65536 };

/// Reads the user's subordinate ranges.
pub fn wanted(config: &Config) -> Wanted {
    if config.single_id {
        return Wanted::Single(None);
    }
    let uid = nix::unistd::geteuid().as_raw();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let name = user_name(&read("/etc/passwd"), uid);
    let uids = ranges_of(&read("/etc/subuid"), name.as_deref(), uid);
    let gids = ranges_of(&read("/etc/subgid"), name.as_deref(), uid);
    let who = name.unwrap_or_else(|| uid.to_string());
    if uid == 0 && (uids.is_empty() || gids.is_empty()) {
        return Wanted::Ranges(IdMaps { uids: vec![ROOT_RANGE], gids: vec![ROOT_RANGE] });
    }
    if uids.is_empty() || gids.is_empty() {
        let file = if uids.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Wanted::Single(Some(format!(
            "{file} has no range for {who} (an administrator adds one with: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who})"
        )));
    }
    Wanted::Ranges(IdMaps { uids, gids })
}

/// The one line for a user in single-id mode.
pub fn single_warning(reason: &str) -> String {
    format!(
        "only your own id is mapped: in containers a change of owner or user is pretended, unless made by -u: {reason}"
    )
}

/// Maps the ranges into the user namespace of `pid`: directly as root, else by the setuid helpers,
/// both at once. The error is a sentence.
pub fn write_mapped(config: &Config, pid: Pid, maps: &IdMaps) -> Result<(), String> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if uid == 0 {
        let text = |own, ranges: &[Range]| -> String {
            triples(own, ranges).iter().map(|[a, b, c]| format!("{a} {b} {c}\n")).collect()
        };
        return write_map(&format!("/proc/{pid}/uid_map"), &text(uid, &maps.uids))
            .and_then(|()| write_map(&format!("/proc/{pid}/gid_map"), &text(gid, &maps.gids)))
            .map_err(|e| e.to_string());
    }
    let first = Helper::start(config, "newuidmap", pid, &triples(uid, &maps.uids))?;
    let second = Helper::start(config, "newgidmap", pid, &triples(gid, &maps.gids))?;
    first.finish().and(second.finish())
}

/// Maps just the user. Needs no privilege (user_namespaces(7)): the namespace's creator may do it
/// once setgroups is denied.
pub fn write_single(pid: Pid) -> SysResult<()> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    write_map(&format!("/proc/{pid}/setgroups"), "deny")?;
    write_map(&format!("/proc/{pid}/uid_map"), &format!("0 {uid} 1\n"))?;
    write_map(&format!("/proc/{pid}/gid_map"), &format!("0 {gid} 1\n"))
}

/// newuidmap or newgidmap at work.
struct Helper {
    name: &'static str,
    pid: Pid,
    errors: std::fs::File,
}

impl Helper {
    fn start(
        config: &Config,
        name: &'static str,
        target: Pid,
        triples: &[[u32; 3]],
    ) -> Result<Helper, String> {
        let program = config
            .find_program(name)
            .ok_or_else(|| format!("{name} is not installed (package uidmap on Debian)"))?;
        let mut argv = vec![name.to_owned(), target.to_string()];
        argv.extend(triples.iter().flatten().map(u32::to_string));
        let argv: Vec<CString> = argv.into_iter().filter_map(|arg| CString::new(arg).ok()).collect();
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| e.to_string())?;
        let program =
            CString::new(Path::new(&program).as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
        let inherit = [(std::os::fd::AsFd::as_fd(&write), 2)];
        let pid =
            spawn(&Spawn { program: &program, argv: &argv, env: &[], inherit: &inherit, new_session: false })
                .map_err(|e| e.to_string())?;
        Ok(Helper { name, pid, errors: read.into() })
    }

    fn finish(mut self) -> Result<(), String> {
        let ended = wait_for(self.pid).map_err(|e| e.to_string())?;
        if ended == Ended::Exited(0) {
            return Ok(());
        }
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut self.errors, &mut said);
        Err(format!("{} failed: {}", self.name, said.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_maps_mirror_the_extents() {
        let maps = IdMaps {
            uids: vec![Range { first: 100_000, count: 65536 }, Range { first: 900_000, count: 10 }],
            gids: vec![Range { first: 100_000, count: 65536 }],
        };
        let (uids, gids) = maps.nested();
        assert_eq!(uids, "0 0 1\n1 1 65536\n65537 65537 10\n");
        assert_eq!(gids, "0 0 1\n1 1 65536\n");
        assert_eq!(IdMaps::single().nested().0, "0 0 1\n");
    }

    #[test]
    fn helper_arguments() {
        assert_eq!(triples(1000, &[Range { first: 100_000, count: 5 }]), [[0, 1000, 1], [1, 100_000, 5]]);
    }
}
