//! Compiles the default seccomp profile ahead of time, for the capability sets that containers
//! usually have, so that a start only has to load the result.
#![allow(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

#[path = "src/security/bpf.rs"]
mod bpf;
#[path = "src/security/caps.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod caps;
#[path = "src/security/compile.rs"]
mod compile;
#[path = "src/security/profile.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod profile;
#[path = "src/security/profile_json.rs"]
mod profile_json;
#[path = "src/security/syscalls.rs"]
mod syscalls;
#[path = "src/security/target.rs"]
mod target;

use caps::CapabilitySet;
use profile::{Host, Profile};

const PROFILE: &str = "src/security/data/seccomp.json";
/// Added to the default capabilities one by one: what people add for debuggers, databases, builds.
const ADDED: [&str; 4] = ["CAP_SYS_ADMIN", "CAP_SYS_NICE", "CAP_SYS_PTRACE", "CAP_SYS_TIME"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROFILE}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let target = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let arch = target::Arch::from_rust(&target)
        .ok_or_else(|| format!("coracle has no seccomp profile for {target}, only for x86_64 and aarch64"))?;
    let profile = Profile::parse(PROFILE, &std::fs::read_to_string(PROFILE)?)?;
    let asked = capabilities_asked(&profile);

    let mut source = format!(
        "/// The capabilities that change the default filter.\npub const ASKED: u64 = {:#x};\n\
         pub const FLAGS: u32 = {:#x};\n\
         /// Programs by the capabilities held, of those asked.\npub static READY: &[(u64, &[u8])] = &[\n",
        asked.bits(),
        profile.flags
    );
    for held in usual_sets().map(|set| set.without(CapabilitySet::ALL.without(asked))) {
        // The profile asks about no kernel version: every kernel that coracle can use is new enough.
        let host = Host { arch, caps: held, kernel: (5, 11) };
        let path = out.join(format!("seccomp-{:x}.bpf", held.bits()));
        std::fs::write(&path, bpf::to_bytes(&compile::compile(&profile, host)?))?;
        writeln!(source, "    ({:#x}, include_bytes!({path:?})),", held.bits())?;
    }
    source.push_str("];\n");
    std::fs::write(out.join("seccomp.rs"), source)?;
    Ok(())
}

/// The capabilities that any condition asks about: sets that agree on these get the same filter.
fn capabilities_asked(profile: &Profile) -> CapabilitySet {
    let conditions = profile.rules.iter().flat_map(|rule| [&rule.includes, &rule.excludes]);
    conditions.flat_map(|c| &c.caps).filter_map(|name| caps::number(name)).collect()
}

fn usual_sets() -> impl Iterator<Item = CapabilitySet> {
    let default = CapabilitySet::default_set();
    let added = ADDED.iter().map(move |name| default.with(caps::number(name).into_iter().collect()));
    [default, CapabilitySet::EMPTY, CapabilitySet::ALL].into_iter().chain(added)
}
