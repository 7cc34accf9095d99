//! The machines that coracle is built for and the kinds of programs (ABIs) they run.
//! Constants only. (`build.rs` includes this file too.)

/// A machine coracle runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Aarch64,
}

/// A kind of program with a system call table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    X86_64,
    X86,
    /// 32-bit pointers on x86_64. The kernel gives it x86_64's audit value and sets [`X32_BIT`].
    X32,
    Aarch64,
    Arm,
}

/// Set in every x32 system call number.
pub const X32_BIT: u32 = 0x4000_0000;

/// Architectures of the profile format whose programs run on none of our machines.
const FOREIGN: [&str; 13] = [
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
];

impl Arch {
    /// From Rust's name of it, as in `CARGO_CFG_TARGET_ARCH`.
    pub fn from_rust(name: &str) -> Option<Arch> {
        match name {
            "x86_64" => Some(Arch::X86_64),
            "aarch64" => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// docker's name, as in a rule's `arches`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    pub fn native(self) -> Abi {
        match self {
            Arch::X86_64 => Abi::X86_64,
            Arch::Aarch64 => Abi::Aarch64,
        }
    }
}

impl Abi {
    /// `Some(None)` is an architecture whose programs run on none of our machines.
    pub fn parse(name: &str) -> Option<Option<Abi>> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Some(Abi::X86_64),
            "SCMP_ARCH_X86" => Some(Abi::X86),
            "SCMP_ARCH_X32" => Some(Abi::X32),
            "SCMP_ARCH_AARCH64" => Some(Abi::Aarch64),
            "SCMP_ARCH_ARM" => Some(Abi::Arm),
            foreign if FOREIGN.contains(&foreign) => None,
            _ => return None,
        })
    }

    pub fn runs_on(self, arch: Arch) -> bool {
        match arch {
            Arch::X86_64 => matches!(self, Abi::X86_64 | Abi::X86 | Abi::X32),
            Arch::Aarch64 => matches!(self, Abi::Aarch64 | Abi::Arm),
        }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h: what a filter sees in `seccomp_data.arch`.
    pub fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }
}
