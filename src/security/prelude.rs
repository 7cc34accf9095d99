//! The instructions that stand before a filter that libseccomp made.
//! (`build.rs` includes this file too.)
//!
//! They repair two things. A system call newer than every one the profile names gets ENOSYS instead of
//! the default error, so that programs fall back as on an older kernel; runc does the same. And a
//! system call that the profile names but an older libseccomp does not know gets its action, so the
//! filter does not depend on the machine it was compiled on.

use super::profile::Action;
use super::target::{Abi, X32_BIT};
use crate::sys::libseccomp;

pub const ENOSYS: u16 = 38;

// linux/bpf_common.h
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const AUDIT_ARCH: u32 = 4;

/// Size of a `struct sock_filter`.
pub const INSTRUCTION: usize = 8;

/// System calls newer than libseccomp 2.5 knows. Since Linux 5.1 all architectures give a new one the
/// same number.
const NEWER: [(&str, u32); 15] = [
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
    ("listns", 470),
    ("rseq_slice_yield", 471),
];
/// The exceptions to that rule, of x86_64 alone.
const NEWER_X86_64: [(&str, u32); 2] = [("uretprobe", 335), ("uprobe", 336)];

/// Calls that i386 programs can also make through socketcall(2) and ipc(2): libseccomp serves both
/// ways and tells no number.
const MULTIPLEXED_X86: [(&str, u32); 27] = [
    ("recvmmsg", 337),
    ("sendmmsg", 345),
    ("socket", 359),
    ("socketpair", 360),
    ("bind", 361),
    ("connect", 362),
    ("listen", 363),
    ("accept4", 364),
    ("getsockopt", 365),
    ("setsockopt", 366),
    ("getsockname", 367),
    ("getpeername", 368),
    ("sendto", 369),
    ("sendmsg", 370),
    ("recvfrom", 371),
    ("recvmsg", 372),
    ("shutdown", 373),
    ("semget", 393),
    ("semctl", 394),
    ("shmget", 395),
    ("shmctl", 396),
    ("shmat", 397),
    ("shmdt", 398),
    ("msgget", 399),
    ("msgsnd", 400),
    ("msgrcv", 401),
    ("msgctl", 402),
];

/// From here on arm has calls of its own kind, such as cacheflush; they say nothing about age.
pub const ARM_PRIVATE: u32 = 0x000f_0000;

/// A system call's number in an ABI, without [`X32_BIT`]; `None` when the ABI has no such call or
/// nobody knows its name.
pub fn number(name: &str, abi: Abi) -> Option<u32> {
    let multiplexed = || MULTIPLEXED_X86.iter().find(|(known, _)| abi == Abi::X86 && *known == name);
    let known = libseccomp::number(name, abi.scmp()).map(|number| number & !X32_BIT);
    known.or_else(|| multiplexed().map(|(_, number)| *number)).or_else(|| newer(name, abi))
}

/// The number of a system call that libseccomp may not know yet.
pub fn newer(name: &str, abi: Abi) -> Option<u32> {
    let own = if abi == Abi::X86_64 { &NEWER_X86_64[..] } else { &[] };
    NEWER.iter().chain(own).find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// What the prelude does for the programs of one ABI. Numbers are without [`X32_BIT`].
#[derive(Debug)]
pub struct Section {
    pub abi: Abi,
    /// The largest number the profile names, below [`ARM_PRIVATE`]; anything above gets ENOSYS.
    pub last: Option<u32>,
    /// System calls that libseccomp does not know.
    pub extra: Vec<(u32, Action)>,
}

struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// Makes the instructions, in the kernel's layout. They fall through to what follows them.
pub fn assemble(sections: &[Section]) -> Vec<u8> {
    let mut program = vec![load(AUDIT_ARCH)];
    for section in sections.iter().filter(|s| s.abi != Abi::X32) {
        let x32 = sections.iter().find(|s| s.abi == Abi::X32 && s.abi.audit() == section.abi.audit());
        let mut body = vec![load(NUMBER)];
        if section.abi == Abi::X86_64 {
            let x32 = x32.map_or_else(|| vec![leave()], decide);
            body.push(test(JUMP_SET, X32_BIT, 0, x32.len()));
            body.extend(x32);
        }
        body.extend(decide(section));
        program.push(test(JUMP_EQUAL, section.abi.audit(), 0, body.len()));
        program.extend(body);
    }
    encode(program)
}

/// The decisions for one ABI, with the number loaded; every path returns or leaves the prelude.
fn decide(section: &Section) -> Vec<Instruction> {
    let bit = if section.abi == Abi::X32 { X32_BIT } else { 0 };
    let mut body = Vec::new();
    if section.abi == Abi::Arm {
        body.push(test(JUMP_GREATER_EQUAL, ARM_PRIVATE, 0, 1));
        body.push(leave());
    }
    if let Some(last) = section.last {
        body.push(test(JUMP_GREATER, bit | last, 0, 1));
        body.push(answer(Action::Errno(ENOSYS)));
    }
    if let Some(first) = section.extra.iter().map(|(number, _)| number).min() {
        body.push(test(JUMP_GREATER_EQUAL, bit | first, 0, section.extra.len() * 2));
    }
    for (number, action) in &section.extra {
        body.push(test(JUMP_EQUAL, bit | number, 0, 1));
        body.push(answer(*action));
    }
    body.push(leave());
    body
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD_WORD, if_true: 0, if_false: 0, k: offset }
}

/// A comparison that skips `if_true` or `if_false` instructions.
fn test(code: u16, k: u32, if_true: u8, if_false: usize) -> Instruction {
    let if_false = u8::try_from(if_false).expect("a section is short: libseccomp knows most system calls");
    Instruction { code, if_true, if_false, k }
}

fn answer(action: Action) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, k: action.value() }
}

/// A jump to the end; [`encode`] fills in how far.
fn leave() -> Instruction {
    Instruction { code: JUMP, if_true: 0, if_false: 0, k: 0 }
}

fn encode(program: Vec<Instruction>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    let mut rest = program.len() as u32;
    for Instruction { code, if_true, if_false, k } in program {
        rest -= 1;
        let k = if code == JUMP { rest } else { k };
        bytes.extend(code.to_ne_bytes());
        bytes.extend([if_true, if_false]);
        bytes.extend(k.to_ne_bytes());
    }
    bytes
}
