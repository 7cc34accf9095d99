//! Which files of /proc and /sys a container must not read, and which it must not write.
//! The lists are docker's. Runs in the monitor; `rootfs` does the mounting and skips what is not there.

use std::path::Path;

/// Covered: a file by /dev/null, a directory by an empty read-only tmpfs. They tell about the host, or
/// have leaked its secrets (kernel memory, keys, timing and power side channels).
pub const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Bound onto themselves read-only: writing there would change the host.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The thermal counters of this host's processors, masked like [`MASKED`]: their changes tell what
/// neighbours compute. Empty where the hardware has none, as in most virtual machines.
pub fn thermal() -> Vec<String> {
    let cpus = Path::new("/sys/devices/system/cpu");
    if !cpus.join("cpu0/thermal_throttle").exists() {
        return Vec::new();
    }
    thermal_of(&std::fs::read_to_string(cpus.join("possible")).unwrap_or_default())
}

/// One path per processor of a kernel's list such as `0-3,8`; an unreadable list names none.
fn thermal_of(possible: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for range in possible.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
        let path = |cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
        paths.extend((first..=last).map(path));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_of_the_list() {
        let cpus = |list: &str| {
            let number = |p: &String| p.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
            thermal_of(list).iter().map(number).collect::<Vec<_>>()
        };
        assert_eq!(cpus("0\n"), ["0"]);
        assert_eq!(cpus("0-2,8,10-11\n"), ["0", "1", "2", "8", "10", "11"]);
        assert!(cpus("").is_empty());
        assert_eq!(thermal_of("3"), ["/sys/devices/system/cpu/cpu3/thermal_throttle"]);
    }

    #[test]
    fn lists_name_clean_absolute_paths_once() {
        let mut all: Vec<&str> = MASKED.iter().chain(&READ_ONLY).copied().collect();
        assert!(all.iter().all(|p| (p.starts_with("/proc/") || p.starts_with("/sys/")) && !p.ends_with('/')));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MASKED.len() + READ_ONLY.len());
    }
}
