//! A stub resolver: asks the configured name servers for A and AAAA records over UDP, and over TCP
//! when an answer does not fit. RFC 1035, RFC 7766. Runs in the client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use super::Error;
use super::files::ResolvConf;

/// The longest alias chain that is followed.
const ALIASES_MAX: usize = 16;
const TYPES: [TYPE; 2] = [TYPE::A, TYPE::AAAA];

/// What one server says about one full name.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Empty when the name exists without addresses.
    Addresses(Vec<IpAddr>),
    NoSuchName,
}

/// Looks `host` up with the search list, attempts and time limits of `conf`.
pub fn lookup(host: &str, conf: &ResolvConf) -> Result<Vec<IpAddr>, Error> {
    let mut failure = None;
    for name in conf.candidates(host) {
        match ask_servers(&name, conf) {
            Ok(Answer::Addresses(found)) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            // As the C library does: a dead server is not asked again for each search domain.
            Err(e @ Error::NoAnswer { .. }) => return Err(e),
            Err(e) => failure = Some(e),
        }
    }
    Err(failure.unwrap_or(Error::NotFound))
}

fn ask_servers(name: &str, conf: &ResolvConf) -> Result<Answer, Error> {
    let mut failure = None;
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            match exchange(name, *server, conf) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Server(detail)) => failure = Some(Error::ServerFailure { detail }),
                Err(Failure::Silent) => {}
            }
        }
    }
    let servers: Vec<String> = conf.servers.iter().map(|s| s.ip().to_string()).collect();
    Err(failure.unwrap_or(Error::NoAnswer { servers: servers.join(", ") }))
}

enum Failure {
    /// It answered, but could not do it.
    Server(String),
    /// Nothing usable arrived in time.
    Silent,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Failure {
        Failure::Silent
    }
}

/// Asks one server for both kinds of address at once.
fn exchange(name: &str, server: SocketAddr, conf: &ResolvConf) -> Result<Answer, Failure> {
    let mut queries = Vec::new();
    for kind in TYPES {
        let id = random_id()?;
        queries.push((id, query(id, name, kind).map_err(|e| Failure::Server(e.to_string()))?));
    }
    let replies = if conf.use_tcp {
        over_tcp(&queries, server, conf.timeout)?
    } else {
        let replies = over_udp(&queries, server, conf.timeout)?;
        let is_cut = |reply: &Vec<u8>| {
            Packet::parse(reply).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION))
        };
        if replies.iter().any(is_cut) { over_tcp(&queries, server, conf.timeout)? } else { replies }
    };

    let mut found = Vec::new();
    let mut exists = false;
    for reply in &replies {
        match read_reply(reply, name)? {
            Answer::Addresses(addresses) => {
                exists = true;
                found.extend(addresses);
            }
            Answer::NoSuchName => {}
        }
    }
    Ok(if exists { Answer::Addresses(found) } else { Answer::NoSuchName })
}

fn random_id() -> Result<u16, Failure> {
    let mut bytes = [0; 2];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::Silent)?;
    Ok(u16::from_ne_bytes(bytes))
}

fn query(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name)?, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

fn over_udp(
    queries: &[(u16, Vec<u8>)],
    server: SocketAddr,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, Failure> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Connected: the kernel drops what does not come from the server.
    socket.connect(server)?;
    for (_, query) in queries {
        socket.send(query)?;
    }
    let deadline = Instant::now() + timeout;
    let mut replies: Vec<Option<Vec<u8>>> = vec![None; queries.len()];
    let mut buffer = [0; 4096];
    while replies.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Silent);
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        let reply = &buffer[..length];
        let place = queries.iter().position(|(id, query)| is_reply_to(reply, *id, query));
        if let Some(place) = place {
            replies[place] = Some(reply.to_vec());
        }
    }
    Ok(replies.into_iter().flatten().collect())
}

