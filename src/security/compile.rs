//! Turns a profile's rules into a filter program. Pure; runs in the client for users' own profiles and
//! rare capability sets, and in `build.rs`, which includes this file, for the rest.
//!
//! Most system calls are simply allowed or refused, and neighbours share a fate: so the program is a
//! binary search over ranges of numbers. The kernel's time to load a filter grows with its length, and
//! this one is a quarter of what libseccomp makes of the same profile.

use std::collections::BTreeMap;

use super::bpf::{self, Instruction, Test};
use super::profile::{Action, Arg, Host, Op, Profile, Rule};
use super::syscalls::{Table, carrier};
use super::target::{Abi, X32_BIT};

/// BPF_MAXINSNS: the kernel takes no longer program.
const MAX_INSTRUCTIONS: usize = 4096;
/// From here on arm has calls of its own kind, such as cacheflush; they say nothing about age.
pub const ARM_PRIVATE: u32 = 0x000f_0000;
pub const ENOSYS: u16 = 38;
/// The action for programs of a kind that the profile does not list.
const FOREIGN: Action = Action::KillThread;
/// From here on x32 has calls of its own; below it those of x86_64.
const X32_OWN: u32 = 512;
/// As far as a conditional jump goes.
const REACH: usize = u8::MAX as usize;

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error(
        "seccomp profile {file}: the filter has {instructions} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLong { file: String, instructions: usize },
}

/// What happens to a system call: the first case whose conditions hold, else the last resort.
#[derive(Debug, Clone, PartialEq)]
struct Fate {
    cases: Vec<(Vec<Arg>, Action)>,
    otherwise: Action,
}

impl Fate {
    fn plain(action: Action) -> Fate {
        Fate { cases: Vec::new(), otherwise: action }
    }
}

/// Compiles the rules that apply on `host`. A name that no ABI has is skipped, as docker does.
pub fn compile(profile: &Profile, host: Host) -> Result<Vec<Instruction>, CompileError> {
    let policy = Policy { rules: profile.rules(host).collect(), profile, table: Table::read() };
    let abis = profile.abis(host.arch);
    // A program of a kind the profile does not serve dies, as with libseccomp.
    let mut program = bpf::answer(FOREIGN.value());
    for abi in abis.iter().rev().filter(|abi| **abi != Abi::X32) {
        let mut body = vec![bpf::load(bpf::NUMBER)];
        body.extend(match abi {
            Abi::X86_64 => policy.x86_64(abis.contains(&Abi::X32)),
            _ => search(policy.ranges(*abi, 0)),
        });
        program = bpf::branch(Test::Equal, abi.audit(), body, program);
    }
    program.insert(0, bpf::load(bpf::AUDIT_ARCH));
    if program.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong { file: profile.file.clone(), instructions: program.len() });
    }
    Ok(program)
}

struct Policy<'a> {
    profile: &'a Profile,
    rules: Vec<&'a Rule>,
    table: Table,
}

impl Policy<'_> {
    /// x86_64 and x32 share an audit value, and the numbers below [`X32_OWN`] mean the same to both, so
    /// one search serves them. (x32 lacks some of those: the kernel itself answers ENOSYS.)
    fn x86_64(&self, with_x32: bool) -> Vec<Instruction> {
        let plain = search(self.ranges(Abi::X86_64, 0));
        if !with_x32 {
            return bpf::branch(Test::GreaterOrEqual, X32_BIT, bpf::answer(FOREIGN.value()), plain);
        }
        let own = self.ranges(Abi::X32, X32_OWN);
        let own = own.into_iter().map(|(first, fate)| (first | X32_BIT, fate)).collect();
        let mut shared = vec![bpf::and(!X32_BIT)];
        shared.extend(plain);
        bpf::branch(Test::GreaterOrEqual, X32_BIT | X32_OWN, search(own), shared)
    }

    /// The fate of every number of an ABI from `start` on: each range's by the number it begins at.
    fn ranges(&self, abi: Abi, start: u32) -> Vec<(u32, Fate)> {
        let default = Fate::plain(self.profile.default_action);
        let mut ranges = BTreeMap::from([(start, default.clone())]);
        let mut last = start.checked_sub(1);
        for (number, fate) in self.fates(abi).into_iter().filter(|(number, _)| *number >= start) {
            ranges.insert(number, fate);
            ranges.insert(number + 1, default.clone());
            last = last.max(Some(number).filter(|number| *number < ARM_PRIVATE));
        }
        // A call that is newer than all that the profile names gets ENOSYS, so that programs fall back
        // as on an older kernel (runc does the same); not where the default is to let calls pass.
        let lenient = matches!(self.profile.default_action, Action::Allow | Action::Log | Action::Trace(_));
        if let Some(last) = last.filter(|_| !lenient) {
            ranges.insert(last + 1, Fate::plain(Action::Errno(ENOSYS)));
            if abi == Abi::Arm {
                ranges.entry(ARM_PRIVATE).or_insert(default);
            }
        }
        let mut ranges: Vec<(u32, Fate)> = ranges.into_iter().collect();
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        ranges
    }

    /// The fate of every call that the rules name, by number.
    fn fates(&self, abi: Abi) -> BTreeMap<u32, Fate> {
        let mut fates = BTreeMap::<u32, Fate>::new();
        let mut add = |number, rule: &Rule, when: Vec<Vec<Arg>>, action| {
            let fate = fates.entry(number).or_insert_with(|| Fate::plain(self.profile.default_action));
            fate.otherwise = rule.otherwise.unwrap_or(fate.otherwise);
            fate.cases.extend(when.into_iter().map(|args| (args, action)));
        };
        for rule in &self.rules {
            for name in &rule.names {
                if let Some(number) = self.table.number(name, abi) {
                    let narrow = self.table.number(&format!("{name}32"), abi).is_some();
                    add(number, rule, alternatives(rule, narrow), rule.action);
                }
                // Through its carrier a call's arguments lie in memory, out of a filter's sight.
                let carried = carrier(name, abi).filter(|_| rule.args.is_empty());
                let carried = carried.and_then(|(by, sub)| Some((self.table.number(by, abi)?, sub)));
                if let Some((number, sub)) = carried {
                    let carried = vec![vec![Arg { index: 0, op: Op::Equal, value: sub.into() }]];
                    add(number, rule, carried, rule.action);
                }
            }
        }
        for fate in fates.values_mut() {
            settle(fate);
        }
        fates
    }
}

