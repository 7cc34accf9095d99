//! Capabilities: names, docker's default set, and what `--cap-add` and `--cap-drop` make of it.
//! Pure; runs in the client. `sys::capability` applies the result in the container's init.
//! (`build.rs` includes this file too: the default seccomp filter depends on the default set.)

use std::fmt;

/// Names by number, capabilities(7); index 0 is CAP_CHOWN, 40 is CAP_CHECKPOINT_RESTORE.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit per number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

/// docker's default set: enough to install packages, change owners and serve low ports.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidCapability {
    #[error("invalid CapAdd: unknown capability: {0:?}")]
    Add(String),
    #[error("invalid CapDrop: unknown capability: {0:?}")]
    Drop(String),
}

impl CapabilitySet {
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// Every capability this program knows of.
    pub const ALL: CapabilitySet = CapabilitySet((1 << NAMES.len()) - 1);

    /// docker's default 14.
    pub fn default_set() -> CapabilitySet {
        DEFAULT.iter().filter_map(|name| number(name)).collect()
    }

    /// Bit n is capability number n.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether the set holds the capability of this full name (`CAP_CHOWN`); an unknown one is not held.
    pub fn holds(self, name: &str) -> bool {
        number(name).is_some_and(|n| self.0 & (1 << n) != 0)
    }

    pub fn with(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }

    pub fn without(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    /// Full names, in the order of their numbers.
    pub fn names(self) -> Vec<&'static str> {
        (0..).zip(NAMES).filter(|(n, _)| self.0 & (1u64 << n) != 0).map(|(_, name)| name).collect()
    }
}

impl FromIterator<u8> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> CapabilitySet {
        CapabilitySet(numbers.into_iter().fold(0, |bits, n| bits | 1 << n))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The number of a capability by its full name.
pub fn number(name: &str) -> Option<u8> {
    (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(n, _)| n)
}

/// The set a container gets, in docker's order: `--privileged` gives all; `--cap-add ALL` gives all but
/// the dropped ones; `--cap-drop ALL` gives just the added ones; else the default set loses the dropped
/// ones and then gains the added ones, so a capability named by both flags is held.
///
/// Names are upper or lower case, with or without `CAP_`. They are checked even with `--privileged`.
pub fn plan(add: &[String], drop: &[String], privileged: bool) -> Result<CapabilitySet, InvalidCapability> {
    let (add, add_all) = parse_list(add, InvalidCapability::Add)?;
    let (drop, drop_all) = parse_list(drop, InvalidCapability::Drop)?;
    Ok(if privileged {
        CapabilitySet::ALL
    } else if add_all {
        CapabilitySet::ALL.without(drop)
    } else if drop_all {
        add
    } else {
        CapabilitySet::default_set().without(drop).with(add)
    })
}

/// The named set, and whether `ALL` was among the names.
fn parse_list(
    names: &[String],
    invalid: fn(String) -> InvalidCapability,
) -> Result<(CapabilitySet, bool), InvalidCapability> {
    let mut set = CapabilitySet::EMPTY;
    let mut all = false;
    for name in names {
        let mut name = name.to_ascii_uppercase();
        if name == "ALL" {
            all = true;
            continue;
        }
        if !name.starts_with("CAP_") {
            name.insert_str(0, "CAP_");
        }
        let number = number(&name).ok_or_else(|| invalid(name))?;
        set = set.with([number].into_iter().collect());
    }
    Ok((set, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(add: &[&str], drop: &[&str]) -> CapabilitySet {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        plan(&owned(add), &owned(drop), false).expect("valid")
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (name, n) in [
            ("CAP_CHOWN", 0),
            ("CAP_SETPCAP", 8),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_SETFCAP", 31),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(number(name), Some(n), "{name}");
        }
        assert_eq!(number("CHOWN"), None);
        // What `docker run` shows as CapEff in /proc/self/status.
        assert_eq!(CapabilitySet::default_set().bits(), 0xa804_25fb);
        assert_eq!(CapabilitySet::ALL.bits(), 0x1ff_ffff_ffff);
    }

    #[test]
    fn adds_and_drops_in_dockers_order() {
        let default = CapabilitySet::default_set();
        let set = |names: &[&str]| names.iter().map(|n| number(n).expect("known")).collect::<CapabilitySet>();
        assert_eq!(planned(&[], &[]), default);
        assert_eq!(
            planned(&["net_admin", "CAP_SYS_TIME"], &[]),
            default.with(set(&["CAP_NET_ADMIN", "CAP_SYS_TIME"]))
        );
        assert_eq!(planned(&[], &["Cap_Chown", "KILL"]), default.without(set(&["CAP_CHOWN", "CAP_KILL"])));
        assert_eq!(planned(&["CHOWN"], &["CHOWN"]), default);
        assert_eq!(planned(&["CHOWN"], &["all"]), set(&["CAP_CHOWN"]));
        assert_eq!(planned(&["ALL"], &["SYS_ADMIN"]), CapabilitySet::ALL.without(set(&["CAP_SYS_ADMIN"])));
        assert_eq!(planned(&["ALL"], &["ALL"]), CapabilitySet::ALL);
        assert_eq!(planned(&[], &["ALL"]), CapabilitySet::EMPTY);
        assert_eq!(plan(&[], &[], true), Ok(CapabilitySet::ALL));
    }

    #[test]
    fn refuses_unknown_names_in_dockers_words() {
        let error = |add: &[&str], drop: &[&str], privileged| {
            let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
            plan(&owned(add), &owned(drop), privileged).expect_err("unknown").to_string()
        };
        assert_eq!(error(&["foo"], &[], false), "invalid CapAdd: unknown capability: \"CAP_FOO\"");
        assert_eq!(error(&[], &["CAP_CHOW"], true), "invalid CapDrop: unknown capability: \"CAP_CHOW\"");
    }

    #[test]
    fn names_round_trip() {
        let all = CapabilitySet::ALL;
        assert_eq!(all.names().len(), 41);
        assert!(all.names().iter().all(|name| all.holds(name)));
        assert_eq!(planned(&["MKNOD"], &["ALL"]).names(), ["CAP_MKNOD"]);
    }
}
