//! The three files that say how names are resolved: hosts(5), resolv.conf(5), nsswitch.conf(5).
//! Pure parsers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Limits of the C library's resolver.
const SERVERS_MAX: usize = 3;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;
const NDOTS_MAX: usize = 15;

/// One word of the `hosts:` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Files,
    Dns,
    /// A service or a rule that only the host's C library can carry out.
    Foreign,
}

/// The services of `hosts:` in nsswitch.conf; the C library's default when there is no such line.
pub fn services(text: &str) -> Vec<Service> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let Some(hosts) = lines.filter_map(|line| line.strip_prefix("hosts:")).next_back() else {
        return vec![Service::Files, Service::Dns];
    };
    let service = |word: &str| match word {
        "files" => Some(Service::Files),
        "dns" => Some(Service::Dns),
        // Answers for this machine's own names only, and only when all others have failed.
        "myhostname" if hosts.trim_end().ends_with("myhostname") => None,
        _ => Some(Service::Foreign),
    };
    hosts.split_whitespace().filter_map(service).collect()
}

/// All addresses that a hosts file gives a name.
pub fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// What resolv.conf says, with the C library's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    /// Names with at least so many dots are tried as they are first.
    pub ndots: usize,
    /// How long to wait for one server.
    pub timeout: Duration,
    /// How often to ask all servers.
    pub attempts: u32,
    /// `options use-vc`: ask over TCP only.
    pub use_tcp: bool,
}

impl ResolvConf {
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            use_tcp: false,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                Some("domain" | "search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf.servers.truncate(SERVERS_MAX);
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<u64>()) {
            ("ndots", Ok(value)) => self.ndots = usize::try_from(value).unwrap_or(NDOTS_MAX).min(NDOTS_MAX),
            ("timeout", Ok(value)) => self.timeout = Duration::from_secs(value.clamp(1, TIMEOUT_MAX)),
            ("attempts", Ok(value)) => {
                self.attempts = u32::try_from(value).unwrap_or(ATTEMPTS_MAX).clamp(1, ATTEMPTS_MAX);
            }
            ("use-vc", _) => self.use_tcp = true,
            _ => {}
        }
    }

    /// The full names to ask for, in order (resolv.conf(5), `ndots` and `search`).
    pub fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = Vec::new();
        for domain in &self.search {
            let domain = domain.trim_matches('.');
            names.push(if domain.is_empty() { host.to_owned() } else { format!("{host}.{domain}") });
        }
        let dots = host.bytes().filter(|&b| b == b'.').count();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }
}

/// A name server's address, with an interface for a link-local one: `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => word.parse().ok().map(|address: IpAddr| (address, 53).into()),
        Some((address, interface)) => {
            let address: Ipv6Addr = address.parse().ok()?;
            let index = interface.parse().ok().or_else(|| nix::net::if_::if_nametoindex(interface).ok())?;
            Some(SocketAddrV6::new(address, 53, 0, index).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nsswitch() {
        use Service::{Dns, Files, Foreign};
        assert_eq!(services(""), [Files, Dns]);
        assert_eq!(services("passwd: ldap\nhosts:\tfiles dns # x\n"), [Files, Dns]);
        assert_eq!(services("hosts: files dns myhostname"), [Files, Dns]);
        assert_eq!(services("hosts: dns [!UNAVAIL=return] files"), [Dns, Foreign, Files]);
        assert_eq!(services("hosts: files mdns4_minimal [NOTFOUND=return] dns")[1], Foreign);
        assert_eq!(services("hosts: files myhostname resolve")[1], Foreign);
    }

    #[test]
    fn resolv_conf() {
        let conf = ResolvConf::parse("");
        assert_eq!(conf.servers, ["127.0.0.1:53".parse().unwrap()]);
        let conf = ResolvConf::parse(
            "nameserver 192.0.2.1 ; first\nnameserver ::1\nnameserver fe80::1%3\nnameserver 192.0.2.9\n\
             search corp.example lab.example\noptions ndots:2 timeout:99 attempts:1 use-vc rotate\n",
        );
        let servers: Vec<String> = conf.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[::1]:53", "[fe80::1%3]:53"]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (2, Duration::from_secs(30), 1));
        assert!(conf.use_tcp);
        assert_eq!(conf.candidates("a.b"), ["a.b.corp.example", "a.b.lab.example", "a.b"]);
        assert_eq!(conf.candidates("a.b.c")[0], "a.b.c");
        assert_eq!(conf.candidates("a."), ["a"]);
    }

    #[test]
    fn hosts() {
        let text = "127.0.0.1 localhost\n# 192.0.2.1 box\n192.0.2.2\tBox alias\n::2 box\nbad box\n";
        let found = in_hosts(text, "box");
        assert_eq!(found, ["192.0.2.2".parse::<IpAddr>().unwrap(), "::2".parse().unwrap()]);
        assert!(in_hosts(text, "nobox").is_empty());
    }
}
