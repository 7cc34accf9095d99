//! Seccomp filters of containers: the default one, compiled by `build.rs`, and those of users' own
//! profiles, compiled here. Runs in the client and the monitor; only [`Filter::load`] runs in the
//! container's init.

use super::bpf::{INSTRUCTION, to_bytes};
use super::caps::CapabilitySet;
use super::compile::{CompileError, compile as compile_rules};
use super::profile::{Action, Host, Profile, kernel_version};
use super::profile_json::InvalidProfile;
use super::target::Arch;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::notify::Listener;

/// What `build.rs` compiled from `data/seccomp.json`.
mod ready {
    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}

/// A compiled filter, ready for the kernel.
#[derive(Clone)]
pub struct Filter {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(super) flags: u32,
    pub(super) program: Vec<libc::sock_filter>,
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
}

/// The default profile's filter for a container's bounding set: ready-made for the usual sets,
/// compiled now for the rest.
pub fn default_filter_for(caps: CapabilitySet) -> Result<Filter, SeccompError> {
    match ready_filter(caps) {
        Some(filter) => Ok(filter),
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

/// The profile behind [`default_filter_for`], docker's default.
pub fn default_profile() -> Result<Profile, InvalidProfile> {
    Profile::parse("(default)", include_str!("data/seccomp.json"))
}

impl Filter {
    /// Puts the filter on this process for good: see [`sys::seccomp::load`]. Does not allocate.
    pub fn load(&self) -> sys::Result<()> {
        sys::seccomp::load(&self.program, self.flags)
    }

    /// Likewise, and gives the listener of a filter with [`Action::Notify`].
    pub fn load_with_listener(&self) -> sys::Result<Listener> {
        sys::seccomp::load_with_listener(&self.program, self.flags)
    }

    /// The same filter with one answer in place of another.
    pub(super) fn with(&self, answer: Action, in_place_of: Action) -> Filter {
        let mut filter = self.clone();
        for instruction in &mut filter.program {
            if u32::from(instruction.code) == libc::BPF_RET && instruction.k == in_place_of.value() {
                instruction.k = answer.value();
            }
        }
        filter
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
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions, flags {:#x})", self.program.len(), self.flags)
    }
}

/// The default profile's filter for a bounding set, if `build.rs` compiled it.
pub(super) fn ready_filter(caps: CapabilitySet) -> Option<Filter> {
    let held = caps.bits() & ready::ASKED;
    let (_, program) = ready::READY.iter().find(|(caps, _)| *caps == held)?;
    Some(Filter::from_program(ready::FLAGS, program))
}

fn running_kernel() -> Result<(u32, u32), SeccompError> {
    let system = nix::sys::utsname::uname().call("uname", String::new)?;
    let release = system.release().to_string_lossy().into_owned();
    kernel_version(&release).ok_or(SeccompError::KernelRelease(release))
}
