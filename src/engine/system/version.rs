//! Which coracle this is. Runs in the client.

/// One program is both client and engine, so both have one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub version: &'static str,
    /// As Go and docker name them: `linux/amd64`.
    pub os: &'static str,
    pub architecture: &'static str,
    /// `uname -r`.
    pub kernel: String,
}

pub fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION"),
        os: "linux",
        architecture: architecture(),
        kernel: kernel(),
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The kernel's release; empty only if uname(2) fails, which it cannot on Linux.
pub fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}