/// Conditions hold together; several on one argument are alternatives, as in runc. Ids are `narrow`
/// in the calls of 32-bit machines that have a twin for ids of more than 16 bits.
fn alternatives(rule: &Rule, narrow: bool) -> Vec<Vec<Arg>> {
    let fit = |arg: &Arg| match arg.op {
        Op::IdOrNone(_) if narrow => Arg { op: Op::IdOrNone(u16::MAX.into()), ..*arg },
        _ => *arg,
    };
    let repeated = |arg: &Arg| rule.args.iter().filter(|other| other.index == arg.index).count() > 1;
    if rule.args.iter().any(repeated) {
        rule.args.iter().map(|arg| vec![fit(arg)]).collect()
    } else {
        vec![rule.args.iter().map(fit).collect()]
    }
}

/// A rule without conditions decides whatever the others say; those that repeat the default go.
fn settle(fate: &mut Fate) {
    let default = fate.otherwise;
    fate.cases.retain(|(_, action)| *action != default);
    if let Some((_, action)) = fate.cases.iter().find(|(args, _)| args.is_empty()) {
        *fate = Fate::plain(*action);
    }
}

/// Finds the range that the loaded number is in; the first one begins at the least possible number.
fn search(ranges: Vec<(u32, Fate)>) -> Vec<Instruction> {
    if let [(_, fate)] = &ranges[..] {
        return decide(fate);
    }
    let mut ends: Vec<(Fate, usize)> = Vec::new();
    let mut pieces = Vec::new();
    let decisions = ranges.len() - 1;
    for (_, fate) in &ranges {
        if ends.iter().all(|(known, _)| known != fate) {
            ends.push((fate.clone(), decisions + pieces.len()));
            pieces.extend(decide(fate));
        }
    }
    if decisions + pieces.len() > REACH {
        let mut below = ranges;
        let from = below.split_off(below.len() / 2);
        return bpf::branch(Test::GreaterOrEqual, from[0].0, search(from), search(below));
    }
    let end = |fate: &Fate| {
        let known = ends.iter().find(|(known, _)| known == fate);
        known.expect("the loop above saw every fate").1
    };
    let mut program = Vec::with_capacity(decisions + pieces.len());
    narrow(&ranges, &end, &mut program);
    program.extend(pieces);
    program
}

/// Adds the decisions between the ranges; `end` tells where a fate's instructions will be.
fn narrow(ranges: &[(u32, Fate)], end: &dyn Fn(&Fate) -> usize, program: &mut Vec<Instruction>) {
    if ranges.len() < 2 {
        return;
    }
    let here = program.len();
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let half = |ranges: &[(u32, Fate)], program: &mut Vec<Instruction>| match ranges {
        [(_, fate)] => end(fate),
        _ => {
            let at = program.len();
            narrow(ranges, end, program);
            at
        }
    };
    // Its place; how far it jumps is known once the halves are there.
    program.extend(bpf::answer(0));
    let no = half(below, program) - here - 1;
    let yes = half(from, program) - here - 1;
    program[here] = bpf::compare(Test::GreaterOrEqual, from[0].0, yes as u8, no as u8);
}

fn decide(fate: &Fate) -> Vec<Instruction> {
    let mut piece = Vec::new();
    for (args, action) in &fate.cases {
        let then = bpf::answer(action.value());
        piece.extend(args.iter().rev().fold(then, |rest, arg| bpf::when(*arg, rest)));
    }
    piece.extend(bpf::answer(fate.otherwise.value()));
    piece
}
