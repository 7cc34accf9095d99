//! `-t`: a real shell on a real terminal.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Env, eventually, image, machine};

const PROMPT: &str = "/ # ";

#[test]
fn a_shell_reads_what_is_typed() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "--rm", "-it", "tiny"]);
    shell.expect(PROMPT);
    shell.type_text("echo $((6*7)); tty; echo $TERM\n");
    shell.expect("42\r\n");
    shell.expect("/dev/pts/0\r\n");
    shell.expect("xterm\r\n");
    shell.expect(PROMPT);
    shell.type_text("exit 13\n");
    assert_eq!(shell.finish(), 13);
}

#[test]
fn ctrl_d_ends_and_ctrl_c_interrupts() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "--rm", "-it", "tiny"]);
    shell.expect(PROMPT);
    shell.type_text("sleep 1000\n");
    shell.expect("sleep 1000\r\n");
    std::thread::sleep(Duration::from_millis(300));
    shell.type_text("\u{3}");
    shell.expect(PROMPT);
    shell.type_text("echo $?\n");
    shell.expect("130\r\n");
    shell.type_text("\u{4}");
    // The status of the last command, which was echo.
    assert_eq!(shell.finish(), 0);
}

#[test]
fn the_size_is_the_terminals_and_follows_it() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "--rm", "-it", "tiny"]);
    shell.expect(PROMPT);
    shell.type_text("stty size\n");
    shell.expect("24 80\r\n");
    shell.type_text("trap 'stty size' WINCH\n");
    shell.expect(PROMPT);
    shell.resize(50, 132);
    std::thread::sleep(Duration::from_millis(200));
    shell.type_text("stty size\n");
    shell.expect("50 132\r\n");
    shell.type_text("exit\n");
    shell.finish();
}

#[test]
fn the_callers_terminal_is_left_as_it_was() {
    let env = Env::with_tiny();
    for end in ["exit\n", "kill"] {
        let mut shell = env.terminal(["run", "--rm", "-it", "--name", "c1", "tiny"]);
        shell.expect(PROMPT);
        assert!(shell.is_set("-icanon"), "the keys do not go to the container raw");
        match end {
            "kill" => drop(env.coracle(["kill", "c1"]).success()),
            _ => shell.type_text(end),
        }
        shell.finish();
        for word in ["icanon", "echo", "isig"] {
            assert!(shell.is_set(word), "{word} is off after {end:?}");
        }
    }
    // Also when the start fails.
    let mut failing = env.terminal(["run", "--rm", "-it", "tiny", "no-such-command"]);
    assert_eq!(failing.finish(), 127);
    assert!(failing.is_set("icanon"));
}

