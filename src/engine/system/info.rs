//! The facts of `info`: what is stored, what is used, what this machine is and what it cannot give.
//! Runs in the client.

use std::path::PathBuf;

use nix::sched::CpuSet;

use crate::spec::container::Status;
use crate::store::containers::Container;

/// What the rest of the engine knows and this module only passes on.
#[derive(Debug, Clone)]
pub struct Known {
    pub images: usize,
    /// `overlay`, `fuse-overlayfs`.
    pub driver: String,
    /// Below this directory everything is stored.
    pub root_dir: PathBuf,
    /// The default network stack: `slirp4netns`, `pasta`, `none`.
    pub network: String,
    /// What this host cannot give, one sentence each.
    pub lost: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Info {
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
    pub known: Known,
    pub machine: Machine,
}

/// The machine, from the kernel's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub kernel: String,
    /// `PRETTY_NAME` of os-release(5).
    pub operating_system: String,
    /// As `uname -m` prints it.
    pub architecture: &'static str,
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    pub name: String,
    /// 1 or 2; a host with both counts as 1, as docker says.
    pub cgroup_version: u8,
}

pub fn info(containers: &[Container], known: Known) -> Info {
    let paused = containers.iter().filter(|c| c.state.status == Status::Paused).count();
    let running = containers.iter().filter(|c| c.is_running()).count() - paused;
    Info { running, paused, stopped: containers.len() - running - paused, known, machine: Machine::read() }
}

/// The host's memory in bytes; 0 when it does not tell.
pub fn memory() -> u64 {
    memory_total(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or(0)
}

impl Machine {
    pub fn read() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let os_release = ["/etc/os-release", "/usr/lib/os-release"].map(read).concat();
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        Machine {
            kernel: super::version::kernel(),
            operating_system: pretty_name(&os_release).unwrap_or_else(|| "unknown".to_owned()),
            architecture: std::env::consts::ARCH,
            cpus: cpus(),
            memory: memory(),
            name: host.unwrap_or_default(),
            cgroup_version: cgroup_version(),
        }
    }
}

/// The processors this process may run on, whatever share of them it may take.
fn cpus() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    set.map_or(1, |set| (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).count())
}

/// `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"`, without its quotes.
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let unquoted = unquoted.or_else(|| value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')));
    Some(unquoted.unwrap_or(value).to_owned())
}

/// `MemTotal:  24686140 kB` of proc_meminfo(5), in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn cgroup_version() -> u8 {
    match nix::sys::statfs::statfs("/sys/fs/cgroup") {
        Ok(fs) if fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_quotes() {
        let debian = "NAME=\"x\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(debian).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name("PRETTY_NAME='A B'").as_deref(), Some("A B"));
        assert_eq!(pretty_name("PRETTY_NAME=Void"), Some("Void".to_owned()));
        assert_eq!(pretty_name(""), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(memory_total("MemTotal:       24686140 kB\nMemFree: 1 kB\n"), Some(24_686_140 * 1024));
        assert_eq!(memory_total("nonsense"), None);
    }

    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let machine = Machine::read();
        assert!(machine.cpus >= 1 && !machine.kernel.is_empty() && machine.memory > 0);
    }
}
