//! Tests of compiled filters: a small interpreter runs them over every system call number of every
//! ABI, and what comes out is compared with what the profile's rules say.

use std::collections::BTreeMap;

use proptest::array::uniform6;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::bpf::{answer, to_bytes, when};
use super::caps::CapabilitySet;
use super::compile::{ARM_PRIVATE, ENOSYS};
use super::profile::{Action, Arg, Host, Op, Profile, Rule};
use super::seccomp::{Filter, compile, default_filter_for, default_profile, ready_filter};
use super::syscalls::Table;
use super::target::{Abi, Arch, X32_BIT};

/// seccomp_data of linux/seccomp.h, with the instruction pointer 0.
#[derive(Clone, Copy)]
struct Call {
    number: u32,
    audit: u32,
    args: [u64; 6],
}

impl Call {
    fn new(abi: Abi, number: u32, args: [u64; 6]) -> Call {
        let bit = if abi == Abi::X32 { X32_BIT } else { 0 };
        Call { number: number | bit, audit: abi.audit(), args }
    }

    /// The 32-bit word at a byte offset, little-endian.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0,
            _ => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
        }
    }
}

/// Runs the filter as the kernel would; gives the return value and the instructions it took.
fn run(filter: &Filter, call: Call) -> (u32, usize) {
    let (mut pc, mut accumulator, mut steps) = (0usize, 0u32, 0);
    let program = &filter.program;
    loop {
        let instruction = program[pc];
        steps += 1;
        pc += 1;
        let k = instruction.k;
        let holds = match instruction.code {
            0x20 => {
                accumulator = call.word(k);
                continue;
            }
            0x05 => {
                pc += k as usize;
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x06 => return (k, steps),
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            other => panic!("instruction {other:#x} at {pc}"),
        };
        pc += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

/// What a filter answers to a call of one ABI.
pub(super) fn answer_to(filter: &Filter, abi: Abi, number: u32, args: &[u64]) -> u32 {
    let mut six = [0; 6];
    six[..args.len()].copy_from_slice(args);
    run(filter, Call::new(abi, number, six)).0
}

/// What the profile says of one ABI's system calls, worked out rule by rule.
struct Intent<'a> {
    abi: Abi,
    default: Action,
    rules: BTreeMap<u32, Vec<&'a Rule>>,
    last: Option<u32>,
}

/// Every system call number there may be, without the x32 bit.
fn numbers(abi: Abi) -> impl Iterator<Item = u32> {
    // Where x32 has no call below 512, the kernel refuses whatever the filter says.
    let table = Table::read();
    let vacant = move |number: &u32| abi == Abi::X32 && *number < 512 && !table.has(*number, abi);
    (0..1000).chain(ARM_PRIVATE..ARM_PRIVATE + 10).filter(move |number| !vacant(number))
}

impl<'a> Intent<'a> {
    fn new(profile: &'a Profile, host: Host, abi: Abi) -> Intent<'a> {
        let table = Table::read();
        let mut rules = BTreeMap::<u32, Vec<&Rule>>::new();
        for rule in profile.rules(host) {
            for name in &rule.names {
                if let Some(number) = table.number(name, abi) {
                    rules.entry(number).or_default().push(rule);
                }
            }
        }
        // Age is told by arm's common calls and by those that x32 shares with x86_64.
        let limit = if abi == Abi::X32 { 512 } else { ARM_PRIVATE };
        let last = rules.keys().copied().filter(|number| *number < limit).max();
        Intent { abi, default: profile.default_action, rules, last }
    }

    fn of(&self, number: u32, args: &[u64; 6]) -> Action {
        let own = match self.abi {
            Abi::Arm => number >= ARM_PRIVATE,
            Abi::X32 => (512..548).contains(&number),
            _ => false,
        };
        if !own && self.last.is_some_and(|last| number > last) {
            return Action::Errno(ENOSYS);
        }
        let rules = self.rules.get(&number).map_or(&[][..], Vec::as_slice);
        let telling = || rules.iter().filter(|rule| rule.action != self.default);
        let plain = telling().find(|rule| rule.args.is_empty());
        let matching = || telling().find(|rule| matches(rule, args));
        plain.or_else(matching).map_or(self.default, |rule| rule.action)
    }

    fn is_conditional(&self, number: u32) -> bool {
        self.rules.get(&number).is_some_and(|rules| rules.iter().any(|rule| !rule.args.is_empty()))
    }
}

/// Conditions hold together, but those on one argument are alternatives.
fn matches(rule: &Rule, args: &[u64; 6]) -> bool {
    let several = rule.args.iter().any(|arg| arg.index != rule.args[0].index);
    let mut held = rule.args.iter().map(|arg| holds(arg, args));
    if several { held.all(|h| h) } else { held.any(|h| h) }
}

fn holds(arg: &Arg, args: &[u64; 6]) -> bool {
    let value = args[arg.index as usize];
    match arg.op {
        Op::Equal => value == arg.value,
        Op::NotEqual => value != arg.value,
        Op::Less => value < arg.value,
        Op::LessOrEqual => value <= arg.value,
        Op::Greater => value > arg.value,
        Op::GreaterOrEqual => value >= arg.value,
        Op::MaskedEqual(mask) => value & mask == arg.value,
        Op::IdOrNone(mask) => [arg.value as u32, mask].contains(&(value as u32 & mask)),
    }
}

/// First arguments worth trying on a system call whose rules look at it.
fn first_arguments() -> Vec<u64> {
    let mut values: Vec<u64> = (0..64).collect();
    values.extend((7..32).map(|bit| 1 << bit));
    values.extend([0x11, 0x0002_0008, 0x003d_0f00, 0x7e02_0000, 0x1000_0011, 0xffff_ffff, 0xffff_fffe]);
    values
}

fn agree(filter: &Filter, profile: &Profile, host: Host) {
    for abi in profile.abis(host.arch) {
        let intent = Intent::new(profile, host, abi);
        for number in numbers(abi) {
            let tried = if intent.is_conditional(number) { first_arguments() } else { vec![0, u64::MAX] };
            for first in tried {
                let args = [first, 0, 0, 0, 0, 0];
                let (got, _) = run(filter, Call::new(abi, number, args));
                let wanted = intent.of(number, &args).value();
                assert_eq!(got, wanted, "{:?} {number} with {first:#x}", intent.abi);
            }
        }
    }
}

fn host(caps: CapabilitySet) -> Host {
    Host { arch: Arch::from_rust(std::env::consts::ARCH).expect("one of ours"), caps, kernel: (6, 1) }
}

/// The ready filter for docker's default capabilities.
pub(super) fn default_filter() -> Filter {
    ready_filter(CapabilitySet::default_set()).expect("build.rs compiles this set")
}

/// All that makes up a filter, to compare.
pub(super) fn content(filter: &Filter) -> (u32, Vec<(u16, u8, u8, u32)>) {
    (filter.flags, filter.program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect())
}

fn default_plus(names: &[&str]) -> CapabilitySet {
    let added = names.iter().map(|name| super::caps::number(name).expect("known")).collect();
    CapabilitySet::default_set().with(added)
}

fn profile(json: &str) -> Profile {
    Profile::parse("test.json", json).expect("valid")
}

#[test]
fn default_filter_does_what_its_profile_says() {
    let profile = default_profile().expect("valid");
    agree(&default_filter(), &profile, host(CapabilitySet::default_set()));
}

#[test]
fn so_do_the_other_ready_filters() {
    let profile = default_profile().expect("valid");
    for caps in [CapabilitySet::EMPTY, CapabilitySet::ALL, default_plus(&["CAP_SYS_ADMIN"])] {
        agree(&default_filter_for(caps).expect("ready"), &profile, host(caps));
    }
}

#[test]
fn a_filter_compiled_at_run_time_is_the_ready_one() {
    let profile = default_profile().expect("valid");
    let caps = CapabilitySet::default_set();
    let compiled = compile(&profile, caps).expect("compiles");
    assert_eq!(content(&compiled), content(&default_filter()));
    // A set that is not ready, and one that differs from the default in nothing the profile asks.
    let caps = default_plus(&["CAP_SYSLOG", "CAP_SYS_TTY_CONFIG"]);
    agree(&default_filter_for(caps).expect("compiles"), &profile, host(caps));
    let same = default_filter_for(default_plus(&["CAP_NET_ADMIN"])).expect("ready");
    assert_eq!(content(&same), content(&default_filter()));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn default_filter_by_hand() {
    let filter = default_filter();
    let answer = |abi, number, args: &[u64]| answer_to(&filter, abi, number, args);
    let (allow, eperm, enosys) = (0x7fff_0000, 0x0005_0001, 0x0005_0026);
    // read, write, execve of each kind of program
    for (abi, numbers) in [(Abi::X86_64, [0, 1, 59]), (Abi::X86, [3, 4, 11]), (Abi::X32, [0, 1, 520])] {
        assert!(numbers.iter().all(|n| answer(abi, *n, &[]) == allow), "{abi:?}");
    }
    // mount, keyctl, io_uring_setup, and bpf
    for (abi, numbers) in [(Abi::X86_64, [165, 250, 425, 321]), (Abi::X86, [21, 288, 425, 357])] {
        assert!(numbers.iter().all(|n| answer(abi, *n, &[]) == eperm), "{abi:?}");
    }
    let (clone, newuser) = (56, 0x1000_0000);
    assert_eq!(answer(Abi::X86_64, clone, &[0x11]), allow);
    assert_eq!(answer(Abi::X86_64, clone, &[newuser | 0x11]), eperm);
    assert_eq!(answer(Abi::X86_64, 435, &[]), enosys, "clone3");
    assert_eq!(answer(Abi::X86, 435, &[]), enosys, "clone3");
    assert_eq!(answer(Abi::X86_64, 999, &[]), enosys, "newer than the profile");
    assert_eq!(answer(Abi::X86_64, 457, &[]), allow, "statmount, unknown to older libraries");
    for (family, wanted) in
        [(1, allow), (2, allow), (16, allow), (38, eperm), (39, allow), (40, eperm), (41, allow)]
    {
        assert_eq!(answer(Abi::X86_64, 41, &[family]), wanted, "socket family {family}");
        assert_eq!(answer(Abi::X86, 359, &[family]), wanted, "socket family {family}");
        // The kernel ignores the upper half of the argument.
        assert_eq!(answer(Abi::X86_64, 41, &[family | 1 << 32]), wanted, "socket family {family}");
    }
    // A program of a kind the profile does not list dies.
    let foreign = Call { number: 0, audit: Abi::Arm.audit(), args: [0; 6] };
    assert_eq!(run(&filter, foreign).0, 0);
}

#[test]
fn filters_for_the_other_machine_compile_here() {
    let profile = default_profile().expect("valid");
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let host = Host { arch, ..host(CapabilitySet::default_set()) };
        let program = super::compile::compile(&profile, host).expect("compiles");
        let filter = Filter::from_program(0, &to_bytes(&program));
        agree(&filter, &profile, host);
    }
}

#[test]
fn conditions_operators_and_actions_of_a_users_profile() {
    let profile = profile(
        r#"{ "defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
             "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
            { "names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "args": null },
            { "name": "write", "action": "SCMP_ACT_LOG", "args": [
                { "index": 0, "value": 2, "op": "SCMP_CMP_GE" }, { "index": 0, "value": 0, "op": "SCMP_CMP_EQ" } ] },
            { "names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9,
              "args": [ { "index": 0, "value": 5, "op": "SCMP_CMP_NE" } ] },
            { "names": ["fsync"], "action": "SCMP_ACT_TRACE", "errnoRet": 7 },
            { "names": ["chdir"], "action": "SCMP_ACT_TRAP", "includes": { "minKernel": "4.8" } },
            { "names": ["fchdir"], "action": "SCMP_ACT_TRAP", "includes": { "minKernel": "99.0" } },
            { "names": ["getpid"], "action": "SCMP_ACT_ALLOW", "excludes": { "caps": ["CAP_CHOWN"] } },
            { "names": ["getppid"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_CHOWN", "CAP_KILL"] } },
            { "names": ["getuid"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390x"] } },
            { "names": ["mseal"], "action": "SCMP_ACT_ERRNO" }
        ] }"#,
    );
    let caps = CapabilitySet::default_set();
    let filter = compile(&profile, caps).expect("compiles");
    assert_eq!(filter.flags, 2);
    let host = host(caps);
    let native = host.arch.native();
    let table = Table::read();
    let answer = |name: &str, first| {
        let number = table.number(name, native).expect(name);
        run(&filter, Call::new(native, number, [first, 0, 0, 0, 0, 0])).0
    };
    let (allow, log, kill, trap) = (0x7fff_0000, 0x7ffc_0000, 0x8000_0000, 0x0003_0000);
    assert_eq!(answer("read", 0), allow);
    // Two conditions on one argument are alternatives.
    assert_eq!((answer("write", 0), answer("write", 1), answer("write", 3)), (log, kill, log));
    assert_eq!((answer("close", 5), answer("close", 6)), (kill, 0x0005_0009));
    assert_eq!(answer("fsync", 0), 0x7ff0_0007);
    assert_eq!((answer("chdir", 0), answer("fchdir", 0)), (trap, kill));
    assert_eq!((answer("getpid", 0), answer("getppid", 0), answer("getuid", 0)), (kill, allow, kill));
    assert_eq!(answer("mseal", 0), 0x0005_0001);
    let above = run(&filter, Call::new(native, 463, [0; 6])).0;
    assert_eq!(above, 0x0005_0026, "newer than the profile");
    agree(&filter, &profile, host);
}

#[test]
fn a_lenient_default_lets_newer_calls_through() {
    let profile = profile(
        r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [ { "names": ["mount"], "action": "SCMP_ACT_ERRNO" } ] }"#,
    );
    let filter = compile(&profile, CapabilitySet::ALL).expect("compiles");
    let native = host(CapabilitySet::ALL).arch.native();
    assert_eq!(run(&filter, Call::new(native, 900, [0; 6])).0, 0x7fff_0000);
    assert_eq!(filter.flags, 4);
}

#[test]
fn frequent_calls_take_few_steps() {
    let filter = default_filter();
    let native = host(CapabilitySet::default_set()).arch.native();
    let worst = (0..400).map(|number| run(&filter, Call::new(native, number, [0; 6])).1).max();
    assert!(worst.is_some_and(|steps| steps < 60), "{worst:?}");
}

#[test]
fn the_kernel_takes_the_default_filter() {
    use nix::sched::{CloneFlags, unshare};
    let (before, after) = std::thread::spawn(|| {
        // All of this is per thread.
        crate::sys::capability::no_new_privileges().expect("always allowed");
        let before = unshare(CloneFlags::CLONE_FILES);
        default_filter().load().expect("loads");
        (before, unshare(CloneFlags::CLONE_FILES))
    })
    .join()
    .expect("the thread ends");
    assert!(before.is_ok());
    assert_eq!(after.err(), Some(nix::errno::Errno::EPERM));
}

#[test]
fn a_call_with_many_rules() {
    let rule = |value: u32| {
        format!(
            r#"{{ "name": "read", "action": "SCMP_ACT_ALLOW", "args":
                [{{ "index": 0, "value": {value}, "op": "SCMP_CMP_EQ" }}] }}"#
        )
    };
    let rules = |count| (0..count).map(rule).collect::<Vec<_>>().join(",");
    let json = |rules| format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}] }}"#);
    let many = profile(&json(rules(60)));
    let host = host(CapabilitySet::EMPTY);
    agree(&compile(&many, host.caps).expect("compiles"), &many, host);
    let error = compile(&profile(&json(rules(1000))), host.caps).expect_err("too long").to_string();
    assert!(error.starts_with("seccomp profile test.json: the filter has 5"), "{error}");
}

