//! The calls that single-id mode answers itself, by name and by number in every ABI. Pure; the names go into
//! the filter (`pretence`), the numbers are what the pretender is asked.

use std::collections::HashMap;

use super::pretended_ids::NONE;
use super::syscalls::Table;
use super::target::{Abi, X32_BIT};

/// What is asked; the arguments are those of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Set(Kind),
    SetTwo(Kind),
    SetThree(Kind),
    SetFiles(Kind),
    SetGroups,
    Real(Kind),
    Effective(Kind),
    Three(Kind),
    Groups,
    /// prctl(2) "PR_SET_KEEPCAPS" and "PR_SET_SECUREBITS", which say whether a change of user takes capabilities.
    KeepPower,
}

/// Options of prctl(2) that are [`Question::KeepPower`].
pub const KEEP_OPTIONS: [u32; 2] = [KEEPCAPS, SECUREBITS];
const KEEPCAPS: u32 = 8;
const SECUREBITS: u32 = 28;
/// SECBIT_NO_SETUID_FIXUP and SECBIT_KEEP_CAPS of linux/securebits.h.
const KEEPING_BITS: u64 = 1 << 2 | 1 << 4;

/// What the arguments of [`Question::KeepPower`] ask for.
pub fn keeps_power(args: &[u64; 6]) -> bool {
    match args[0] as u32 {
        KEEPCAPS => args[1] != 0,
        SECUREBITS => args[1] & KEEPING_BITS != 0,
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
}

/// How wide an id is, in registers and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 16 bits: the first calls of 32-bit machines.
    Narrow,
    Wide,
}

const CALLS: [(&str, Question); 16] = [
    ("setuid", Question::Set(Kind::User)),
    ("setgid", Question::Set(Kind::Group)),
    ("setreuid", Question::SetTwo(Kind::User)),
    ("setregid", Question::SetTwo(Kind::Group)),
    ("setresuid", Question::SetThree(Kind::User)),
    ("setresgid", Question::SetThree(Kind::Group)),
    ("setfsuid", Question::SetFiles(Kind::User)),
    ("setfsgid", Question::SetFiles(Kind::Group)),
    ("setgroups", Question::SetGroups),
    ("getuid", Question::Real(Kind::User)),
    ("getgid", Question::Real(Kind::Group)),
    ("geteuid", Question::Effective(Kind::User)),
    ("getegid", Question::Effective(Kind::Group)),
    ("getresuid", Question::Three(Kind::User)),
    ("getresgid", Question::Three(Kind::Group)),
    ("getgroups", Question::Groups),
];

/// The twin for ids of more than 16 bits that 32-bit machines have.
fn wide(name: &str) -> String {
    format!("{name}32")
}

/// All names, those of twins included.
pub fn names() -> Vec<String> {
    CALLS.iter().flat_map(|(name, _)| [(*name).to_owned(), wide(name)]).collect()
}

/// Which question a system call is, by what the kernel tells of it.
#[derive(Debug)]
pub struct Questions(HashMap<(u32, u32), (Question, Width)>);

impl Questions {
    pub fn read() -> Questions {
        let table = Table::read();
        let mut known = HashMap::new();
        for abi in [Abi::X86_64, Abi::X32, Abi::X86, Abi::Aarch64, Abi::Arm] {
            let bit = if abi == Abi::X32 { X32_BIT } else { 0 };
            let mut add = |number: Option<u32>, question, width| {
                known.extend(number.map(|number| ((abi.audit(), number | bit), (question, width))));
            };
            for (name, question) in CALLS {
                let twin = table.number(&wide(name), abi);
                let width = if twin.is_some() { Width::Narrow } else { Width::Wide };
                add(table.number(name, abi), question, width);
                add(twin, question, Width::Wide);
            }
            add(table.number("prctl", abi), Question::KeepPower, Width::Wide);
        }
        Questions(known)
    }

    /// `arch` is an `AUDIT_ARCH_*`; `None`: not one of ours.
    pub fn find(&self, arch: u32, number: u32) -> Option<(Question, Width)> {
        self.0.get(&(arch, number)).copied()
    }
}

impl Width {
    /// An id out of a register.
    pub fn id(self, argument: u64) -> u32 {
        let id = argument as u32;
        match self {
            Width::Wide => id,
            Width::Narrow if id & 0xffff == 0xffff => NONE,
            Width::Narrow => id & 0xffff,
        }
    }

    /// An id as a call of this width gives it back: one that does not fit is 65534 (`overflowuid`).
    pub fn shown(self, id: u32) -> u32 {
        if self == Width::Narrow && id > 0xffff { 65534 } else { id }
    }

    pub fn bytes(self) -> usize {
        match self {
            Width::Narrow => 2,
            Width::Wide => 4,
        }
    }

    /// Ids as they lie in the caller's memory.
    pub fn encode(self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|id| self.shown(*id).to_le_bytes().into_iter().take(self.bytes())).collect()
    }

    pub fn decode(self, bytes: &[u8]) -> Vec<u32> {
        let id = |bytes: &[u8]| bytes.iter().rev().fold(0, |id, byte| (id << 8) | u64::from(*byte));
        bytes.chunks_exact(self.bytes()).map(|bytes| self.id(id(bytes))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_abi_are_known() {
        let questions = Questions::read();
        let (user, group) = (Kind::User, Kind::Group);
        for (abi, number, question, width) in [
            (Abi::X86_64, 105, Question::Set(user), Width::Wide),
            (Abi::X86_64, 118, Question::Three(user), Width::Wide),
            (Abi::X32, 116 | X32_BIT, Question::SetGroups, Width::Wide),
            (Abi::X86, 24, Question::Real(user), Width::Narrow),
            (Abi::X86, 199, Question::Real(user), Width::Wide),
            (Abi::Aarch64, 143, Question::SetTwo(group), Width::Wide),
            (Abi::Arm, 205, Question::Groups, Width::Wide),
            (Abi::Arm, 80, Question::Groups, Width::Narrow),
        ] {
            assert_eq!(questions.find(abi.audit(), number), Some((question, width)), "{abi:?} {number}");
        }
        assert_eq!(questions.find(Abi::X86_64.audit(), 0), None);
        assert_eq!(questions.0.len(), 17 * 3 + 33 * 2);
    }

    #[test]
    fn what_keeps_capabilities() {
        for (option, value, keeps) in
            [(8, 1, true), (8, 0, false), (28, 0x10, true), (28, 4, true), (28, 1, false)]
        {
            assert_eq!(keeps_power(&[option, value, 0, 0, 0, 0]), keeps, "{option} {value}");
        }
    }

    #[test]
    fn narrow_ids() {
        assert_eq!((Width::Narrow.id(0x7_ffff), Width::Narrow.id(0x7_0021)), (NONE, 33));
        assert_eq!((Width::Wide.id(u64::MAX), Width::Wide.id(0xffff)), (NONE, 0xffff));
        assert_eq!((Width::Narrow.shown(70000), Width::Wide.shown(70000)), (65534, 70000));
        assert_eq!(Width::Narrow.encode(&[1, 70000]), [1, 0, 0xfe, 0xff]);
        assert_eq!(Width::Narrow.decode(&[1, 0, 0xff, 0xff]), [1, NONE]);
        assert_eq!(Width::Wide.decode(&Width::Wide.encode(&[1, NONE])), [1, NONE]);
    }
}
