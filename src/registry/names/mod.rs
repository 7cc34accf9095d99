//! Host names to addresses, as this host would resolve them. Runs in the client.
//!
//! A static binary cannot use the C library's name services: they are loaded from the host at run
//! time. So `/etc/hosts` and DNS are read and spoken here, and when `nsswitch.conf` names any other
//! service, or a rule between services, the host's own `getent` is asked instead.

mod files;
mod stub;

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use files::{ResolvConf, Service};

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such host")]
    NotFound,
    #[error("it is not a valid host name")]
    InvalidName,
    #[error("no name server answered (asked {servers})")]
    NoAnswer { servers: String },
    #[error("the name servers failed: {detail}")]
    ServerFailure { detail: String },
    #[error("getent failed")]
    Getent { source: io::Error },
    #[error("getent gave no answer for {} seconds", .after.as_secs())]
    GetentStalled { after: Duration },
}

/// The longest that `getent` may take when the caller sets no limit.
const GETENT_LIMIT: Duration = Duration::from_secs(30);
/// As many addresses as ureq keeps.
const ADDRESSES_MAX: usize = 16;

/// Resolves names by the host's configuration files, read at each look-up.
#[derive(Debug, Clone)]
pub struct HostNames {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    nsswitch: PathBuf,
    getent: PathBuf,
}

impl Default for HostNames {
    fn default() -> HostNames {
        HostNames {
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            nsswitch: "/etc/nsswitch.conf".into(),
            getent: "getent".into(),
        }
    }
}

impl HostNames {
    /// Addresses of `host` in the order in which to try them; never empty.
    pub fn lookup(&self, host: &str, limit: Option<Duration>) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        if !is_host_name(host) {
            return Err(Error::InvalidName);
        }
        let services = files::services(&std::fs::read_to_string(&self.nsswitch).unwrap_or_default());
        let is_local =
            host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
        if is_local {
            let found = self.in_hosts_file(host);
            let own = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(if found.is_empty() { own } else { found });
        }
        if services.contains(&Service::Foreign) {
            match self.ask_getent(host, limit) {
                // A minimal system has no getent: then what can be read and spoken here is all there is.
                Err(Error::Getent { source }) if source.kind() == io::ErrorKind::NotFound => {}
                answer => return answer,
            }
        }
        self.walk(host, &services)
    }

    fn walk(&self, host: &str, services: &[Service]) -> Result<Vec<IpAddr>, Error> {
        let mut failure = Error::NotFound;
        for service in services {
            match service {
                Service::Files => {
                    let found = self.in_hosts_file(host);
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                Service::Dns => {
                    let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
                    match stub::lookup(host, &ResolvConf::parse(&text)) {
                        Ok(found) => return Ok(reachable_first(found)),
                        Err(e) => failure = e,
                    }
                }
                Service::Foreign => {}
            }
        }
        Err(failure)
    }

    fn in_hosts_file(&self, host: &str) -> Vec<IpAddr> {
        files::in_hosts(&std::fs::read_to_string(&self.hosts).unwrap_or_default(), host)
    }

    fn ask_getent(&self, host: &str, limit: Option<Duration>) -> Result<Vec<IpAddr>, Error> {
        let failed = |source| Error::Getent { source };
        let limit = limit.unwrap_or(GETENT_LIMIT);
        let mut child = Command::new(&self.getent)
            .args(["ahosts", host])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = sender.send(stdout.read_to_string(&mut text).map(|_| text));
        });
        let answer = receiver.recv_timeout(limit);
        if answer.is_err() {
            let _ = child.kill();
        }
        child.wait().map_err(failed)?;
        let text = answer.map_err(|_| Error::GetentStalled { after: limit })?.map_err(failed)?;
        let mut found: Vec<IpAddr> = Vec::new();
        for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        if found.is_empty() { Err(Error::NotFound) } else { Ok(found) }
    }
}

