//! Devices and kernel settings of the container's network namespace, set by init before the
//! container's program; and what can be seen of the host's network, read by the monitor.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::plan::{HostNetwork, Plan, Stack, Tools};
use crate::spec::container::NetworkMode;
use crate::sys;
use crate::sys::netlink::RouteSocket;

/// Addresses of the documentation ranges (RFC 5737, RFC 3849): they stand for "somewhere
/// outside". No packet is ever sent to them.
pub(super) const OUTSIDE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
pub(super) const OUTSIDE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Where programs are looked for after `PATH`: a user's often lacks these.
const MORE_PROGRAMS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/sbin", "/bin"];

/// The device name both stacks give the container, as docker does.
pub const DEVICE: &str = "eth0";

/// The largest packet on the way into the container: 64 KiB less the headers, in words.
pub(super) const MTU: u32 = 65520;

/// Packets that may wait for pasta. The kernel's 1000 are overrun by a single sender.
const PASTA_QUEUE: u32 = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot set up the container's network devices")]
    Netlink(#[from] sys::Error),
    #[error("cannot write {value:?} to {}", path.display())]
    Sysctl { path: PathBuf, value: String, source: io::Error },
}

/// Brings up the loopback device of the caller's network namespace: init's first network step.
pub fn loopback_up() -> Result<(), LinkError> {
    Ok(RouteSocket::open()?.loopback_up()?)
}

/// What waits for the stack: called by init once it is known whether the stack came up (`true`
/// without one), just before the program runs.
///
/// pasta was told a small packet size (see `userstack`), which it announces for packets that
/// leave; those that arrive may be as large as the device takes. Where no device carries the
/// container's address, loopback does, for the sake of published ports.
pub fn after_stack(plan: &Plan, came_up: bool) -> Result<(), LinkError> {
    let on_loopback = plan.address_on_loopback || (plan.publish && !came_up);
    if let Some(address) = plan.address().filter(|_| on_loopback) {
        RouteSocket::open()?.add_loopback_address(IpAddr::V4(address))?;
    } else if let Stack::Pasta(_) = plan.stack
        && came_up
    {
        RouteSocket::open()?.tune(DEVICE, MTU, PASTA_QUEUE)?;
    }
    Ok(())
}

/// Kernel settings of a container's own network namespace: file below /proc/sys, value, and
/// whether the container cannot do without it.
///
/// `highest_gid` is the highest group id mapped in the container's user namespace.
pub fn sysctls(plan: &Plan, highest_gid: u32) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        // As docker: a container's users bind to port 80, and ping needs no capability. The
        // kernel refuses a range that ends above the mapped ids.
        ("net/ipv4/ip_unprivileged_port_start", "0".to_owned()),
        ("net/ipv4/ping_group_range", format!("0 {highest_gid}")),
    ];
    if plan.ipv6 {
        // The stack's addresses are unique by construction: do not wait a second to find out.
        settings.push(("net/ipv6/conf/default/accept_dad", "0".to_owned()));
    }
    settings
}

/// Writes [`sysctls`] of the caller's network namespace, before the stack brings its device.
/// `proc_sys`: a /proc/sys that is trusted and writable.
pub fn write_sysctls(proc_sys: &Path, settings: &[(&str, String)]) -> Result<(), LinkError> {
    for (name, value) in settings {
        let path = proc_sys.join(name);
        let written =
            OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
        match written {
            Ok(()) => {}
            // A kernel without IPv6 has no setting for it.
            Err(e) if e.kind() == io::ErrorKind::NotFound && name.contains("ipv6") => {}
            Err(source) => return Err(LinkError::Sysctl { path, value: value.clone(), source }),
        }
    }
    Ok(())
}

/// Looks for the user-mode stacks along `path` (a `PATH` value) and in the usual places.
pub fn find_tools(path: &OsStr) -> Tools {
    let find = |name: &str| {
        let more = MORE_PROGRAMS.iter().map(PathBuf::from);
        let mut candidates = std::env::split_paths(path).filter(|dir| dir.is_absolute()).chain(more);
        candidates.find_map(|dir| {
            let file = dir.join(name);
            nix::unistd::access(&file, nix::unistd::AccessFlags::X_OK).ok().map(|()| file)
        })
    };
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    Tools { slirp4netns: find("slirp4netns"), pasta: find("pasta"), tun }
}

/// Looks at the network of the calling process.
pub fn host_network() -> Result<HostNetwork, LinkError> {
    let socket = RouteSocket::open()?;
    let v4 = socket.way_to(OUTSIDE_V4)?.and_then(|way| way.source);
    let outbound = v4.and_then(|ip| match ip {
        IpAddr::V4(ip) => Some(ip).filter(|ip| !ip.is_loopback()),
        IpAddr::V6(_) => None,
    });
    // A kernel without IPv6 refuses to answer.
    let ipv6 = socket.way_to(OUTSIDE_V6).ok().flatten().is_some_and(|way| way.gateway.is_some());
    Ok(HostNetwork { addresses: socket.addresses()?, outbound, ipv6 })
}

/// What [`plan`](super::plan::plan) needs to know for `mode`, and no more: nothing is looked at
/// for a container without a network of its own. `path`: a `PATH` value.
pub fn survey(mode: &NetworkMode, path: &OsStr) -> Result<(Tools, HostNetwork), LinkError> {
    match mode {
        NetworkMode::None | NetworkMode::Host => Ok((Tools::default(), HostNetwork::default())),
        NetworkMode::Default | NetworkMode::Slirp4netns | NetworkMode::Pasta => {
            Ok((find_tools(path), host_network()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;

    #[test]
    fn ping_is_allowed_up_to_the_highest_mapped_group() {
        let plan = plan(&NetworkMode::None, &[], &Tools::default(), &HostNetwork::default()).expect("plan");
        assert_eq!(
            sysctls(&plan, 65536),
            [
                ("net/ipv4/ip_unprivileged_port_start", "0".to_owned()),
                ("net/ipv4/ping_group_range", "0 65536".to_owned())
            ]
        );
    }

    #[test]
    fn the_host_is_seen() {
        let host = host_network().expect("host");
        let loopback = (IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        assert!(host.addresses.contains(&loopback), "{host:?}");
        let own = |ip: Ipv4Addr| host.addresses.iter().any(|(address, _)| *address == IpAddr::V4(ip));
        assert!(host.outbound.is_none_or(own), "{host:?}");
    }

    #[test]
    fn nothing_is_looked_at_without_a_network_of_its_own() {
        let seen = survey(&NetworkMode::None, OsStr::new("/usr/bin")).expect("survey");
        assert_eq!(seen, (Tools::default(), HostNetwork::default()));
    }

    #[test]
    fn tools_are_found_along_the_path() {
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("pasta");
        std::fs::write(&program, "").expect("write");
        assert_ne!(find_tools(dir.path().as_os_str()).pasta.as_ref(), Some(&program));
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        assert_eq!(find_tools(dir.path().as_os_str()).pasta, Some(program));
    }
}
