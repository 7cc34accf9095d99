//! Completion, in real shells: what a user sees who presses Tab.

use std::time::{Duration, Instant};

use crate::harness::{Env, Terminal, binary};

/// A container that runs, one that does not, an image with a tag; `coracle` is in PATH.
fn world() -> Env {
    let mut env = Env::with_tiny();
    let programs = env.folder("bin", 0o755);
    std::os::unix::fs::symlink(binary(), programs.join("coracle")).unwrap();
    env.set_var("PATH", &format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", programs.display()));
    env.coracle(["tag", "tiny", "team/app:1.2"]).success();
    env.coracle(["create", "--name", "quiet", "tiny", "true"]).success();
    env.coracle(["run", "-d", "--name", "busy", "tiny", "sleep", "1000"]).success();
    env
}

/// Lines as typed, and as they are after Tab.
const LINES: [(&str, &str); 9] = [
    ("coracle sto", "coracle stop "),
    ("coracle stop ", "coracle stop busy "),
    ("coracle start ", "coracle start quiet "),
    ("coracle container ins", "coracle container inspect "),
    ("coracle run --netw", "coracle run --network "),
    ("coracle run --network=ho", "coracle run --network=host "),
    ("coracle rmi team/app:", "coracle rmi team/app:1.2 "),
    ("coracle cp bu", "coracle cp busy:"),
    ("coracle ps --filter sta", "coracle ps --filter status="),
];

const TAB: &str = "\t";
const CTRL_T: &str = "\u{14}";
const CTRL_U: &str = "\u{15}";

/// Presses Tab after each line. The shell was told to show its line between << and >> at Ctrl-T.
fn press_tab(shell: &mut Terminal) {
    for (typed, completed) in LINES {
        shell.type_text(&format!("{typed}{TAB}{CTRL_T}"));
        let shown = shell.expect(">>");
        let shown = shown.rsplit("<<").next().unwrap().trim_end_matches(">>").to_owned();
        assert_eq!(shown, completed, "{typed}\n{}", shell.screen());
        shell.type_text(CTRL_U);
    }
}

fn bash(env: &Env, set_up: &str) -> Terminal {
    let mut shell = Terminal::start(env.program("bash", ["--norc", "--noprofile", "-i"]));
    let show = r#"show() { echo; echo "<<$READLINE_LINE>>"; }; bind -x '"\C-t": show'"#;
    shell.type_text(&format!("bind 'set enable-bracketed-paste off'; {show}; {set_up}; echo rea''dy\n"));
    shell.expect("ready\r\n");
    shell
}

#[test]
fn bash_alone() {
    let env = world();
    let mut shell = bash(&env, "source <(coracle completion bash)");
    press_tab(&mut shell);
    // Two of a kind are shown with what they are; files are offered where they may be meant.
    shell.type_text(&format!("coracle rm {TAB}{TAB}"));
    shell.expect("busy   (tiny, running)");
    shell.expect("quiet  (tiny, created)");
    env.file("archive.tar", "");
    shell.type_text(&format!("{CTRL_U}coracle import arch{TAB}{CTRL_T}"));
    shell.expect("<<coracle import archive.tar >>");
}

#[test]
fn bash_with_its_package() {
    let env = world();
    env.folder("home/data/bash-completion", 0o755);
    let folder = env.folder("home/data/bash-completion/completions", 0o755);
    let script = env.coracle(["completion", "bash", "--no-descriptions"]).success();
    std::fs::write(folder.join("coracle"), script.stdout()).unwrap();
    // Loaded when it is first needed.
    let mut shell = bash(&env, "source /usr/share/bash-completion/bash_completion");
    press_tab(&mut shell);
    shell.type_text(&format!("coracle rm {TAB}{TAB}"));
    shell.expect("busy   quiet");
}

#[test]
fn zsh() {
    let env = world();
    let folder = env.folder("zfunc", 0o755);
    let script = env.coracle(["completion", "zsh"]).success();
    std::fs::write(folder.join("_coracle"), script.stdout()).unwrap();
    let load = format!("fpath=({} $fpath); autoload -U compinit; compinit -u -D", folder.display());
    let sourced = "autoload -U compinit; compinit -u -D; source <(coracle completion zsh)".to_owned();
    for set_up in [load, sourced] {
        let mut shell = Terminal::start(env.program("zsh", ["-f", "-i"]));
        let show = r#"show() { print -r -- "<<$BUFFER>>" }; zle -N show; bindkey -e; bindkey '^T' show"#;
        shell.type_text(&format!("unset zle_bracketed_paste; {show}; {set_up}; echo rea''dy\n"));
        shell.expect("ready\r\n");
        press_tab(&mut shell);
        shell.type_text(&format!("coracle rm {TAB}"));
        shell.expect("busy");
        shell.expect("tiny, running");
    }
}

#[test]
fn fish() {
    let env = world();
    let asked = |line: &str| {
        let script = format!("coracle completion fish | source; complete -C {line:?}");
        env.program("fish", ["--no-config", "-c", &script]).output().success().stdout().to_owned()
    };
    assert_eq!(asked("coracle sto"), "stop\tStop one or more running containers\n");
    assert_eq!(asked("coracle stop "), "busy\ttiny, running\n");
    assert_eq!(asked("coracle start "), "quiet\ttiny, created\n");
    assert_eq!(asked("coracle run --network=ho"), "--network=host\thost\n");
    assert_eq!(asked("coracle rmi team/app:"), "team/app:1.2\n");
    env.file("archive.tar", "");
    assert_eq!(asked("coracle import arch").trim(), "archive.tar");
    // A flag and a container may begin alike in nothing: neither hides the other.
    assert!(asked("coracle rm -").contains("--force\t"));
}

/// It is asked at each Tab: it makes no namespace, says nothing wrong and does not wait.
#[test]
fn the_answer_costs_nothing_and_never_fails() {
    let env = Env::new();
    for line in
        [&["__complete"][..], &["__complete", ""], &["__complete", "stop", ""], &["__complete", "x", "y"]]
    {
        env.coracle(line).success().no_stderr();
    }
    assert_eq!(env.processes(), [0; 0], "a home was started");
    assert!(!env.store().exists(), "a store was made");
    let broken =
        |line: &[&str]| env.command(line).var("CORACLE_STORAGE_DRIVER", "nonsense").output().success();
    broken(&["__complete", "stop", ""]).no_stdout().no_stderr();
    broken(&["__complete", "container", "st"]).stdout_has("start\t");
    // Measured by the quickest of some: this machine has other things to do.
    let quickest = (0..10).map(|_| {
        let began = Instant::now();
        env.coracle(["__complete", "rmi", ""]).success();
        began.elapsed()
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}
