//! The forwarder's loop between real sockets of this host's loopback: no namespaces, no
//! privileges. Namespaces and source addresses are tested with the built binary.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::serve::Server;
use super::target::Target;
use super::{NotStarted, Side, Started, Token, started};
use crate::network::ports::bind;
use crate::spec::port::{Protocol, PublishedPort};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A forwarder in a thread, from a random port of this host to `container_port`.
struct Forwarder {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    fn to(container_port: u16, protocol: Protocol) -> Forwarder {
        let port = PublishedPort { host_ip: Some(IpAddr::V4(HERE)), host_port: 0, container_port, protocol };
        let bound = bind(&[port]).expect("bind");
        let address = SocketAddr::from((HERE, bound[0].published.host_port));
        let mut server = Server::new(bound, Target::fixed(HERE)).expect("server");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                server.step(Some(Duration::from_millis(5))).expect("step");
            }
        });
        Forwarder { address, stop, thread: Some(thread) }
    }

    /// Forwards to a new listener of this host.
    fn with_listener() -> (Forwarder, TcpListener) {
        let listener = TcpListener::bind((HERE, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        (Forwarder::to(port, Protocol::Tcp), listener)
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("connect");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        client
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(joined, Some(Ok(()))), "the forwarder panicked");
    }
}

/// Bytes that repeat only after a prime, so that a lost or doubled page shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 65_521 % 251) as u8).collect()
}

#[test]
fn small_messages_go_both_ways() {
    let (forwarder, listener) = Forwarder::with_listener();
    let mut client = forwarder.client();
    let (mut server, _) = listener.accept().expect("accept");
    let mut got = [0; 5];
    for _ in 0..100 {
        client.write_all(b"hello").expect("write");
        server.read_exact(&mut got).expect("read");
        server.write_all(&got).expect("write");
        client.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"hello");
    }
}

#[test]
fn half_closed_connections_carry_the_answer() {
    let (forwarder, listener) = Forwarder::with_listener();
    let expected = pattern(5_000_000);
    let reply = pattern(3_000_001);
    let (sent, replied) = (expected.clone(), reply.clone());
    let mut client = forwarder.client();
    let server = thread::spawn(move || {
        let (mut server, _) = listener.accept().expect("accept");
        let mut got = Vec::new();
        server.read_to_end(&mut got).expect("read");
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        server.write_all(&replied).expect("write");
    });
    client.write_all(&sent).expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("read");
    assert!(got == reply, "{} bytes of {}", got.len(), reply.len());
    server.join().expect("server");
}

#[test]
fn bulk_goes_both_ways_at_once() {
    let (forwarder, listener) = Forwarder::with_listener();
    let data = Arc::new(pattern(8_000_003));
    let client = forwarder.client();
    let (server, _) = listener.accept().expect("accept");
    let mut threads = Vec::new();
    for stream in [client, server] {
        let (mut reader, mut writer) = (stream.try_clone().expect("clone"), stream);
        let (sent, expected) = (Arc::clone(&data), Arc::clone(&data));
        threads.push(thread::spawn(move || {
            // Uneven pieces, so that copying and splicing alternate.
            for piece in sent.chunks(70_001) {
                writer.write_all(piece).expect("write");
            }
            writer.shutdown(Shutdown::Write).expect("shutdown");
        }));
        threads.push(thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).expect("read");
            assert!(got == *expected, "{} bytes", got.len());
        }));
    }
    for thread in threads {
        thread.join().expect("thread");
    }
}

#[test]
fn a_reader_that_pauses_stops_the_sender_and_loses_nothing() {
    let (forwarder, listener) = Forwarder::with_listener();
    let mut client = forwarder.client();
    let (mut server, _) = listener.accept().expect("accept");
    client.set_write_timeout(Some(Duration::from_millis(200))).expect("timeout");
    let data = pattern(1 << 20);
    let mut sent = 0;
    // Until everything between is full: sockets and one pipe, not this process's memory.
    while let Ok(count) = client.write(&data[sent % data.len()..]) {
        sent += count;
        assert!(sent < 200 << 20, "nothing stops the sender");
    }
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while got < sent {
        let count = server.read(&mut buffer).expect("read");
        for (i, byte) in buffer[..count].iter().enumerate() {
            assert_eq!(*byte, data[(got + i) % data.len()]);
        }
        got += count;
    }
}