impl Resolver for HostNames {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let authority = uri.authority().ok_or_else(|| ureq::Error::BadUri(uri.to_string()))?;
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        let limit = (!timeout.after.is_not_happening()).then(|| *timeout.after);
        let addresses = self
            .lookup(super::url::host_of(authority.as_str()), limit)
            .map_err(|e| ureq::Error::Other(Box::new(e)))?;
        let mut result = self.empty();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            result.push(SocketAddr::new(address, port));
        }
        Ok(result)
    }
}

/// Dot-separated labels of letters, digits, `-` and `_`; at most 253 characters.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// Puts addresses to which there is no route last; the rest keeps its order, IPv6 before IPv4
/// (the order of RFC 6724 for a host that has both).
fn reachable_first(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let has_route = |address: &IpAddr| {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((*address, 53))).is_ok()
    };
    addresses.sort_by_cached_key(|address| (!has_route(address), address.is_ipv4()));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(nsswitch: &str, hosts: &str, getent: &str) -> Files {
            use std::os::unix::fs::PermissionsExt;
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("nsswitch.conf"), nsswitch).unwrap();
            std::fs::write(dir.path().join("hosts"), hosts).unwrap();
            std::fs::write(dir.path().join("getent"), format!("#!/bin/sh\n{getent}\n")).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join("getent"), mode).unwrap();
            Files(dir)
        }

        fn names(&self) -> HostNames {
            let path = |name| self.0.path().join(name);
            HostNames {
                hosts: path("hosts"),
                resolv_conf: path("resolv.conf"),
                nsswitch: path("nsswitch.conf"),
                getent: path("getent"),
            }
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn literals_and_localhost_need_no_look_up() {
        let files = Files::new("hosts: files dns", "", "exit 1");
        let lookup = |host| files.names().lookup(host, None).unwrap();
        assert_eq!(lookup("192.0.2.1"), addresses(&["192.0.2.1"]));
        assert_eq!(lookup("2001:db8::1"), addresses(&["2001:db8::1"]));
        assert_eq!(lookup("localhost"), addresses(&["127.0.0.1", "::1"]));
        assert_eq!(lookup("x.localhost"), addresses(&["127.0.0.1", "::1"]));
        for host in ["-x", "a b", "", "a..b", "é"] {
            assert!(matches!(files.names().lookup(host, None), Err(Error::InvalidName)), "{host}");
        }
    }

    #[test]
    fn the_hosts_file_comes_first() {
        let files = Files::new("hosts: files dns", "192.0.2.7 Box.example box # mine\n", "exit 1");
        assert_eq!(files.names().lookup("box.EXAMPLE", None).unwrap(), addresses(&["192.0.2.7"]));
    }

    #[test]
    fn other_services_are_asked_through_getent() {
        let files = Files::new(
            "hosts: files resolve [!UNAVAIL=return] dns",
            "",
            "echo \"192.0.2.8 STREAM $2\"; echo '192.0.2.8 DGRAM'; echo '2001:db8::8 STREAM'",
        );
        assert_eq!(files.names().lookup("box", None).unwrap(), addresses(&["192.0.2.8", "2001:db8::8"]));
        let files = Files::new("hosts: files ldap", "", "exit 2");
        assert!(matches!(files.names().lookup("box", None), Err(Error::NotFound)));
        let files = Files::new("hosts: files ldap", "", "exec sleep 9");
        let limit = Some(Duration::from_millis(50));
        assert!(matches!(files.names().lookup("box", limit), Err(Error::GetentStalled { .. })));
    }

    #[test]
    fn without_getent_the_files_still_count() {
        let files = Files::new("hosts: mymachines files", "192.0.2.9 box\n", "");
        std::fs::remove_file(files.0.path().join("getent")).unwrap();
        assert_eq!(files.names().lookup("box", None).unwrap(), addresses(&["192.0.2.9"]));
    }
}
