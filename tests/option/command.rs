//! `-w`, `-h`, `--init`, `--cidfile`, `-l`, `--read-only` and the options that come later.

use crate::harness::Env;

#[test]
fn a_working_folder_is_made() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "-w", "/a/b/c", "tiny", "pwd"]).success().says("/a/b/c\n");
    env.coracle(["run", "--rm", "-w", "/srv/../tmp", "tiny", "pwd"]).success().says("/tmp\n");
    env.coracle(["run", "--rm", "-w", "a/b", "tiny", "pwd"]).code(125).stderr_has("a/b");
    env.coracle(["run", "--rm", "-w", "/etc/passwd", "tiny", "pwd"]).code(125).stderr_has("/etc/passwd");
}

#[test]
fn the_host_name_is_known_inside() {
    let env = Env::with_tiny();
    let script = "hostname; cat /etc/hostname; grep -w mast /etc/hosts | tr '\\t' ' ' | cut -d' ' -f2";
    env.coracle(["run", "--rm", "-h", "mast", "tiny", "sh", "-c", script])
        .success()
        .says("mast\nmast\nmast\n");
    let id = env.coracle(["create", "--name", "c1", "tiny", "hostname"]).success().line().to_owned();
    env.coracle(["start", "-a", "c1"]).success().says(&format!("{}\n", &id[..12]));
    env.coracle(["run", "--rm", "tiny", "sh", "-c", "grep -c localhost /etc/hosts"]).success();
}

#[test]
fn files_made_for_the_container_can_be_changed_in_it() {
    let env = Env::with_tiny();
    let script = "for f in hosts hostname resolv.conf; do echo '# x' >> /etc/$f && tail -n1 /etc/$f; done";
    env.coracle(["run", "--rm", "tiny", "sh", "-c", script]).success().says("# x\n# x\n# x\n");
}

#[test]
fn init_reaps_and_forwards() {
    let env = Env::with_tiny();
    let script = "(sleep 0.1 &) ; sleep 0.5; ps -o stat | grep -c Z; [ $$ != 1 ] && echo child";
    env.coracle(["run", "--rm", "--init", "tiny", "sh", "-c", script]).success().says("0\nchild\n");
    env.coracle(["run", "--rm", "--init", "tiny", "sh", "-c", "exit 12"]).code(12);
    env.coracle(["run", "--rm", "--init", "tiny", "no-such-command"]).code(127).stderr_has("no-such-command");
    // A program with no handler, that as pid 1 would ignore the signal.
    env.coracle(["run", "-d", "--init", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["stop", "-t", "30", "c1"]).success();
    env.coracle(["wait", "c1"]).success().says("143\n");
}

#[test]
fn a_cidfile_is_written_once() {
    let env = Env::with_tiny();
    let file = env.root.join("home/cid");
    let name = file.to_str().unwrap();
    let id = env.coracle(["run", "-d", "--cidfile", name, "tiny", "true"]).success().line().to_owned();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    env.coracle(["run", "--cidfile", name, "tiny", "true"]).code(125).stderr_has(name);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    assert_eq!(env.coracle(["ps", "-aq"]).success().stdout().lines().count(), 1);
    env.coracle(["run", "--cidfile", "/no/such/folder/cid", "tiny", "true"])
        .code(125)
        .stderr_has("/no/such/folder");
}

#[test]
fn labels_are_kept() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "-l", "one=1", "--label", "two", "-l", "x=a=b", "tiny"]).success();
    let labels = env.inspect("c1", "/Config/Labels");
    assert_eq!(labels, serde_json::json!({"one": "1", "two": "", "x": "a=b", "org.example.size": "tiny"}));
}

#[test]
fn read_only_means_all_of_it() {
    let env = Env::with_tiny();
    let said = env.coracle([
        "run",
        "--rm",
        "--read-only",
        "tiny",
        "sh",
        "-c",
        "echo x > /file; echo $?; mkdir /tmp/d; echo $?",
    ]);
    said.success().says("1\n1\n").stderr_has("Read-only file system");
    let script = "echo x > /tmp/file && cat /tmp/file; echo y > /dev/shm/file && cat /dev/shm/file; echo z > /dev/null";
    let line = ["run", "--rm", "--read-only", "--tmpfs", "/tmp", "tiny", "sh", "-c", script];
    env.coracle(line).success().says("x\ny\n");
}

#[test]
fn options_of_later_versions_are_refused_by_name() {
    let env = Env::with_tiny();
    for flag in [
        "--memory=1g",
        "--cpus=1",
        "--restart=always",
        "--mount=type=bind,src=/,dst=/x",
        "--gpus=all",
        "--device=/dev/null",
        "--link=a",
        "--dns=1.1.1.1",
        "--userns=host",
        "--pid=host",
    ] {
        let name = flag.split('=').next().unwrap();
        env.coracle(["run", "--rm", flag, "tiny", "true"]).code(125).no_stdout().stderr_has(name);
    }
    for network in ["bridge-of-mine", "container:a"] {
        env.coracle(["run", "--rm", "--network", network, "tiny", "true"]).code(125).stderr_has(network);
    }
    env.coracle(["run", "--rm", "-P", "tiny", "true"]).code(125);
    env.coracle(["ps", "-aq"]).success().says("");
}
