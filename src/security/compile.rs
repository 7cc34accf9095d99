//! Turns a profile's rules into a filter program, with libseccomp. Runs in the client for users' own
//! profiles and rare capability sets, and in `build.rs`, which includes this file, for the rest.

use std::fs::File;
use std::io::{Read, Seek};

use super::prelude::{self, INSTRUCTION, Section};
use super::profile::{Action, Arg, Host, Op, Profile, Rule};
use super::target::Abi;
use crate::sys::libseccomp::{self, Comparison, Failed, Filter};

/// From this many names on a binary tree over the numbers is worth its size; libseccomp 2.5 also gets
/// a tree over no rules wrong.
const TREE_FROM: usize = 32;
/// BPF_MAXINSNS: the kernel takes no longer program.
const MAX_INSTRUCTIONS: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("seccomp profile {file} cannot be compiled")]
    Library { file: String, source: Failed },
    #[error("seccomp profile {file}: rule {position} ({name}) cannot be compiled")]
    Rule { file: String, position: usize, name: String, source: Failed },
    #[error("seccomp profile {file}: the compiled filter cannot be read back")]
    Scratch { file: String, source: std::io::Error },
    #[error(
        "seccomp profile {file}: the filter has {instructions} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLong { file: String, instructions: usize },
}

/// Compiles the rules that apply on `host` into instructions in the kernel's layout.
///
/// libseccomp writes the program only to a descriptor: `scratch` is an empty file to write to and
/// read from. A name that neither libseccomp nor [`prelude::newer`] knows is skipped, as docker does.
pub fn compile(profile: &Profile, host: Host, mut scratch: File) -> Result<Vec<u8>, CompileError> {
    let abis = profile.abis(host.arch);
    let rules: Vec<&Rule> = profile.rules(host).collect();
    let mut program = prelude::assemble(&sections(profile, &abis, &rules));

    let filter = build_filter(profile, &abis, &rules)?;
    let library = |source| CompileError::Library { file: profile.file.clone(), source };
    filter.export(&scratch).map_err(library)?;
    let scratched = |source| CompileError::Scratch { file: profile.file.clone(), source };
    scratch.rewind().map_err(scratched)?;
    scratch.read_to_end(&mut program).map_err(scratched)?;

    let instructions = program.len() / INSTRUCTION;
    if instructions > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong { file: profile.file.clone(), instructions });
    }
    Ok(program)
}

fn build_filter(profile: &Profile, abis: &[Abi], rules: &[&Rule]) -> Result<Filter, CompileError> {
    let library = |source| CompileError::Library { file: profile.file.clone(), source };
    let native = libseccomp::native_arch();
    let mut filter = Filter::new(profile.default_action.value()).map_err(library)?;
    // A new filter serves the machine that compiles; in a cross build that is another one.
    for abi in abis.iter().filter(|abi| abi.scmp() != native) {
        filter.add_arch(abi.scmp()).map_err(library)?;
    }
    if abis.iter().all(|abi| abi.scmp() != native) {
        filter.remove_arch(native).map_err(library)?;
    }
    if rules.iter().map(|rule| rule.names.len()).sum::<usize>() > TREE_FROM {
        filter.use_binary_tree().map_err(library)?;
    }
    // A rule that repeats the default action is an error to libseccomp and a no-op to docker.
    for rule in rules.iter().filter(|rule| rule.action != profile.default_action) {
        for name in &rule.names {
            let Some(syscall) = libseccomp::handle(name) else { continue };
            add_rule(&mut filter, rule, syscall).map_err(|source| CompileError::Rule {
                file: profile.file.clone(),
                position: rule.position,
                name: name.clone(),
                source,
            })?;
        }
    }
    Ok(filter)
}

fn add_rule(filter: &mut Filter, rule: &Rule, syscall: i32) -> Result<(), Failed> {
    let action = rule.action.value();
    let comparisons: Vec<Comparison> = rule.args.iter().map(comparison).collect();
    let repeated = |arg: &Arg| rule.args.iter().filter(|other| other.index == arg.index).count() > 1;
    if rule.args.iter().any(repeated) {
        return comparisons.iter().try_for_each(|one| filter.add_rule(action, syscall, &[*one]));
    }
    filter.add_rule(action, syscall, &comparisons)
}

/// What the prelude must do: see there.
fn sections(profile: &Profile, abis: &[Abi], rules: &[&Rule]) -> Vec<Section> {
    // Where nothing is refused by default, or with ENOSYS anyway, newer calls need no special answer.
    let lenient = matches!(
        profile.default_action,
        Action::Allow | Action::Log | Action::Trace(_) | Action::Errno(prelude::ENOSYS)
    );
    let section = |abi: &Abi| {
        let names = || rules.iter().flat_map(|rule| rule.names.iter().map(move |name| (*rule, name)));
        let numbers = names().filter_map(|(_, name)| prelude::number(name, *abi));
        let last = numbers.filter(|number| *number < prelude::ARM_PRIVATE).max();
        let mut extra: Vec<(u32, Action)> = Vec::new();
        for (rule, name) in names().filter(|(rule, _)| rule.args.is_empty()) {
            if libseccomp::handle(name).is_some() {
                continue;
            }
            let Some(number) = prelude::newer(name, *abi) else { continue };
            if extra.iter().all(|(other, _)| *other != number) {
                extra.push((number, rule.action));
            }
        }
        Section { abi: *abi, last: last.filter(|_| !lenient), extra }
    };
    abis.iter().map(section).collect()
}

fn comparison(arg: &Arg) -> Comparison {
    let (op, a, b) = match arg.op {
        Op::NotEqual => (1, arg.value, 0),
        Op::Less => (2, arg.value, 0),
        Op::LessOrEqual => (3, arg.value, 0),
        Op::Equal => (4, arg.value, 0),
        Op::GreaterOrEqual => (5, arg.value, 0),
        Op::Greater => (6, arg.value, 0),
        Op::MaskedEqual(mask) => (7, mask, arg.value),
    };
    Comparison { arg: arg.index, op, a, b }
}
