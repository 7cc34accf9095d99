//! The filter of single-id mode, in which one id is mapped: what is told to calls that name others.
//!
//! `chown redis` fails there with EINVAL, and so does all that installs packages, unpacks archives or gives up
//! rights. Nearly none of it depends on the change itself. So a change of owner that names other ids answers 0, and one
//! that names the mapped ids reaches the kernel. For a process of root all calls that set and tell its own ids are answered by the
//! pretender (`runtime::pretender`), so that it sees what it was told. Another user is refused what it may nowhere
//! do. A container's own filter is loaded on top: where it refuses a call, that stands.

use super::pretended_calls::{KEEP_OPTIONS, names};
use super::profile::{Abis, Action, Arg, Condition, Op, Profile, Rule};
use super::profile_json::FLAG_SPEC_ALLOW;
use super::seccomp::{Filter, SeccompError, compile};
use super::target::Abi;
use crate::security::caps::CapabilitySet;
use crate::sys;
use crate::sys::identity_tag;
use crate::sys::notify::Listener;

/// SECCOMP_RET_ERRNO with 0: the call is skipped and returns 0.
const DONE: Action = Action::Errno(0);
const REFUSED: Action = Action::Errno(nix::errno::Errno::EPERM as u16);

/// Calls and the arguments of theirs that are user ids and group ids.
type Naming = (&'static [&'static str], &'static [u32], &'static [u32]);

const OWNERS: [Naming; 2] = [
    (&["chown", "chown32", "lchown", "lchown32", "fchown", "fchown32"], &[1], &[2]),
    (&["fchownat"], &[2], &[3]),
];

/// Those that fail for ids that are not mapped; setfsuid(2) and setfsgid(2) ignore them, setgroups(2) fails always.
const OWN: [Naming; 6] = [
    (&["setuid", "setuid32"], &[0], &[]),
    (&["setgid", "setgid32"], &[], &[0]),
    (&["setreuid", "setreuid32"], &[0, 1], &[]),
    (&["setregid", "setregid32"], &[], &[0, 1]),
    (&["setresuid", "setresuid32"], &[0, 1, 2], &[]),
    (&["setresgid", "setresgid32"], &[], &[0, 1, 2]),
];

/// What a process gets whose namespace maps one user and one group.
#[derive(Debug)]
pub struct Pretence {
    filter: Filter,
    /// It wants a listener.
    asks: bool,
}

impl Pretence {
    pub fn plan(uid: u32, gid: u32) -> Result<Pretence, SeccompError> {
        let asks = uid == 0;
        let rules = if asks { of_root(gid) } else { of_user(uid, gid) };
        Ok(Pretence { filter: compile(&profile(rules), CapabilitySet::EMPTY)?, asks })
    }

    /// Loads the filter for the calling process; `hand_over` passes its listener on.
    ///
    /// A process that has a listener above it already (a container in a container of single-id mode) gets no other.
    /// Then the kernel answers the calls, with errors for ids that are not mapped: a program that cannot
    /// change its user ends, where one that is told a half-truth may try for ever.
    pub fn load(&self, hand_over: impl FnOnce(&Listener) -> sys::Result<()>) -> sys::Result<()> {
        if !self.asks {
            return self.filter.load();
        }
        match identity_tag::write(0, 0).and_then(|()| self.filter.load_with_listener()) {
            Ok(listener) => hand_over(&listener),
            Err(_) => self.unasked().load(),
        }
    }

    fn unasked(&self) -> Filter {
        self.filter.with(Action::Allow, Action::Notify)
    }
}

fn of_user(uid: u32, gid: u32) -> Vec<Rule> {
    let own = OWN.iter().map(|naming| rule(naming, (uid, gid), REFUSED));
    owners(uid, gid).into_iter().chain(own).collect()
}

fn of_root(gid: u32) -> Vec<Rule> {
    let always = |names, action, args| Rule {
        names,
        action,
        args,
        includes: Condition::default(),
        excludes: Condition::default(),
        otherwise: None,
    };
    let resource =
        |index| Arg { index, op: Op::MaskedEqual(u32::MAX.into()), value: identity_tag::RESOURCE.into() };
    let new = Arg { index: 2, op: Op::NotEqual, value: 0 };
    let mut rules = owners(0, gid);
    rules.push(always(names(), Action::Notify, Vec::new()));
    for option in KEEP_OPTIONS {
        let option = Arg { index: 0, op: Op::MaskedEqual(u32::MAX.into()), value: option.into() };
        rules.push(always(vec!["prctl".to_owned()], Action::Notify, vec![option]));
    }
    // The limit that carries what a process believes, and limits nothing, is not to be changed by itself.
    rules.push(always(vec!["setrlimit".to_owned()], DONE, vec![resource(0)]));
    rules.push(always(vec!["prlimit64".to_owned()], DONE, vec![resource(1), new]));
    rules
}

fn owners(uid: u32, gid: u32) -> Vec<Rule> {
    OWNERS.iter().map(|naming| rule(naming, (uid, gid), DONE)).collect()
}

/// Calls that name the mapped ids alone reach the kernel; the others get `otherwise`.
fn rule((names, uids, gids): &Naming, (uid, gid): (u32, u32), otherwise: Action) -> Rule {
    let arg = |index: &u32, id: u32| Arg { index: *index, op: Op::IdOrNone(u32::MAX), value: id.into() };
    Rule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: Action::Allow,
        args: uids.iter().map(|i| arg(i, uid)).chain(gids.iter().map(|i| arg(i, gid))).collect(),
        includes: Condition::default(),
        excludes: Condition::default(),
        otherwise: Some(otherwise),
    }
}

