//! `coracle ps`.

use crate::harness::{Env, free_port};

#[test]
fn the_table_is_dockers() {
    let env = Env::with_tiny();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let id = env
        .coracle([
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            &publish,
            "tiny",
            "sh",
            "-c",
            "sleep 1000 # and much more",
        ])
        .success()
        .line()
        .to_owned();
    let said = env.coracle(["ps"]).success().no_stderr();
    let lines: Vec<&str> = said.stdout().lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    let columns = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    let mut at = 0;
    let starts: Vec<usize> = columns
        .iter()
        .map(|column| {
            at += lines[0][at..].find(column).unwrap_or_else(|| panic!("no {column} in {}", lines[0]));
            at
        })
        .collect();
    let cells: Vec<String> = starts
        .iter()
        .enumerate()
        .map(|(i, start)| {
            let row: Vec<char> = lines[1].chars().collect();
            let end = starts.get(i + 1).copied().unwrap_or(row.len());
            row[*start..end].iter().collect::<String>().trim().to_owned()
        })
        .collect();
    assert_eq!(cells[0], id[..12]);
    assert_eq!(cells[1], "tiny");
    assert_eq!(cells[2], "\"sh -c 'sleep 1000 #…\"");
    assert!(cells[3].ends_with(" ago"), "{}", cells[3]);
    assert!(cells[4].starts_with("Up "), "{}", cells[4]);
    assert_eq!(cells[5], format!("127.0.0.1:{port}->80/tcp"));
    assert_eq!(cells[6], "web");
    let whole = env.coracle(["ps", "--no-trunc"]).success();
    assert!(whole.stdout().contains(&id) && whole.stdout().contains("and much more"), "{whole:?}");
}

#[test]
fn shows_the_running_ones_and_with_a_all() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "up", "tiny", "sleep", "1000"]).success();
    env.coracle(["run", "--name", "over", "tiny", "sh", "-c", "exit 3"]).code(3);
    env.coracle(["create", "--name", "fresh", "tiny"]).success();
    let running = env.coracle(["ps"]).success();
    assert!(running.stdout().contains("up") && !running.stdout().contains("over"), "{running:?}");
    let all = env.coracle(["ps", "-a"]).success().stdout().to_owned();
    assert!(all.contains("Exited (3) ") && all.contains("Created") && all.contains("Up "), "{all}");
    // The newest comes first.
    let order: Vec<&str> = all.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(order, ["fresh", "over", "up"]);
    let latest = env.coracle(["ps", "-l"]).success();
    assert!(latest.stdout().lines().count() == 2 && latest.stdout().contains("fresh"), "{latest:?}");
}

#[test]
fn quiet_gives_ids() {
    let env = Env::with_tiny();
    let one = env.coracle(["create", "tiny"]).success().line().to_owned();
    let two = env.coracle(["create", "tiny"]).success().line().to_owned();
    env.coracle(["ps", "-q"]).success().says("");
    env.coracle(["ps", "-aq"]).success().says(&format!("{}\n{}\n", &two[..12], &one[..12]));
    env.coracle(["ps", "-aq", "--no-trunc"]).success().says(&format!("{two}\n{one}\n"));
    env.coracle(["ps", "-lq"]).success().says(&format!("{}\n", &two[..12]));
}

#[test]
fn sizes_count_the_writable_layer() {
    let env = Env::with_tiny();
    env.coracle(["run", "--name", "c1", "tiny", "sh", "-c", "head -c 3000000 /dev/zero > /file"]).success();
    let said = env.coracle(["ps", "-a", "-s"]).success();
    assert!(said.stdout().contains("SIZE") && said.stdout().contains("3MB (virtual "), "{said:?}");
}

#[test]
fn tells_the_truth_when_the_process_is_killed() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    let pid = env.pid("c1").to_string();
    // The user may kill the container's first process himself: it is his.
    env.program("kill", ["-9", &pid]).output().success();
    env.coracle(["wait", "c1"]).success().says("137\n");
    env.coracle(["ps", "-q"]).success().says("");
}

#[test]
fn the_clients_configuration_lays_tables_out() {
    let mut env = Env::with_tiny();
    let folder = env.folder("client", 0o755);
    let config = r#"{"psFormat":"P {{.Names}}","imagesFormat":"I {{.Repository}}","networksFormat":"N {{.Name}}",
        "statsFormat":"S {{.Name}}","volumesFormat":"V"}"#;
    std::fs::write(folder.join("config.json"), config).unwrap();
    env.set_var("DOCKER_CONFIG", &folder.to_string_lossy());
    let id = env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "100"]).success().line().to_owned();
    env.coracle(["ps"]).success().says("P c1\n");
    env.coracle(["ps", "-q"]).success().says(&format!("{}\n", &id[..12]));
    env.coracle(["ps", "--format", "{{.State}}"]).success().says("running\n");
    env.coracle(["images"]).success().stdout_has("I tiny\n");
    let ids = env.coracle(["images", "-q"]).success();
    assert!(ids.stdout().lines().all(|line| line.len() == 12), "{ids:?}");
    env.coracle(["network", "ls"]).success().stdout_has("N none\n");
    assert!(!env.coracle(["network", "ls", "-q"]).success().stdout().contains('N'));
    env.coracle(["volume", "ls"]).success().says("");
    env.coracle(["stats", "--no-stream", "c1"]).success().says("S c1\n");
}
