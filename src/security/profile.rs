//! Seccomp profiles, and which of their rules apply on one host to one capability set.
//! Pure; runs in the client. `profile_json` reads them. (`build.rs` includes this file too.)

use super::caps::CapabilitySet;
use super::target::{Abi, Arch};

/// A checked profile; which of its rules apply is decided by a [`Host`].
#[derive(Debug)]
pub struct Profile {
    /// What errors call it: the file's name.
    pub file: String,
    pub default_action: Action,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u32,
    pub abis: Abis,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Log,
    Errno(u16),
    Trap,
    Trace(u16),
    /// Another process answers; no profile can ask for it.
    Notify,
    KillThread,
    KillProcess,
}

impl Action {
    /// What a filter returns for it: `SECCOMP_RET_*` of linux/seccomp.h, and libseccomp's name for it too.
    pub fn value(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Notify => 0x7fc0_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
        }
    }
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    /// All must hold. Several on one argument each make a rule of their own, as in runc.
    pub args: Vec<Arg>,
    pub includes: Condition,
    pub excludes: Condition,
    /// What these calls get when no rule's conditions hold; `None`: the profile's default.
    pub otherwise: Option<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// 0 to 5.
    pub index: u32,
    pub op: Op,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The argument under this mask equals the value.
    MaskedEqual(u64),
    /// An argument of this many low bits (the mask) is the value, or -1: an id of chown(2), or none.
    IdOrNone(u32),
}

/// The architectures as the file gives them; [`Profile::abis`] chooses.
#[derive(Debug)]
pub enum Abis {
    Listed(Vec<Abi>),
    Mapped(Vec<(Abi, Vec<Abi>)>),
}

/// A rule's `includes` or `excludes`.
#[derive(Debug, Default)]
pub struct Condition {
    pub caps: Vec<String>,
    pub arches: Vec<String>,
    pub min_kernel: Option<(u32, u32)>,
}

/// What a profile's conditions ask about.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub arch: Arch,
    /// The container's bounding set.
    pub caps: CapabilitySet,
    /// First two numbers of the kernel's release.
    pub kernel: (u32, u32),
}

impl Profile {
    /// The rules whose conditions hold on this host, in the file's order.
    pub fn rules(&self, host: Host) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.applies(host))
    }

    /// The kinds of programs the filter serves; the host's own is always the first. A program of
    /// another kind is killed at its first system call.
    pub fn abis(&self, arch: Arch) -> Vec<Abi> {
        let listed: &[Abi] = match &self.abis {
            Abis::Listed(listed) => listed,
            Abis::Mapped(map) => {
                map.iter().find(|(native, _)| *native == arch.native()).map_or(&[], |(_, subs)| subs)
            }
        };
        let mut abis = vec![arch.native()];
        for abi in listed {
            if abi.runs_on(arch) && !abis.contains(abi) {
                abis.push(*abi);
            }
        }
        abis
    }
}

impl Rule {
    fn applies(&self, host: Host) -> bool {
        let arch = |c: &Condition| c.arches.iter().any(|a| a == host.arch.name());
        let (includes, excludes) = (&self.includes, &self.excludes);
        let excluded = arch(excludes)
            || excludes.caps.iter().any(|cap| host.caps.holds(cap))
            || excludes.min_kernel.is_some_and(|min| host.kernel >= min);
        let included = (includes.arches.is_empty() || arch(includes))
            && includes.caps.iter().all(|cap| host.caps.holds(cap))
            && includes.min_kernel.is_none_or(|min| host.kernel >= min);
        included && !excluded
    }
}

/// The first two numbers of a release such as `6.1.0-13-amd64` or `6.19-rc1`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let (kernel, rest) = release.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((kernel.parse().ok()?, rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_of_other_machines_are_dropped() {
        let listed = r#"["SCMP_ARCH_X32", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_ARM", "SCMP_ARCH_X86_64"]"#;
        let json =
            format!(r#"{{ "$schema": "x", "defaultAction": "SCMP_ACT_ALLOW", "architectures": {listed} }}"#);
        let profile = Profile::parse("p", &json).expect("valid");
        assert_eq!(profile.abis(Arch::X86_64), [Abi::X86_64, Abi::X32]);
        assert_eq!(profile.abis(Arch::Aarch64), [Abi::Aarch64, Abi::Arm]);
        let bare = Profile::parse("p", r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#).expect("valid");
        assert_eq!(bare.abis(Arch::X86_64), [Abi::X86_64]);
    }

    #[test]
    fn kernel_releases() {
        for (release, version) in
            [("6.1.0-13-amd64", (6, 1)), ("5.15", (5, 15)), ("3.12-1-amd64", (3, 12)), ("6.19rc1", (6, 19))]
        {
            assert_eq!(kernel_version(release), Some(version), "{release}");
        }
        assert_eq!((kernel_version("6"), kernel_version("x.1"), kernel_version("6.x")), (None, None, None));
    }
}