fn profile(rules: Vec<Rule>) -> Profile {
    Profile {
        file: "(of single-id mode)".to_owned(),
        default_action: Action::Allow,
        flags: FLAG_SPEC_ALLOW,
        abis: Abis::Listed(vec![Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm]),
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::answer_to;
    use super::super::syscalls::Table;
    use super::*;

    const LET_THROUGH: u32 = 0x7fff_0000;
    const SKIPPED: u32 = 0x0005_0000;
    const NOT_PERMITTED: u32 = 0x0005_0001;
    const ASKED: u32 = 0x7fc0_0000;
    const NONE: u64 = 0xffff_ffff;

    struct Filtered(Filter, Table, Vec<Abi>);

    impl Filtered {
        fn with(filter: Filter) -> Filtered {
            let native = if cfg!(target_arch = "x86_64") {
                vec![Abi::X86_64, Abi::X86, Abi::X32]
            } else {
                vec![Abi::Aarch64, Abi::Arm]
            };
            Filtered(filter, Table::read(), native)
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

    fn planned(uid: u32, gid: u32) -> Pretence {
        Pretence::plan(uid, gid).expect("compiles")
    }

    const CHOWNS: [(&str, &[u64], u32); 6] = [
        ("fchown", &[3, 0, 0], LET_THROUGH),
        ("fchown", &[3, u64::MAX, 0], LET_THROUGH),
        ("fchownat", &[3, 1, NONE, 0], LET_THROUGH),
        ("fchown", &[3, 1, 0], SKIPPED),
        ("fchown", &[3, NONE, 1], SKIPPED),
        ("fchownat", &[3, 1, 0, 1000], SKIPPED),
    ];

    #[test]
    fn root_is_answered_about_ids() {
        let root = Filtered::with(planned(0, 0).filter);
        for (name, args, answer) in CHOWNS {
            assert_eq!(root.all(name, args), answer, "{name} {args:?}");
        }
        for name in names() {
            let known = root.2.iter().any(|abi| root.1.number(&name, *abi).is_some());
            assert!(!known || root.all(&name, &[0, 0, 0]) == ASKED, "{name}");
        }
        let carrier = u64::from(identity_tag::RESOURCE);
        for (name, args, answer) in [
            ("setrlimit", &[carrier, 1][..], SKIPPED),
            ("setrlimit", &[7, 1], LET_THROUGH),
            ("setrlimit", &[NONE, 1], LET_THROUGH),
            ("prlimit64", &[0, carrier, 1, 0], SKIPPED),
            ("prlimit64", &[0, carrier, 0, 1], LET_THROUGH),
            ("prlimit64", &[0, 7, 1, 1], LET_THROUGH),
            ("prctl", &[8, 1], ASKED),
            ("prctl", &[28, 4], ASKED),
            ("prctl", &[4, 1], LET_THROUGH),
            ("read", &[0, 0, 0], LET_THROUGH),
        ] {
            assert_eq!(root.all(name, args), answer, "{name} {args:?}");
        }
    }

    #[test]
    fn without_a_listener_the_kernel_answers_root() {
        let root = Filtered::with(planned(0, 0).unasked());
        for (name, args, answer) in CHOWNS {
            assert_eq!(root.all(name, args), answer, "{name} {args:?}");
        }
        assert!(["setuid", "setgroups", "getuid", "prctl"].iter().all(|n| root.all(n, &[10]) == LET_THROUGH));
    }

    #[test]
    fn another_user_is_the_mapped_one() {
        let pretence = planned(1000, 50);
        assert!(!pretence.asks);
        let user = Filtered::with(pretence.filter);
        for (name, args) in [
            ("fchown", &[3, 1000, 50][..]),
            ("setuid", &[1000]),
            ("setresuid", &[1000, NONE, 1000]),
            ("setregid", &[NONE, 50]),
            ("setfsuid", &[7]),
            ("setgroups", &[0, 0]),
            ("getuid", &[]),
        ] {
            assert_eq!(user.all(name, args), LET_THROUGH, "{name} {args:?}");
        }
        for args in [[3, 0, 50], [3, 1000, 1000], [3, 50, 50]] {
            assert_eq!(user.all("fchown", &args), SKIPPED, "{args:?}");
        }
        for (name, args) in [("setgid", &[0][..]), ("setuid", &[0]), ("setresuid", &[1000, 7, NONE])] {
            assert_eq!(user.all(name, args), NOT_PERMITTED, "{name} {args:?}");
        }
    }

    #[test]
    fn old_calls_have_ids_of_16_bits() {
        let old = if cfg!(target_arch = "x86_64") { Abi::X86 } else { Abi::Arm };
        let small = Filtered::with(planned(1000, 50).filter);
        let answer = |name, args: &[u64]| small.one(old, name, args);
        assert_eq!(answer("chown", &[0, 0xffff, 0x7_0032]), Some(LET_THROUGH));
        assert_eq!(answer("chown32", &[0, 0xffff, 50]), Some(SKIPPED));
        assert_eq!(answer("fchownat", &[0, 0, 0xffff, 50]), Some(SKIPPED));
        // An id that does not fit is never meant.
        let large = Filtered::with(planned(0x1_03e8, 50).filter);
        assert_eq!(large.one(old, "setuid", &[1000]), Some(NOT_PERMITTED));
        assert_eq!(large.one(old, "setuid32", &[0x1_03e8]), Some(LET_THROUGH));
    }

    #[test]
    fn they_are_short() {
        for Pretence { filter, .. } in [planned(0, 0), planned(7, 7)] {
            assert!(filter.program.len() < 400, "{filter:?}");
        }
    }
}
