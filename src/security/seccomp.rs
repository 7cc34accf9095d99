//! Seccomp filters of containers: the default one, compiled by `build.rs`, and those of users' own
//! profiles, compiled here. Runs in the client and the monitor; only [`Filter::load`] runs in the
//! container's init.

use super::bpf::{INSTRUCTION, to_bytes};
use super::caps::CapabilitySet;
use super::compile::{CompileError, compile as compile_rules};
use super::profile::{Host, Profile, kernel_version};
use super::profile_json::InvalidProfile;
use super::target::Arch;
use crate::sys;
use crate::sys::error::Context;

/// What `build.rs` compiled from `data/seccomp.json`.
mod ready {
    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}

const MAGIC: [u8; 4] = *b"CSF1";
const HEADER: usize = MAGIC.len() + 4;

/// A compiled filter, ready for the kernel.
#[derive(Clone)]
pub struct Filter {
    /// `SECCOMP_FILTER_FLAG_*`.
    flags: u32,
    program: Vec<libc::sock_filter>,
}

#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    #[error(transparent)]
    Profile(#[from] InvalidProfile),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("seccomp profiles cannot be compiled: the kernel's release is unknown")]
    Kernel(#[from] sys::Error),
    #[error("seccomp profiles cannot be compiled: no table for the architecture {0}")]
    Arch(&'static str),
    #[error("seccomp profiles cannot be compiled: unreadable kernel release {0:?}")]
    KernelRelease(String),
    #[error("these {0} bytes are not a stored seccomp filter")]
    Corrupt(usize),
}

/// The default profile's filter for docker's default capabilities.
pub fn default_filter() -> Filter {
    let program = ready_program(CapabilitySet::default_set()).expect("build.rs compiles this set");
    Filter::from_program(ready::FLAGS, program)
}

/// The default profile's filter for a container's bounding set: ready-made for the usual sets,
/// compiled now for the rest.
pub fn default_filter_for(caps: CapabilitySet) -> Result<Filter, SeccompError> {
    match ready_program(caps) {
        Some(program) => Ok(Filter::from_program(ready::FLAGS, program)),
        None => compile(&default_profile()?, caps),
    }
}

/// The filter of a profile for a container's bounding set on this host.
pub fn compile(profile: &Profile, caps: CapabilitySet) -> Result<Filter, SeccompError> {
    let name = std::env::consts::ARCH;
    let arch = Arch::from_rust(name).ok_or(SeccompError::Arch(name))?;
    let host = Host { arch, caps, kernel: running_kernel()? };
    let program = compile_rules(profile, host)?;
    Ok(Filter::from_program(profile.flags, &to_bytes(&program)))
}

/// The profile behind [`default_filter`], docker's default.
pub fn default_profile() -> Result<Profile, InvalidProfile> {
    Profile::parse("(default)", include_str!("data/seccomp.json"))
}

impl Filter {
    /// Puts the filter on this process for good: see [`sys::seccomp::load`]. Does not allocate.
    pub fn load(&self) -> sys::Result<()> {
        sys::seccomp::load(&self.program, self.flags)
    }

    /// From what [`compile_rules`] made.
    pub(super) fn from_program(flags: u32, program: &[u8]) -> Filter {
        let (chunks, _) = program.as_chunks::<INSTRUCTION>();
        let parse = |[c0, c1, jt, jf, k @ ..]: [u8; INSTRUCTION]| libc::sock_filter {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes(k),
        };
        Filter { flags, program: chunks.iter().copied().map(parse).collect() }
    }

    pub fn program(&self) -> &[libc::sock_filter] {
        &self.program
    }

    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// For keeping on this machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.flags.to_ne_bytes());
        for instruction in &self.program {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// The reverse of [`Filter::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Filter, SeccompError> {
        let corrupt = SeccompError::Corrupt(bytes.len());
        let Some((header, program)) = bytes.split_at_checked(HEADER) else { return Err(corrupt) };
        let (magic, flags) = header.split_at(MAGIC.len());
        if magic != MAGIC || program.is_empty() || program.len() % INSTRUCTION != 0 {
            return Err(corrupt);
        }
        let flags = flags.try_into().map(u32::from_ne_bytes).map_err(|_| corrupt)?;
        Ok(Filter::from_program(flags, program))
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions, flags {:#x})", self.program.len(), self.flags)
    }
}

fn ready_program(caps: CapabilitySet) -> Option<&'static [u8]> {
    let held = caps.bits() & ready::ASKED;
    ready::READY.iter().find(|(caps, _)| *caps == held).map(|(_, program)| *program)
}

fn running_kernel() -> Result<(u32, u32), SeccompError> {
    let system = nix::sys::utsname::uname().call("uname", String::new)?;
    let release = system.release().to_string_lossy().into_owned();
    kernel_version(&release).ok_or(SeccompError::KernelRelease(release))
}