#[test]
fn colours_and_bytes_pass_unchanged() {
    let env = Env::with_tiny();
    let script = "printf '\\033[31mred\\033[0m\\377\\n'; ls --color=always -d /bin";
    let mut terminal = env.terminal(["run", "--rm", "-it", "tiny", "sh", "-c", script]);
    terminal.expect("\u{1b}[31mred\u{1b}[0m");
    terminal.expect("\u{1b}[");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn a_killed_terminal_client_leaves_the_container() {
    let env = Env::with_tiny();
    let mut shell = env.terminal(["run", "-it", "--name", "c1", "tiny"]);
    shell.expect(PROMPT);
    shell.signal(Signal::SIGKILL);
    shell.finish();
    assert_eq!(env.status("c1"), "running");
    env.coracle(["exec", "c1", "true"]).success();
}

#[test]
fn a_closed_window_leaves_a_detached_container() {
    let env = Env::with_tiny();
    let script = format!(
        "{} run -d --name c1 tiny sh -c 'while :; do echo tick; sleep 0.1; done'; sleep 1000",
        crate::harness::binary().display()
    );
    let mut window = crate::harness::Terminal::start(env.program("sh", ["-c", &script]));
    assert!(eventually(Duration::from_secs(20), || env
        .coracle(["ps", "-q"])
        .success()
        .stdout()
        .lines()
        .count()
        == 1));
    window.close();
    let ended = eventually(Duration::from_secs(10), || {
        !env.processes()
            .into_iter()
            .any(|pid| machine::describe(pid).contains("(sleep") && machine::describe(pid).contains("1000 "))
    });
    assert!(ended, "the window's own command goes on");
    let before = env.coracle(["logs", "c1"]).success().stdout().len();
    assert!(
        eventually(Duration::from_secs(5), || env.coracle(["logs", "c1"]).success().stdout().len() > before)
    );
    assert_eq!(env.status("c1"), "running");
}

#[test]
fn without_i_the_keyboard_is_not_read() {
    let env = Env::with_tiny();
    let mut terminal =
        env.terminal(["run", "--rm", "-t", "tiny", "sh", "-c", "[ -t 1 ] && echo terminal; stty size"]);
    terminal.expect("terminal");
    terminal.expect("24 80");
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let mut shell = env.terminal(["exec", "-it", "c1", "sh"]);
    shell.expect(PROMPT);
    shell.type_text("stty size; tty\n");
    shell.expect("24 80\r\n/dev/pts/0\r\n");
    shell.resize(30, 100);
    std::thread::sleep(Duration::from_millis(200));
    shell.type_text("stty size\n");
    shell.expect("30 100\r\n");
    shell.type_text("sleep 100\n");
    shell.expect("sleep 100\r\n");
    std::thread::sleep(Duration::from_millis(300));
    shell.type_text("\u{3}");
    shell.expect(PROMPT);
    shell.type_text("exit 3\n");
    assert_eq!(shell.finish(), 3);
    assert!(shell.is_set("icanon"));
    let mut failing = env.terminal(["exec", "-it", "c1", "no-such-command"]);
    assert_eq!(failing.finish(), 127);
}

#[test]
fn bash_has_job_control() {
    let env = Env::new();
    let mut shell =
        env.terminal(["run", "--rm", "-q", "-it", "-h", "mast", &image("debian"), "bash", "--norc"]);
    shell.expect("# ");
    assert!(!shell.screen().contains("no job control"), "{}", shell.screen());
    shell.type_text("sleep 100\n");
    shell.expect("sleep 100\r\n");
    std::thread::sleep(Duration::from_millis(300));
    shell.type_text("\u{1a}");
    shell.expect("Stopped");
    shell.type_text("fg\n");
    shell.expect("sleep 100\r\n");
    std::thread::sleep(Duration::from_millis(300));
    shell.type_text("\u{3}");
    shell.expect("# ");
    shell.type_text("exit 0\n");
    assert_eq!(shell.finish(), 0);
}

#[test]
fn a_log_of_a_terminal_has_what_was_shown() {
    let env = Env::with_tiny();
    env.coracle(["run", "-t", "--name", "c1", "tiny", "sh", "-c", "echo out; echo err >&2"])
        .success()
        .says("out\r\nerr\r\n");
    env.coracle(["logs", "c1"]).success().says("out\r\nerr\r\n");
    env.coracle(["run", "-dt", "--name", "c2", "tiny", "sh", "-c", "echo out"]).success();
    env.coracle(["wait", "c2"]).success();
    env.coracle(["logs", "c2"]).success().says("out\r\n");
}

#[test]
fn much_output_arrives_whole_and_in_order() {
    let env = Env::with_tiny();
    let mut terminal = env.terminal(["run", "--rm", "-it", "tiny", "seq", "1", "20000"]);
    terminal.expect("\r\n20000\r\n");
    assert_eq!(terminal.finish(), 0);
    let expected: String = (1..=20000).map(|i| format!("{i}\r\n")).collect();
    assert!(terminal.screen() == expected, "lines are missing or mixed");
}

#[test]
fn start_attaches_a_terminal() {
    let env = Env::with_tiny();
    env.coracle(["create", "-it", "--name", "c1", "tiny"]).success();
    let mut shell = env.terminal(["start", "-ai", "c1"]);
    shell.type_text("echo a$((1+1))b\n");
    shell.expect("a2b\r\n");
    shell.type_text("exit 5\n");
    assert_eq!(shell.finish(), 5);
}

#[test]
fn a_full_screen_program_sees_the_new_size() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c2", "tiny", "sleep", "1000"]).success();
    // Of `run`, and of what `exec` adds.
    for words in
        [&["run", "-it", "--name", "c1", "tiny", "vi", "/text"][..], &["exec", "-it", "c2", "vi", "/text"]]
    {
        let mut editor = env.terminal(words);
        // The last line of the screen is vi's own.
        editor.expect("\u{1b}[24;1H");
        for rows in [40, 12] {
            editor.resize(rows, 100);
            editor.expect(&format!("\u{1b}[{rows};1H"));
        }
        editor.type_text(":q!\n");
        assert_eq!(editor.finish(), 0);
    }
}
