//! What a cgroup (v2) has used, from its files. The parsing is pure.

use std::fs;
use std::path::Path;

/// Without a controller its number is not there; processor time always is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Microseconds of processor time.
    pub cpu: Option<u64>,
    /// Bytes, without what the page cache could give up at once (as docker counts).
    pub memory: Option<u64>,
    /// Bytes; `None` when nothing limits it.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Bytes read from and written to disks.
    pub io: Option<(u64, u64)>,
}

/// Reads all there is.
pub fn read(directory: &Path) -> Usage {
    let file = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let number = |name: &str| file(name)?.trim().parse::<u64>().ok();
    let cache = file("memory.stat").and_then(|text| field(&text, "inactive_file")).unwrap_or(0);
    Usage {
        cpu: file("cpu.stat").and_then(|text| field(&text, "usage_usec")),
        memory: number("memory.current").map(|all| all.saturating_sub(cache)),
        memory_limit: number("memory.max"),
        tasks: number("pids.current"),
        io: file("io.stat").map(|text| io(&text)),
    }
}

/// The number after a name, in a file of one pair a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The sums over all devices: `8:0 rbytes=1 wbytes=2 rios=3 ...`.
fn io(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum::<u64>()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let dir = tempfile::tempdir().expect("temp dir");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        assert_eq!(read(dir.path()), Usage::default());
        write("cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n");
        let bare = Usage { cpu: Some(1234), ..Usage::default() };
        assert_eq!(read(dir.path()), bare);
        write("memory.current", "5000\n");
        write("memory.stat", "anon 1\nfile 2\ninactive_file 1500\nactive_file 7\n");
        write("memory.max", "max\n");
        write("pids.current", "3\n");
        write("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=1 dbytes=9\n");
        let all = Usage { memory: Some(3500), tasks: Some(3), io: Some((15, 21)), ..bare };
        assert_eq!(read(dir.path()), all);
        write("memory.max", "67108864\n");
        assert_eq!(read(dir.path()).memory_limit, Some(64 << 20));
    }
}