/// Numbers around the borders of words, where a comparison of 64 bits can go wrong.
fn any_value() -> impl Strategy<Value = u64> {
    let word = select(vec![0u64, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]);
    (word.clone(), word).prop_map(|(upper, lower)| upper << 32 | lower)
}

fn any_arg() -> impl Strategy<Value = Arg> {
    let plain = [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual];
    let op = prop_oneof![6 => select(plain.to_vec()), 1 => any_value().prop_map(Op::MaskedEqual)];
    let id = select(vec![u32::MAX, u32::from(u16::MAX)]).prop_map(Op::IdOrNone);
    let op = prop_oneof![7 => op, 1 => id];
    (0u32..6, op, any_value()).prop_map(|(index, op, value)| Arg { index, op, value })
}

proptest! {
    #[test]
    fn conditions_compare_all_64_bits(conditions in vec(any_arg(), 1..=6), args in uniform6(any_value())) {
        let mut piece = conditions.iter().rev().fold(answer(1), |rest, arg| when(*arg, rest));
        piece.extend(answer(2));
        let filter = Filter::from_program(0, &to_bytes(&piece));
        let (got, _) = run(&filter, Call::new(Abi::X86_64, 0, args));
        let all = conditions.iter().all(|arg| holds(arg, &args));
        prop_assert_eq!(got, if all { 1 } else { 2 });
    }
}