#[test]
fn many_connections_at_once() {
    let (forwarder, listener) = Forwarder::with_listener();
    const COUNT: usize = 200;
    let server = thread::spawn(move || {
        let accepted: Vec<TcpStream> = (0..COUNT).map(|_| listener.accept().expect("accept").0).collect();
        for mut stream in accepted {
            let mut got = [0; 4];
            stream.read_exact(&mut got).expect("read");
            stream.write_all(&got).expect("write");
        }
    });
    let mut clients: Vec<TcpStream> = (0..COUNT).map(|_| forwarder.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.write_all(&u32::try_from(i).expect("small").to_be_bytes()).expect("write");
    }
    for (i, client) in clients.iter_mut().enumerate() {
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("read");
        assert_eq!(got, u32::try_from(i).expect("small").to_be_bytes());
    }
    server.join().expect("server");
}

#[test]
fn without_a_server_the_client_is_reset() {
    let free = TcpListener::bind((HERE, 0)).expect("bind").local_addr().expect("address").port();
    let forwarder = Forwarder::to(free, Protocol::Tcp);
    let error = forwarder.client().read(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// Closing with unread input makes the kernel send RST.
fn reset(stream: TcpStream) {
    thread::sleep(Duration::from_millis(20));
    drop(stream);
}

#[test]
fn a_reset_of_either_side_reaches_the_other() {
    let (forwarder, listener) = Forwarder::with_listener();
    for client_breaks in [true, false] {
        let mut client = forwarder.client();
        let (mut server, _) = listener.accept().expect("accept");
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let (broken, mut left) = if client_breaks {
            server.write_all(b"unread").expect("write");
            (client, server)
        } else {
            client.write_all(b"unread").expect("write");
            (server, client)
        };
        reset(broken);
        let error = left.read(&mut [0]).expect_err("reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "client breaks: {client_breaks}");
    }
}

#[test]
fn what_a_server_said_before_it_ended_arrives() {
    let (forwarder, listener) = Forwarder::with_listener();
    let mut client = forwarder.client();
    let (mut server, _) = listener.accept().expect("accept");
    server.write_all(b"goodbye").expect("write");
    drop(server);
    let mut got = String::new();
    client.read_to_string(&mut got).expect("read");
    assert_eq!(got, "goodbye");
}

#[test]
fn datagrams_return_to_the_client_that_asked() {
    let server = UdpSocket::bind((HERE, 0)).expect("bind");
    let forwarder = Forwarder::to(server.local_addr().expect("address").port(), Protocol::Udp);
    let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind((HERE, 0)).expect("bind")).collect();
    let mut buffer = vec![0; 65_536];
    for (i, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        client.connect(forwarder.address).expect("connect");
        client.send(&pattern(20_000 * i)).expect("send");
    }
    for _ in &clients {
        let (length, peer) = server.recv_from(&mut buffer).expect("receive");
        server.send_to(&buffer[..length], peer).expect("answer");
    }
    for (i, client) in clients.iter().enumerate() {
        let length = client.recv(&mut buffer).expect("answer");
        assert!(buffer[..length] == pattern(20_000 * i));
    }
}

#[test]
fn tokens_keep_what_they_carry() {
    for token in [
        Token::Listener(65_535),
        Token::Session(1 << 40),
        Token::End { slot: u32::MAX, generation: Token::GENERATIONS, side: Side::Client },
        Token::End { slot: 7, generation: 1, side: Side::Server },
    ] {
        assert_eq!(Token::decode(token.encode()), token);
    }
}

#[test]
fn the_report_tells_how_it_started() {
    let hear = |words: &[u8]| {
        let (read, write) = nix::unistd::pipe().expect("pipe");
        std::fs::File::from(write).write_all(words).expect("write");
        started(read)
    };
    assert_eq!(hear(b"+").expect("started"), Started { keeps_source: true });
    assert_eq!(hear(b"-").expect("started"), Started { keeps_source: false });
    assert!(
        matches!(hear(b"setns(user namespace): no"), Err(NotStarted::Failed(words)) if words.starts_with("setns"))
    );
    assert!(matches!(hear(b""), Err(NotStarted::Failed(_))));
}
