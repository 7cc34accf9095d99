//! Reading logs from files that a test writes.

use std::cell::Cell;
use std::io::Write;

use super::*;

#[derive(Default)]
struct Screen(Vec<String>);

impl Sink for Screen {
    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let stream = if entry.stderr { "E" } else { "O" };
        self.0.push(format!("{stream}{}", String::from_utf8_lossy(entry.text)));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn line(second: u32, stream: &str, text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:02}.5Z\"}}\n")
}

fn three() -> String {
    line(1, "stdout", "a\n") + &line(2, "stderr", "b\n") + &line(3, "stdout", "c\n")
}

fn shown(content: &str, request: &Request) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let mut sink = Screen::default();
    read(file.path(), request, || false, &mut sink).unwrap();
    sink.0
}

#[test]
fn all_of_it_with_its_streams() {
    assert_eq!(shown(&three(), &Request::default()), ["Oa\n", "Eb\n", "Oc\n"]);
    assert_eq!(shown("", &Request::default()), [""; 0]);
}

#[test]
fn the_last_lines() {
    let cases: &[(u64, &[&str])] = &[
        (0, &[]),
        (1, &["Oc\n"]),
        (2, &["Eb\n", "Oc\n"]),
        (3, &["Oa\n", "Eb\n", "Oc\n"]),
        (9, &["Oa\n", "Eb\n", "Oc\n"]),
    ];
    for (tail, expected) in cases {
        let request = Request { tail: Some(*tail), ..Request::default() };
        assert_eq!(shown(&three(), &request), *expected, "{tail}");
    }
}

#[test]
fn the_last_lines_of_a_log_larger_than_a_block() {
    let long = "x".repeat(1000);
    let content: String = (0..200).map(|i| line(1, "stdout", &format!("{i} {long}\n"))).collect();
    assert!(content.len() as u64 > 3 * BLOCK);
    for tail in [1, 64, 65, 150, 199, 200, 201] {
        let request = Request { tail: Some(tail), ..Request::default() };
        let lines = shown(&content, &request);
        assert_eq!(lines.len() as u64, tail.min(200), "{tail}");
        assert!(lines[0].starts_with(&format!("O{} ", 200 - tail.min(200))), "{tail}");
    }
}

#[test]
fn times_bound_what_is_shown() {
    let moment = |text: &str| Some(text.parse().unwrap());
    let since = Request { since: moment("2026-01-01T00:00:02Z"), ..Request::default() };
    assert_eq!(shown(&three(), &since), ["Eb\n", "Oc\n"]);
    let until = Request { until: moment("2026-01-01T00:00:02.5Z"), ..Request::default() };
    assert_eq!(shown(&three(), &until), ["Oa\n", "Eb\n"]);
}

#[test]
fn a_line_being_written_waits_for_its_end() {
    let content = three();
    let cut = &content[..content.len() - 5];
    assert_eq!(shown(cut, &Request::default()), ["Oa\n", "Eb\n"]);
}

#[test]
fn following_ends_with_the_container_and_loses_nothing() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    file.write_all(three().as_bytes()).unwrap();
    let calls = Cell::new(0);
    let running = || {
        calls.set(calls.get() + 1);
        match calls.get() {
            // Half a line, then its end, then the container stops right after a last line.
            2 => file.write_all(&line(4, "stdout", "d\n").as_bytes()[..10]).unwrap(),
            3 => file.write_all(&line(4, "stdout", "d\n").as_bytes()[10..]).unwrap(),
            4 => file.write_all(line(5, "stdout", "e\n").as_bytes()).unwrap(),
            _ => {}
        }
        calls.get() < 4
    };
    let mut sink = Screen::default();
    let request = Request { follow: true, tail: Some(1), ..Request::default() };
    read(&path, &request, running, &mut sink).unwrap();
    assert_eq!(sink.0, ["Oc\n", "Od\n", "Oe\n"]);
}

#[test]
fn no_log_is_an_empty_one() {
    let mut sink = Screen::default();
    read(Path::new("/nonexistent/log"), &Request::default(), || false, &mut sink).unwrap();
    assert!(sink.0.is_empty());
}

#[test]
fn damage_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), line(1, "stdout", "a\n") + "garbage\n").unwrap();
    let error = read(file.path(), &Request::default(), || false, &mut Screen::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset: 64, .. }), "{error:?}");
}

/// A log of three files: seconds 1 to 6, two lines each.
fn rotated(dir: &Path) -> PathBuf {
    let path = dir.join("log");
    for (number, first) in [(2, 1), (1, 3), (0, 5)] {
        let text = line(first, "stdout", &format!("{first}\n"))
            + &line(first + 1, "stderr", &format!("{}\n", first + 1));
        std::fs::write(crate::monitor::log::files::older(&path, number), text).unwrap();
    }
    path
}

#[test]
fn rotated_files_are_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = rotated(dir.path());
    let shown = |request: &Request| {
        let mut sink = Screen::default();
        read(&path, request, || false, &mut sink).unwrap();
        sink.0.iter().map(|text| text[1..2].to_owned()).collect::<String>()
    };
    assert_eq!(shown(&Request::default()), "123456");
    for tail in 0..8 {
        let expected = &"123456"[6 - tail.min(6)..];
        assert_eq!(shown(&Request { tail: Some(tail as u64), ..Request::default() }), expected, "{tail}");
    }
    let moment = |text: &str| Some(text.parse().unwrap());
    assert_eq!(shown(&Request { until: moment("2026-01-01T00:00:04Z"), ..Request::default() }), "123");
    assert_eq!(shown(&Request { since: moment("2026-01-01T00:00:04Z"), ..Request::default() }), "456");
    // A gap, as a monitor leaves it that was killed while it rotated.
    std::fs::remove_file(dir.path().join("log.1")).unwrap();
    assert_eq!(shown(&Request::default()), "1256");
}

#[test]
fn following_goes_across_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut files = crate::monitor::log::files::Files::new(path.clone(), Some(200), 3);
    let mut second = 0;
    let running = || {
        // Two files a look: one is rotated away before it was ever the newest at a look.
        for _ in 0..if second < 50 { 5 } else { 0 } {
            second += 1;
            files.append(line(second, "stdout", &format!("{second}\n")).as_bytes()).unwrap();
        }
        second < 50
    };
    let mut sink = Screen::default();
    read(&path, &Request { follow: true, ..Request::default() }, running, &mut sink).unwrap();
    let all: Vec<String> = (1..=second).map(|n| format!("O{n}\n")).collect();
    assert_eq!(sink.0, all);
}
