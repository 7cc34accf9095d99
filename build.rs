//! Compiles the default seccomp profile ahead of time, for the capability sets that containers
//! usually have: with libseccomp it takes longer than the rest of a container's start together.
#![allow(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

use std::error::Error;
use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

#[path = "src/security/caps.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod caps;
#[path = "src/security/compile.rs"]
mod compile;
#[path = "src/sys/libseccomp.rs"]
#[allow(unsafe_code, reason = "it is part of the program's module for unsafe code")]
mod libseccomp;
#[path = "src/security/prelude.rs"]
mod prelude;
#[path = "src/security/profile.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod profile;
#[path = "src/security/target.rs"]
mod target;
/// Where the files above look for it.
mod sys {
    pub(crate) use crate::libseccomp;
}

use caps::CapabilitySet;
use profile::{Host, Profile};

// The compiler looks for the library before the linker does, so its absence shows in this line.
const LIB: &[u8] = include_bytes!(concat!(env!("LIBSECCOMP_LIB_PATH"), "/libseccomp.a")); // apt-get install libseccomp-dev

const PROFILE: &str = "src/security/data/seccomp.json";
/// Added to the default capabilities one by one: what people add for debuggers, databases, builds.
const ADDED: [&str; 4] = ["CAP_SYS_ADMIN", "CAP_SYS_NICE", "CAP_SYS_PTRACE", "CAP_SYS_TIME"];

fn main() -> Result<(), Box<dyn Error>> {
    assert!(LIB.starts_with(b"!<arch>"), "libseccomp.a is not a static library");
    println!("cargo::rerun-if-env-changed=LIBSECCOMP_LIB_PATH");
    println!("cargo::rustc-link-search=native={}", env!("LIBSECCOMP_LIB_PATH"));
    println!("cargo::rustc-link-lib=static=seccomp");
    println!("cargo::rerun-if-changed={PROFILE}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let target = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let arch = target::Arch::from_rust(&target)
        .ok_or_else(|| format!("coracle has no seccomp profile for {target}, only for x86_64 and aarch64"))?;
    let profile = Profile::parse(PROFILE, &std::fs::read_to_string(PROFILE)?)?;
    let asked = profile.capabilities_asked();

    let mut source = format!(
        "/// The capabilities that change the default filter.\npub const ASKED: u64 = {:#x};\n\
         pub const FLAGS: u32 = {:#x};\n\
         /// Programs by the capabilities held, of those asked.\npub static READY: &[(u64, &[u8])] = &[\n",
        asked.bits(),
        profile.flags
    );
    for held in usual_sets().map(|set| set.only(asked)) {
        // The profile asks about no kernel version: every kernel that coracle can use is new enough.
        let host = Host { arch, caps: held, kernel: (5, 11) };
        let path = out.join(format!("seccomp-{:x}.bpf", held.bits()));
        let program = compile::compile(&profile, host, scratch(&path)?)?;
        std::fs::write(&path, program)?;
        writeln!(source, "    ({:#x}, include_bytes!({path:?})),", held.bits())?;
    }
    source.push_str("];\n");
    std::fs::write(out.join("seccomp.rs"), source)?;
    Ok(())
}

fn usual_sets() -> impl Iterator<Item = CapabilitySet> {
    let default = CapabilitySet::default_set();
    let added = ADDED.iter().map(move |name| default.with(caps::number(name).into_iter().collect()));
    [default, CapabilitySet::EMPTY, CapabilitySet::ALL].into_iter().chain(added)
}

fn scratch(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}
