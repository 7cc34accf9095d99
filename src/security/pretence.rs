//! The filter of single-id mode: calls that would name an id which is not mapped succeed without effect.
//!
//! With one id mapped, `chown redis` fails with EINVAL, and so does all that installs packages, unpacks archives
//! or gives up rights. Nearly none of it depends on the change itself. So the calls that name other ids answer 0,
//! and those that name the mapped ids reach the kernel. A container's own filter is loaded on top: where it refuses
//! a call, that stands.
//!
//! setfsuid(2) and setfsgid(2) need nothing: the kernel itself ignores ids that are not mapped.

use super::profile::{Abis, Action, Arg, Condition, Op, Profile, Rule};
use super::profile_json::FLAG_SPEC_ALLOW;
use super::seccomp::{Filter, SeccompError, compile};
use super::target::Abi;
use crate::security::caps::CapabilitySet;

/// SECCOMP_RET_ERRNO with 0: the call is skipped and returns 0.
const PRETEND: Action = Action::Errno(0);

/// Calls and the arguments of theirs that are user ids and group ids.
const CALLS: [(&[&str], &[u32], &[u32]); 9] = [
    (&["chown", "chown32", "lchown", "lchown32", "fchown", "fchown32"], &[1], &[2]),
    (&["fchownat"], &[2], &[3]),
    (&["setuid", "setuid32"], &[0], &[]),
    (&["setgid", "setgid32"], &[], &[0]),
    (&["setreuid", "setreuid32"], &[0, 1], &[]),
    (&["setregid", "setregid32"], &[], &[0, 1]),
    (&["setresuid", "setresuid32"], &[0, 1, 2], &[]),
    (&["setresgid", "setresgid32"], &[], &[0, 1, 2]),
    // The kernel refuses it whatever the groups are.
    (&["setgroups", "setgroups32"], &[], &[]),
];

/// The filter for a process whose namespace maps these two ids alone.
pub fn filter(uid: u32, gid: u32) -> Result<Filter, SeccompError> {
    compile(&profile(uid, gid), CapabilitySet::EMPTY)
}

fn profile(uid: u32, gid: u32) -> Profile {
    let arg = |index: &u32, id: u32| Arg { index: *index, op: Op::IdOrNone(u32::MAX), value: id.into() };
    let rule = |(names, uids, gids): &(&[&str], &[u32], &[u32])| {
        let args: Vec<Arg> =
            uids.iter().map(|i| arg(i, uid)).chain(gids.iter().map(|i| arg(i, gid))).collect();
        Rule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            action: if args.is_empty() { PRETEND } else { Action::Allow },
            args,
            includes: Condition::default(),
            excludes: Condition::default(),
            otherwise: Some(PRETEND),
        }
    };
    Profile {
        file: "(of single-id mode)".to_owned(),
        default_action: Action::Allow,
        flags: FLAG_SPEC_ALLOW,
        abis: Abis::Listed(vec![Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm]),
        rules: CALLS.iter().map(rule).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::answer_to;
    use super::super::syscalls::Table;
    use super::*;

    const LET_THROUGH: u32 = 0x7fff_0000;
    const SKIPPED: u32 = 0x0005_0000;
    const NONE: u64 = 0xffff_ffff;

    struct Filtered(Filter, Table, Vec<Abi>);

    impl Filtered {
        fn by(uid: u32, gid: u32) -> Filtered {
            let native = if cfg!(target_arch = "x86_64") {
                vec![Abi::X86_64, Abi::X86, Abi::X32]
            } else {
                vec![Abi::Aarch64, Abi::Arm]
            };
            Filtered(filter(uid, gid).expect("compiles"), Table::read(), native)
        }

        /// What every ABI that has the call does with it.
        fn all(&self, name: &str, args: &[u64]) -> u32 {
            let answers: Vec<u32> = self.2.iter().filter_map(|abi| self.one(*abi, name, args)).collect();
            assert!(!answers.is_empty() && answers.iter().all(|a| *a == answers[0]), "{name} {answers:x?}");
            answers[0]
        }

        fn one(&self, abi: Abi, name: &str, args: &[u64]) -> Option<u32> {
            Some(answer_to(&self.0, abi, self.1.number(name, abi)?, args))
        }
    }

    #[test]
    fn the_mapped_ids_reach_the_kernel_and_others_do_not() {
        let root = Filtered::by(0, 0);
        for (name, args) in [
            ("fchown", &[3, 0, 0][..]),
            ("fchown", &[3, u64::MAX, 0]),
            ("fchown", &[3, NONE, NONE]),
            ("fchownat", &[3, 1, NONE, 0]),
            ("setuid", &[0]),
            ("setresuid", &[0, NONE, 0]),
            ("setregid", &[NONE, 0]),
            ("setfsuid", &[1000]),
            ("setfsgid", &[1000]),
            ("getuid", &[1000]),
        ] {
            assert_eq!(root.all(name, args), LET_THROUGH, "{name} {args:?}");
        }
        for (name, args) in [
            ("fchown", &[3, 1, 0][..]),
            ("fchown", &[3, NONE, 1]),
            ("fchownat", &[3, 1, 0, 1000]),
            ("setuid", &[33]),
            ("setgid", &[33]),
            ("setresuid", &[0, NONE, 7]),
            ("setresgid", &[7, 7, 7]),
            ("setreuid", &[7, NONE]),
            ("setgroups", &[0, 0]),
            ("setgroups", &[2, 1]),
        ] {
            assert_eq!(root.all(name, args), SKIPPED, "{name} {args:?}");
        }
    }

    #[test]
    fn another_user_is_the_mapped_one() {
        let user = Filtered::by(1000, 50);
        assert_eq!(user.all("fchown", &[3, 1000, 50]), LET_THROUGH);
        assert_eq!(user.all("setuid", &[1000]), LET_THROUGH);
        for args in [[3, 0, 50], [3, 1000, 1000], [3, 50, 50]] {
            assert_eq!(user.all("fchown", &args), SKIPPED, "{args:?}");
        }
        assert_eq!(user.all("setgid", &[0]), SKIPPED);
    }

    #[test]
    fn old_calls_have_ids_of_16_bits() {
        let old = if cfg!(target_arch = "x86_64") { Abi::X86 } else { Abi::Arm };
        let small = Filtered::by(1000, 50);
        let answer = |name, args: &[u64]| small.one(old, name, args);
        assert_eq!(answer("chown", &[0, 0xffff, 0x7_0032]), Some(LET_THROUGH));
        assert_eq!(answer("chown32", &[0, 0xffff, 50]), Some(SKIPPED));
        assert_eq!(answer("fchownat", &[0, 0, 0xffff, 50]), Some(SKIPPED));
        // An id that does not fit is never meant.
        let large = Filtered::by(0x1_03e8, 50);
        assert_eq!(large.one(old, "setuid", &[1000]), Some(SKIPPED));
        assert_eq!(large.one(old, "setuid32", &[0x1_03e8]), Some(LET_THROUGH));
    }

    #[test]
    fn it_is_short() {
        let filter = filter(0, 0).expect("compiles");
        assert!(filter.program.len() < 400, "{filter:?}");
    }
}
