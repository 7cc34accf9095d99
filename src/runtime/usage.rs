//! What the processes of a container have used, as /proc says. Runs in the files worker, which may look at
//! processes of subordinate ids.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use super::members;
use crate::sys::process::Pid;

/// The sums over all processes that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of processor time, with that of ended processes whose parents are in the container.
    pub cpu: u64,
    /// Bytes; shared ones in equal parts (Pss), where the kernel tells.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes read from and written to disks.
    pub io: (u64, u64),
}

/// Of all processes in the pid namespace of `pid` and below it.
pub fn of_namespace(pid: Pid) -> Usage {
    let second =
        |var, usual: u64| sysconf(var).ok().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(usual);
    let (ticks, page) = (second(SysconfVar::CLK_TCK, 100), second(SysconfVar::PAGE_SIZE, 4096));
    let mut sum = Usage::default();
    for pid in members::in_namespace_of(pid) {
        let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        // One that has just ended adds nothing.
        let Some(stat) = Stat::parse(&file("stat")) else { continue };
        sum.cpu += stat.ticks * 1_000_000 / ticks;
        sum.tasks += stat.threads;
        sum.memory += proportional(&text(file("smaps_rollup"))).unwrap_or(stat.resident * page);
        let io = text(file("io"));
        sum.io.0 += field(&io, "read_bytes:").unwrap_or(0);
        sum.io.1 += field(&io, "write_bytes:").unwrap_or(0);
    }
    sum
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What counts of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Processor time, with that of children which were waited for.
    ticks: u64,
    threads: u64,
    /// Pages.
    resident: u64,
}

impl Stat {
    fn parse(stat: &[u8]) -> Option<Stat> {
        // The command name in field 2 may hold anything; the last ')' ends it.
        let after = stat.iter().rposition(|b| *b == b')')? + 2;
        let fields: Vec<&str> = std::str::from_utf8(stat.get(after..)?).ok()?.split_whitespace().collect();
        // The first of these is field 3.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        Some(Stat { ticks, threads: number(20)?, resident: number(24)? })
    }
}

/// `Pss:` of smaps_rollup, in bytes.
fn proportional(rollup: &str) -> Option<u64> {
    field(rollup, "Pss:").map(|kib| kib * 1024)
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Bytes received and sent by all interfaces but the loopback one, from `/proc/PID/net/dev`.
pub fn network(table: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in table.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if name.trim() != "lo"
            && let (Some(received), Some(sent)) = (numbers.first(), numbers.get(8))
        {
            sum.0 += received;
            sum.1 += sent;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_be_called_anything() {
        let rest = "S 1 1 1 0 -1 4194560 1 0 0 0 10 20 3 4 20 0 7 0 100 4096 25 0";
        let stat = Stat::parse(format!("42 (a) b) (c) {rest}").as_bytes());
        assert_eq!(stat, Some(Stat { ticks: 37, threads: 7, resident: 25 }));
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b"42 (a) S 1"), None);
    }

    #[test]
    fn shared_memory_counts_in_parts() {
        assert_eq!(proportional("0 [rollup]\nRss:  1420 kB\nPss:  12 kB\nPss_Dirty: 1 kB\n"), Some(12 << 10));
        assert_eq!(proportional(""), None);
    }

    #[test]
    fn loopback_is_no_network() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n    \
            lo:  99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  eth0: 110 1 0 0 0 0 0 0 340 4 0 0 0 0 0 0\n \
            tap0:10 1 0 0 0 0 0 0 20 4 0 0 0 0 0 0\n";
        assert_eq!(network(table), (120, 360));
        assert_eq!(network(""), (0, 0));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = of_namespace(std::process::id().cast_signed());
        assert!(usage.tasks > 0 && usage.memory > 0, "{usage:?}");
    }
}