fn over_tcp(
    queries: &[(u16, Vec<u8>)],
    server: SocketAddr,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut replies = Vec::new();
    for (id, query) in queries {
        let length = u16::try_from(query.len()).map_err(|_| Failure::Silent)?;
        stream.write_all(&[&length.to_be_bytes()[..], query].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply)?;
        if !is_reply_to(&reply, *id, query) {
            return Err(Failure::Silent);
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// Whether the bytes answer this very question.
fn is_reply_to(reply: &[u8], id: u16, query: &[u8]) -> bool {
    let (Ok(reply), Ok(query)) = (Packet::parse(reply), Packet::parse(query)) else { return false };
    let question = |packet: &Packet| {
        let question = packet.questions.first()?;
        Some((question.qname.to_string().to_ascii_lowercase(), u16::from(question.qtype)))
    };
    reply.id() == id && reply.has_flags(PacketFlag::RESPONSE) && question(&reply) == question(&query)
}

fn read_reply(reply: &[u8], name: &str) -> Result<Answer, Failure> {
    let packet = Packet::parse(reply).map_err(|e| Failure::Server(e.to_string()))?;
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Answer::NoSuchName),
        other => return Err(Failure::Server(format!("{other:?}"))),
    }
    let same = |owner: &Name, name: &str| owner.to_string().eq_ignore_ascii_case(name);
    let mut current = name.trim_end_matches('.').to_owned();
    for _ in 0..ALIASES_MAX {
        let alias = packet.answers.iter().find_map(|record| match &record.rdata {
            RData::CNAME(target) if same(&record.name, &current) => Some(target.0.to_string()),
            _ => None,
        });
        let Some(alias) = alias else { break };
        current = alias;
    }
    let mut addresses = Vec::new();
    for record in packet.answers.iter().filter(|record| same(&record.name, &current)) {
        match &record.rdata {
            RData::A(a) => addresses.push(Ipv4Addr::from(a.address).into()),
            RData::AAAA(aaaa) => addresses.push(Ipv6Addr::from(aaaa.address).into()),
            _ => {}
        }
    }
    Ok(Answer::Addresses(addresses))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use simple_dns::rdata::{A, AAAA, CNAME};
    use simple_dns::{QTYPE, ResourceRecord};

    use super::*;

    fn reply(query: &[u8], cut: bool) -> Vec<u8> {
        let query = Packet::parse(query).unwrap();
        let question = &query.questions[0];
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::RESPONSE);
        reply.questions.push(question.clone());
        let asked = question.qname.to_string();
        let add = |packet: &mut Packet, name: &str, rdata| {
            let name = Name::new_unchecked(name).into_owned();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 1, rdata));
        };
        match (asked.as_str(), question.qtype) {
            _ if cut => reply.set_flags(PacketFlag::TRUNCATION),
            ("broken.example", _) => *reply.rcode_mut() = RCODE::ServerFailure,
            ("alias.example", QTYPE::TYPE(TYPE::A)) => {
                let target = RData::CNAME(CNAME(Name::new_unchecked("box.example")));
                add(&mut reply, "alias.example", target);
                add(&mut reply, "box.example", RData::A(A { address: 0xC000_0201 }));
                add(&mut reply, "other.example", RData::A(A { address: 1 }));
            }
            ("box.example", QTYPE::TYPE(TYPE::A)) => {
                add(&mut reply, "box.example", RData::A(A { address: 0xC000_0201 }));
            }
            ("box.example", QTYPE::TYPE(TYPE::AAAA)) => {
                add(&mut reply, "box.example", RData::AAAA(AAAA { address: 1 }));
            }
            ("alias.example", _) => {}
            _ => *reply.rcode_mut() = RCODE::NameError,
        }
        reply.build_bytes_vec().unwrap()
    }

    /// A name server on one port, UDP and TCP; `cut` makes UDP say "too long".
    fn serve(cut: bool) -> ResolvConf {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                // A stranger's answer first: it must be ignored.
                let mut wrong = reply(&buffer[..length], false);
                wrong[0] ^= 0xff;
                udp.send_to(&wrong, from).unwrap();
                udp.send_to(&reply(&buffer[..length], cut), from).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    let reply = reply(&query, false);
                    let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &reply].concat()).unwrap();
                }
            }
        });
        let conf = ResolvConf::parse("search example");
        ResolvConf { servers: vec![address], timeout: Duration::from_secs(2), ..conf }
    }

    fn found(conf: &ResolvConf, host: &str) -> Vec<String> {
        lookup(host, conf).unwrap_or_else(|e| panic!("{host}: {e}")).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn finds_addresses() {
        let conf = serve(false);
        assert_eq!(found(&conf, "box.example"), ["192.0.2.1", "::1"]);
        assert_eq!(found(&conf, "box"), ["192.0.2.1", "::1"]);
        assert_eq!(found(&conf, "alias.example."), ["192.0.2.1"]);
        assert!(matches!(lookup("none.example", &conf), Err(Error::NotFound)));
        assert!(matches!(lookup("broken.example.", &conf), Err(Error::ServerFailure { .. })));
    }

    #[test]
    fn asks_over_tcp_when_told_to() {
        let conf = serve(true);
        assert_eq!(found(&conf, "box.example"), ["192.0.2.1", "::1"]);
        let conf = ResolvConf { use_tcp: true, ..serve(true) };
        assert_eq!(found(&conf, "box.example"), ["192.0.2.1", "::1"]);
    }

    #[test]
    fn names_the_silent_servers() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = vec![silent.local_addr().unwrap()];
        let conf =
            ResolvConf { servers, timeout: Duration::from_millis(20), attempts: 1, ..ResolvConf::parse("") };
        let error = lookup("box.example", &conf).unwrap_err();
        assert_eq!(error.to_string(), "no name server answered (asked 127.0.0.1)");
    }
}
