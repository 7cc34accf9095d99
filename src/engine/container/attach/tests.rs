//! A thread plays the monitor, pipes and a pseudo-terminal play the caller's streams.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::client::{self, Ends};
use super::*;
use crate::monitor::protocol::FailureKind;

/// Standard input and no terminal.
fn with_input() -> Streams {
    Streams { stdin: true, tty: false, ..output_only() }
}

/// Standard input and a terminal.
fn terminal() -> Streams {
    Streams { stdin: true, tty: true, ..output_only() }
}

fn output_only() -> Streams {
    Streams {
        stdin: false,
        tty: false,
        output: true,
        sig_proxy: true,
        keys: DetachKeys::default(),
        redraw: false,
    }
}

/// The monitor's end. Closed when dropped; a silent client fails the test instead of hanging it.
struct Peer {
    socket: UnixStream,
    decoder: Decoder,
}

impl Peer {
    fn pair() -> (UnixStream, Peer) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        theirs.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        (ours, Peer { socket: theirs, decoder: Decoder::default() })
    }

    fn say(&mut self, event: Event) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    /// The next request; `None` when the client has hung up.
    fn hear(&mut self) -> Option<Request> {
        loop {
            match self.decoder.next().unwrap() {
                // Every conversation begins with it.
                Some(Request::Attach { .. }) => continue,
                Some(request) => return Some(request),
                None => {}
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).unwrap() {
                0 => return None,
                length => self.decoder.push(&buffer[..length]),
            }
        }
    }

    /// Everything up to the end of standard input.
    fn hear_input(&mut self) -> Vec<u8> {
        let mut input = Vec::new();
        loop {
            match self.hear() {
                Some(Request::Stdin(bytes)) => input.extend(bytes),
                Some(Request::StdinClosed) => return input,
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn pipe() -> (File, File) {
    let (read, write) = nix::unistd::pipe().unwrap();
    (read.into(), write.into())
}

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

fn out(text: &str) -> Event {
    Event::Stdout(text.into())
}

fn err(text: &str) -> Event {
    Event::Stderr(text.into())
}

/// What came of an attach: how it ended, how often it started, its warnings.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Outcome,
    starts: usize,
    warnings: Vec<String>,
}

/// Attaches while `monitor` runs in a thread. The caller's ends close when it is over.
fn run(
    streams: Streams,
    (stdin, stdout, stderr): (impl Into<OwnedFd>, impl Into<OwnedFd>, impl Into<OwnedFd>),
    monitor: impl FnOnce(Peer) + Send + 'static,
) -> Seen {
    let (socket, peer) = Peer::pair();
    let monitor = thread::spawn(move || monitor(peer));
    let (stdin, stdout, stderr) = (stdin.into(), stdout.into(), stderr.into());
    let ends = Ends { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
    let (mut starts, mut warnings) = (0, Vec::new());
    let outcome = client::attach(socket, &streams, ends, &mut || starts += 1, &mut |text| {
        warnings.push(text.to_owned());
    });
    monitor.join().expect("the monitor heard what it expected");
    Seen { outcome: outcome.unwrap(), starts, warnings }
}

fn read_all(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn output_keeps_its_order_where_both_streams_end_in_one_file() {
    let (read, write) = pipe();
    let seen = run(output_only(), (null(), write.try_clone().unwrap(), write), |mut peer| {
        peer.say(Event::Started);
        for event in [err("1"), out("2"), err(""), out("3"), err("4")] {
            peer.say(event);
        }
        peer.say(Event::Exited { code: 7 });
    });
    assert_eq!(seen, Seen { outcome: Outcome::Exited(7), starts: 1, warnings: vec![] });
    assert_eq!(read_all(read), "1234");
}

#[test]
fn output_and_error_stay_apart() {
    let ((out_read, out_write), (err_read, err_write)) = (pipe(), pipe());
    run(output_only(), (null(), out_write, err_write), |mut peer| {
        for event in [Event::Started, err("e"), out("o"), err("E"), Event::Exited { code: 0 }] {
            peer.say(event);
        }
    });
    assert_eq!((read_all(out_read), read_all(err_read)), ("o".into(), "eE".into()));
}

#[test]
fn unwanted_output_is_dropped() {
    let (read, write) = pipe();
    let streams = Streams { output: false, ..output_only() };
    let seen = run(streams, (null(), write.try_clone().unwrap(), write), |mut peer| {
        for event in [Event::Started, out("o"), err("e"), Event::Exited { code: 1 }] {
            peer.say(event);
        }
    });
    assert_eq!((seen.outcome, read_all(read)), (Outcome::Exited(1), String::new()));
}

#[test]
fn input_is_sent_and_its_end_told() {
    let (read, mut write) = pipe();
    write.write_all(b"hello\n").unwrap();
    drop(write);
    let seen = run(with_input(), (read, null(), null()), |mut peer| {
        peer.say(Event::Started);
        assert_eq!(peer.hear_input(), b"hello\n");
        peer.say(Event::Exited { code: 0 });
        assert_eq!(peer.hear(), None);
    });
    assert_eq!(seen.outcome, Outcome::Exited(0));
}

#[test]
fn input_is_left_alone_without_i_and_by_a_failed_start() {
    let failure = Failure { kind: FailureKind::NotFound, message: "no such command".into() };
    for (streams, last) in
        [(output_only(), Event::Exited { code: 0 }), (with_input(), Event::Failed(failure.clone()))]
    {
        let (read, mut write) = pipe();
        write.write_all(b"mine").unwrap();
        drop(write);
        let starts = usize::from(!streams.stdin);
        let said = last.clone();
        let seen = run(streams.clone(), (read.try_clone().unwrap(), null(), null()), move |mut peer| {
            if !streams.stdin {
                peer.say(Event::Started);
            }
            thread::sleep(Duration::from_millis(20));
            peer.say(said);
            assert_eq!(peer.hear(), None);
        });
        let outcome = match last {
            Event::Failed(failure) => Outcome::Failed(failure),
            _ => Outcome::Exited(0),
        };
        assert_eq!(seen, Seen { outcome, starts, warnings: vec![] });
        assert_eq!(read_all(read), "mine");
    }
}

#[test]
fn unreadable_input_is_told_and_closed() {
    let folder = File::open("/").unwrap();
    let seen = run(with_input(), (folder, null(), null()), |mut peer| {
        peer.say(Event::Started);
        assert_eq!(peer.hear_input(), b"");
        peer.say(Event::Exited { code: 0 });
    });
    assert_eq!(seen.warnings, ["cannot read standard input, the container's is closed: Is a directory"]);
}

#[test]
fn a_monitor_that_goes_away_is_lost_and_its_last_output_kept() {
    let ((in_read, mut in_write), (read, write)) = (pipe(), pipe());
    in_write.write_all(b"never read").unwrap();
    let seen = run(with_input(), (in_read, write, null()), |mut peer| {
        peer.say(Event::Started);
        peer.say(out("last words"));
        // Closing with unread requests resets the connection.
        thread::sleep(Duration::from_millis(20));
    });
    assert_eq!(seen.outcome, Outcome::Lost);
    assert_eq!(read_all(read), "last words");
}

#[test]
fn warnings_and_refusals_are_told() {
    let seen = run(output_only(), (null(), null(), null()), |mut peer| {
        peer.say(Event::Warning("no range".into()));
        peer.say(Event::Started);
        peer.say(Event::Refused("not a terminal".into()));
        peer.say(Event::Exited { code: 0 });
    });
    assert_eq!(seen.warnings, ["no range", "not a terminal"]);
}

#[test]
fn a_frame_of_another_version_is_an_error() {
    let (socket, mut peer) = Peer::pair();
    peer.socket.write_all(&[9, 0, 0, 0, 0]).unwrap();
    let null = null();
    let ends = Ends { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
    let result = client::attach(socket, &output_only(), ends, &mut || {}, &mut |_| {});
    assert!(matches!(result, Err(Error::Malformed(Malformed::Kind(9)))), "{result:?}");
}

#[test]
fn floods_in_both_directions_do_not_block_each_other() {
    const SIZE: usize = 4 << 20;
    let ((in_read, mut in_write), (out_read, out_write)) = (pipe(), pipe());
    let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let (input, output) = (sent.clone(), sent.clone());
    let feeder = thread::spawn(move || in_write.write_all(&input).unwrap());
    let reader = thread::spawn(move || {
        let (mut file, mut bytes) = (out_read, Vec::new());
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let expected = sent.clone();
    let seen = run(with_input(), (in_read, out_write, null()), move |mut peer| {
        peer.say(Event::Started);
        // Not one request is read before all output is taken.
        for chunk in output.chunks(100_000) {
            peer.say(Event::Stdout(chunk.to_vec()));
        }
        assert!(peer.hear_input() == expected);
        peer.say(Event::Exited { code: 0 });
    });
    assert_eq!(seen.outcome, Outcome::Exited(0));
    feeder.join().unwrap();
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn unsent_input_is_bounded() {
    let (read, mut write) = pipe();
    let feeder = thread::spawn(move || {
        let mut written = 0;
        while written < 16 << 20 && write.write_all(&[0; 4096]).is_ok() {
            written += 4096;
        }
        written
    });
    run(with_input(), (read, null(), null()), |mut peer| {
        peer.say(Event::Started);
        // Reads nothing.
        thread::sleep(Duration::from_millis(100));
        peer.say(Event::Exited { code: 0 });
    });
    // The bound, what one read adds to it, the pipe, and the socket's own buffer.
    let written = feeder.join().unwrap();
    assert!((64 << 10..4 << 20).contains(&written), "{written}");
}

#[test]
fn a_full_pipe_behind_the_output_does_not_hold_up_the_input() {
    let ((in_read, mut in_write), (mut out_read, out_write)) = (pipe(), pipe());
    let seen = run(with_input(), (in_read, out_write, null()), move |mut peer| {
        peer.say(Event::Started);
        peer.say(Event::Stdout(vec![b'x'; 300_000]));
        thread::sleep(Duration::from_millis(20));
        in_write.write_all(b"still here").unwrap();
        drop(in_write);
        assert_eq!(peer.hear_input(), b"still here");
        peer.say(Event::Exited { code: 0 });
        out_read.read_exact(&mut vec![0; 300_000]).unwrap();
    });
    assert_eq!(seen.outcome, Outcome::Exited(0));
}

#[test]
fn a_reader_that_went_away_ends_its_stream_alone() {
    let ((out_read, out_write), (err_read, err_write)) = (pipe(), pipe());
    drop(out_read);
    let seen = run(output_only(), (null(), out_write, err_write), |mut peer| {
        peer.say(Event::Started);
        for _ in 0..40 {
            peer.say(Event::Stdout(vec![b'x'; 100_000]));
        }
        peer.say(err("heard"));
        peer.say(Event::Exited { code: 3 });
    });
    assert_eq!(seen, Seen { outcome: Outcome::Exited(3), starts: 1, warnings: vec![] });
    assert_eq!(read_all(err_read), "heard");
}

#[test]
fn a_full_disk_is_told_once() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let seen = run(output_only(), (null(), full, null()), |mut peer| {
        for event in [Event::Started, out("a"), out("b"), Event::Exited { code: 0 }] {
            peer.say(event);
        }
    });
    let told = "cannot write to standard output, the rest of it is dropped: No space left on device";
    assert_eq!(seen.warnings, [told]);
}

#[test]
fn signals_wait_for_the_start_and_are_then_passed_on() {
    let before = SigSet::thread_get_mask().unwrap();
    let mut early = before;
    early.add(Signal::SIGUSR1);
    early.thread_set_mask().unwrap();
    raise(Signal::SIGUSR1).unwrap();

    let (socket, mut peer) = Peer::pair();
    let monitor = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        peer.say(Event::Started);
        let mut heard = [peer.hear(), peer.hear()];
        heard.sort_by_key(|request| format!("{request:?}"));
        peer.say(Event::Exited { code: 0 });
        assert_eq!(peer.hear(), None);
        heard
    });
    let null = null();
    let ends = Ends { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
    let mut started = || raise(Signal::SIGTERM).unwrap();
    let outcome = client::attach(socket, &output_only(), ends, &mut started, &mut |_| {}).unwrap();
    assert_eq!(outcome, Outcome::Exited(0));
    let kill = |signal| Some(Request::Kill { signal });
    assert_eq!(monitor.join().unwrap(), [kill(libc::SIGUSR1), kill(libc::SIGTERM)]);

    assert_eq!(SigSet::thread_get_mask().unwrap(), early, "the mask is put back");
    before.thread_set_mask().unwrap();
}

#[test]
fn a_signal_ends_the_wait_for_a_reader_once_the_process_is_gone() {
    let (out_read, out_write) = pipe();
    let (socket, mut peer) = Peer::pair();
    peer.say(Event::Started);
    peer.say(Event::Stdout(vec![b'x'; 100_000]));
    peer.say(Event::Warning("raise".into()));
    peer.say(Event::Exited { code: 5 });
    let null = null();
    let ends = Ends { stdin: null.as_fd(), stdout: out_write.as_fd(), stderr: null.as_fd() };
    let mut warn = |_: &str| raise(Signal::SIGINT).unwrap();
    let outcome = client::attach(socket, &output_only(), ends, &mut || {}, &mut warn).unwrap();
    assert_eq!(outcome, Outcome::Exited(5));
    drop(out_write);
    assert!(read_all(out_read).len() < 100_000);
}

#[test]
fn a_terminal_tells_its_size_and_is_raw_while_the_process_runs() {
    let size = libc::winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let flags = |terminal: &OwnedFd| tcgetattr(terminal).unwrap().local_flags;
    let before = flags(&slave);
    assert!(before.contains(LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::ECHO));

    let mut keys = File::from(master.try_clone().unwrap());
    let (stdin, watched) = (slave.try_clone().unwrap(), slave.try_clone().unwrap());
    let seen = run(terminal(), (stdin, slave.try_clone().unwrap(), null()), move |mut peer| {
        assert_eq!(peer.hear(), Some(Request::Resize { rows: 33, columns: 101 }));
        assert_eq!(flags(&watched), before, "not raw before the process runs");
        peer.say(Event::Started);
        // Only a raw terminal hands these over without a new line, and makes no signal of them.
        while flags(&watched).contains(LocalFlags::ICANON) {
            thread::sleep(Duration::from_millis(1));
        }
        keys.write_all(b"\x03\x04").unwrap();
        assert_eq!(peer.hear(), Some(Request::Stdin(b"\x03\x04".to_vec())));
        peer.say(Event::Exited { code: 130 });
    });
    assert_eq!(seen.outcome, Outcome::Exited(130));
    assert_eq!(flags(&slave), before, "put back");
    drop(master);
}

#[test]
fn a_new_size_is_told() {
    let size = libc::winsize { ws_row: 1, ws_col: 2, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let (socket, mut peer) = Peer::pair();
    let monitor = thread::spawn(move || {
        assert_eq!(peer.hear(), Some(Request::Resize { rows: 1, columns: 2 }));
        peer.say(Event::Started);
        assert_eq!(peer.hear(), Some(Request::Resize { rows: 3, columns: 4 }));
        peer.say(Event::Exited { code: 0 });
    });
    let ends = Ends { stdin: slave.as_fd(), stdout: slave.as_fd(), stderr: slave.as_fd() };
    let mut started = || {
        crate::sys::pty::set_size(&master, crate::sys::pty::Size { rows: 3, columns: 4 }).unwrap();
        raise(Signal::SIGWINCH).unwrap();
    };
    client::attach(socket, &terminal(), ends, &mut started, &mut |_| {}).unwrap();
    monitor.join().unwrap();
}

#[test]
fn a_detached_start_is_waited_for() {
    let failure = Failure { kind: FailureKind::Setup, message: "port 80 is busy".into() };
    for (said, expected) in [(Event::Started, Ok(())), (Event::Failed(failure.clone()), Err(failure))] {
        let (socket, mut peer) = Peer::pair();
        peer.say(Event::Warning("slow".into()));
        peer.say(said);
        let mut warnings = Vec::new();
        let result = wait_started(socket, &mut |text| warnings.push(text.to_owned())).unwrap();
        assert_eq!((result, warnings), (expected, vec!["slow".to_owned()]));
    }
    let (socket, peer) = Peer::pair();
    drop(peer);
    assert!(matches!(wait_started(socket, &mut |_| {}), Err(Error::Closed)));
}

#[test]
fn a_request_gets_its_answer() {
    for answer in [Event::Done, Event::Refused("it has ended".into()), Event::Exited { code: 143 }] {
        let (socket, mut peer) = Peer::pair();
        let said = answer.clone();
        let monitor = thread::spawn(move || {
            let heard = peer.hear();
            peer.say(Event::Warning("slow".into()));
            peer.say(said);
            heard
        });
        let stop = Request::Stop { signal: 15, timeout: 10 };
        assert_eq!(request(socket, &stop).unwrap(), answer);
        assert_eq!(monitor.join().unwrap(), Some(stop));
    }
}

#[test]
fn a_monitor_that_ends_may_answer_first() {
    let (socket, mut peer) = Peer::pair();
    peer.say(Event::Exited { code: 9 });
    drop(peer);
    assert_eq!(request(socket, &Request::Wait).unwrap(), Event::Exited { code: 9 });
    let (socket, peer) = Peer::pair();
    drop(peer);
    assert!(matches!(request(socket, &Request::Wait), Err(Error::Closed)));
}
