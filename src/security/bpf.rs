//! Classic BPF for seccomp: pieces of program that are put together back to front, so that every jump
//! is known when it is written. Pure. (`build.rs` includes this file too.)
//!
//! A finished piece returns on every path; it never falls through.

use super::profile::{Arg, Op};

/// A `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub k: u32,
}

/// Size of an instruction as the kernel takes it.
pub const INSTRUCTION: usize = 8;

// linux/bpf_common.h
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// A comparison of the accumulator with a constant.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// Offsets in `struct seccomp_data`.
pub const NUMBER: u32 = 0;
pub const AUDIT_ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

pub fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD_WORD, if_true: 0, if_false: 0, k: offset }
}

pub fn and(mask: u32) -> Instruction {
    Instruction { code: AND, if_true: 0, if_false: 0, k: mask }
}

pub fn answer(value: u32) -> Vec<Instruction> {
    vec![Instruction { code: RETURN, if_true: 0, if_false: 0, k: value }]
}

/// `yes` when the accumulator passes the test, else `no`; both are finished pieces.
pub fn branch(test: Test, k: u32, yes: Vec<Instruction>, no: Vec<Instruction>) -> Vec<Instruction> {
    let mut piece = match u8::try_from(yes.len()) {
        Ok(over) => vec![compare(test, k, 0, over)],
        // A conditional jump reaches 255 instructions, a plain one any number.
        Err(_) => {
            let over = Instruction { code: JUMP, if_true: 0, if_false: 0, k: yes.len() as u32 };
            vec![compare(test, k, 1, 0), over]
        }
    };
    piece.extend(yes);
    piece.extend(no);
    piece
}

/// Puts a condition on an argument before `rest`: skips all of `rest` unless it holds.
///
/// Arguments have 64 bits and are compared as two words, the upper one first. `rest` is a few
/// instructions: at most five more conditions and what follows from them.
pub fn when(arg: Arg, rest: Vec<Instruction>) -> Vec<Instruction> {
    let past = u8::try_from(rest.len()).expect("six conditions take some thirty instructions");
    let (upper, lower) = ((arg.value >> 32) as u32, arg.value as u32);
    let load_lower = load(ARGUMENTS + 8 * arg.index);
    let load_upper = load(ARGUMENTS + 8 * arg.index + 4);
    let mut piece = match arg.op {
        Op::Equal => vec![
            load_upper,
            compare(Test::Equal, upper, 0, past + 2),
            load_lower,
            compare(Test::Equal, lower, 0, past),
        ],
        Op::NotEqual => vec![
            load_upper,
            compare(Test::Equal, upper, 0, 2),
            load_lower,
            compare(Test::Equal, lower, past, 0),
        ],
        Op::Greater | Op::GreaterOrEqual => vec![
            load_upper,
            compare(Test::Greater, upper, 3, 0),
            compare(Test::Equal, upper, 0, past + 2),
            load_lower,
            compare(last_word(arg.op), lower, 0, past),
        ],
        Op::Less | Op::LessOrEqual => vec![
            load_upper,
            compare(Test::Greater, upper, past + 3, 0),
            compare(Test::Equal, upper, 0, 2),
            load_lower,
            compare(last_word(arg.op), lower, past, 0),
        ],
        Op::IdOrNone(mask) => {
            let mut piece = vec![load_lower];
            piece.extend((mask != u32::MAX).then(|| and(mask)));
            piece.push(compare(Test::Equal, lower, 1, 0));
            piece.push(compare(Test::Equal, mask, 0, past));
            piece
        }
        Op::MaskedEqual(mask) => {
            let lower = masked(load_lower, mask as u32, lower, past);
            let past_lower = past + lower.len() as u8;
            let mut piece = masked(load_upper, (mask >> 32) as u32, upper, past_lower);
            piece.extend(lower);
            piece
        }
    };
    piece.extend(rest);
    piece
}

/// What the lower word must pass when the upper ones are equal; for `<` and `<=` it must fail it.
fn last_word(op: Op) -> Test {
    match op {
        Op::Greater | Op::LessOrEqual => Test::Greater,
        _ => Test::GreaterOrEqual,
    }
}

/// Skips `past` instructions unless a word under a mask equals a value.
fn masked(load: Instruction, mask: u32, value: u32, past: u8) -> Vec<Instruction> {
    let compare = compare(Test::Equal, value, 0, past);
    match mask {
        0 if value == 0 => Vec::new(),
        u32::MAX => vec![load, compare],
        _ => vec![load, and(mask), compare],
    }
}

/// One comparison, with how many instructions it skips either way.
pub fn compare(test: Test, k: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code: test as u16, if_true, if_false, k }
}

/// The program in the kernel's layout, in this machine's byte order.
pub fn to_bytes(program: &[Instruction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.if_true, instruction.if_false]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}
