//! Which proxy a request goes through, by the rules of Go programs. Runs in the client; pure.

use std::net::IpAddr;

use super::url::{self, Url};

/// The proxy settings of the environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`, for plain http.
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `NO_PROXY`: hosts, domains, addresses and networks that are reached directly, comma-separated.
    pub except: String,
}

impl Proxies {
    /// The proxy for an address; never one for this machine itself.
    pub fn for_url(&self, url: &Url) -> Option<&str> {
        let proxy = if url.is_tls() { &self.https } else { &self.http };
        let proxy = proxy.as_deref().filter(|proxy| !proxy.is_empty())?;
        if url.is_loopback() || self.is_excepted(url) {
            return None;
        }
        Some(proxy)
    }

    fn is_excepted(&self, url: &Url) -> bool {
        let host = url.host().trim_end_matches('.');
        self.except.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let Ok(address) = host.parse::<IpAddr>() {
                return entry == url.authority()
                    || entry.parse() == Ok(address)
                    || entry.split_once('/').is_some_and(|(network, bits)| within(address, network, bits));
            }
            // An entry with a port is for that port alone.
            if entry.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
                return match entry.strip_prefix('.') {
                    Some(_) => url.authority().ends_with(&entry),
                    None => url.authority() == entry || url.authority().ends_with(&format!(".{entry}")),
                };
            }
            let domain = entry.strip_prefix('*').unwrap_or(&entry);
            match domain.strip_prefix('.') {
                Some(_) => host.ends_with(domain),
                None => host == domain || host.ends_with(&format!(".{domain}")),
            }
        })
    }
}

/// Whether an address lies in `network/bits`.
fn within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) =
        (url::host_of(network).parse::<IpAddr>().or_else(|_| network.parse()), bits.parse::<u32>())
    else {
        return false;
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let shift = 32 - bits;
            address.to_bits().checked_shr(shift).unwrap_or(0)
                == network.to_bits().checked_shr(shift).unwrap_or(0)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let shift = 128 - bits;
            address.to_bits().checked_shr(shift).unwrap_or(0)
                == network.to_bits().checked_shr(shift).unwrap_or(0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_environment() {
        let proxies = Proxies {
            http: Some("http://plain:1".into()),
            https: Some("http://tls:2".into()),
            except:
                "corp.example, .dot.example,*.star.example,10.0.0.0/8,192.0.2.1,2001:db8::/32,p.example:5000"
                    .into(),
        };
        let proxy = |url: &str| proxies.for_url(&Url::parse(url).unwrap()).unwrap_or("direct").to_owned();
        assert_eq!(proxy("http://a.example/"), "http://plain:1");
        assert_eq!(proxy("https://a.example/"), "http://tls:2");
        for direct in [
            "https://localhost:5000/",
            "https://127.0.0.1/",
            "https://corp.example/",
            "https://a.corp.example:444/",
            "https://a.dot.example/",
            "https://a.star.example/",
            "https://10.9.8.7/",
            "https://192.0.2.1:5000/",
            "https://[2001:db8::1]/",
            "https://p.example:5000/",
        ] {
            assert_eq!(proxy(direct), "direct", "{direct}");
        }
        for proxied in
            ["https://dot.example/", "https://xcorp.example/", "https://11.0.0.1/", "https://p.example/"]
        {
            assert_eq!(proxy(proxied), "http://tls:2", "{proxied}");
        }
        let all = Proxies { except: "*".into(), ..proxies };
        assert!(all.for_url(&Url::parse("https://a.example/").unwrap()).is_none());
    }
}
