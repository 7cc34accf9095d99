//! `coracle stats`.

use crate::harness::{Env, PATIENCE, eventually};

#[test]
fn numbers_are_the_containers() {
    let env = Env::with_tiny();
    let script = "head -c 20000000 /dev/zero | tail -c 20000000 | { sleep 1000; cat >/dev/null; }";
    env.coracle(["run", "-d", "--name", "idle", "tiny", "sleep", "1000"]).success();
    env.coracle(["run", "-d", "--name", "busy", "tiny", "sh", "-c", "sleep 1000 & while :; do :; done"])
        .success();
    env.coracle(["run", "-d", "--name", "big", "tiny", "sh", "-c", script]).success();
    let used = || {
        let format = "{{.Name}} {{.PIDs}} {{.CPUPerc}} {{.MemUsage}}";
        let output =
            env.coracle(["stats", "--no-stream", "--format", format, "idle", "busy", "big"]).success();
        let rows: Vec<Vec<String>> =
            output.stdout().lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
        assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["idle", "busy", "big"]);
        rows
    };
    let percent = |row: &[String]| row[2].trim_end_matches('%').parse::<f64>().expect("a number");
    let as_expected = || {
        let rows = used();
        let tasks = rows[0][1] == "1" && rows[1][1] == "2";
        tasks && percent(&rows[0]) < 1.0 && percent(&rows[1]) > 1.0 && rows[2][3].ends_with("MiB")
    };
    assert!(eventually(PATIENCE, as_expected), "{:?}", used());
}

#[test]
fn forms_are_dockers() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["create", "--name", "c2", "tiny", "true"]).success();
    let shown = env.coracle(["stats", "--no-stream", "-a"]).success();
    let lines: Vec<&str> = shown.stdout().lines().collect();
    assert!(lines[0].starts_with("CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT"), "{shown:?}");
    assert!(lines[1].contains("c2        0.00%     0B / 0B") && lines[1].ends_with("   0"), "{shown:?}");
    assert!(lines[2].contains("c1 ") && lines.len() == 3, "{shown:?}");
    shown.stderr_has("numbers are sums over the containers' processes");
    let shown = env.coracle(["stats", "--no-stream", "--format", "json", "c2", "c2"]).success();
    let parsed: serde_json::Value = serde_json::from_str(shown.stdout()).expect("one object");
    assert_eq!((&parsed["Container"], &parsed["MemUsage"]), (&"c2".into(), &"0B / 0B".into()));
    let shown = env.coracle(["stats", "--no-stream", "--format", "{{.Container}} {{.Name}}"]).success();
    assert!(shown.stdout().ends_with(" c1\n") && shown.stdout().len() == 16, "{shown:?}");
    env.coracle(["stats", "--no-stream", "c1", "nobody"])
        .code(1)
        .no_stdout()
        .stderr_has("No such container: nobody");
    env.coracle(["stats", "--no-stream", "--format", "{{.Nope}}", "c1"]).code(1).stderr_has("Nope");
}

#[test]
fn a_terminal_is_drawn_again_until_ctrl_c() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let mut terminal = env.terminal(["stats", "c1"]);
    terminal.expect("\x1b[HCONTAINER ID");
    terminal.expect("\x1b[HCONTAINER ID");
    env.coracle(["kill", "c1"]).success();
    terminal.expect("-- / --");
    terminal.type_text("\x03");
    terminal.finish();
}
