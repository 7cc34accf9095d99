//! `--cap-add`, `--cap-drop`, `--privileged`, `--security-opt`.

use crate::harness::Env;

/// docker's fourteen, as `/proc/self/status` shows them.
const DEFAULT: &str = "00000000a80425fb";

/// `CapEff` of a container started with `flags`.
fn effective(env: &Env, flags: &[&str]) -> String {
    let line = ["run", "--rm"].iter().chain(flags).chain(&["tiny", "grep", "CapEff", "/proc/self/status"]);
    let said = env.coracle(line).success();
    said.line().split_whitespace().last().unwrap().to_owned()
}

fn every_capability() -> String {
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    format!("{:016x}", (1u64 << (last + 1)) - 1)
}

#[test]
fn the_default_is_dockers() {
    let env = Env::with_tiny();
    let said =
        env.coracle(["run", "--rm", "tiny", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]);
    let expected = format!(
        "CapInh:\t{zero}\nCapPrm:\t{DEFAULT}\nCapEff:\t{DEFAULT}\nCapBnd:\t{DEFAULT}\nCapAmb:\t{zero}\nNoNewPrivs:\t0\nSeccomp:\t2\n",
        zero = "0".repeat(16)
    );
    said.success().says(&expected);
}

#[test]
fn capabilities_come_and_go_by_name() {
    let env = Env::with_tiny();
    assert_eq!(effective(&env, &["--cap-drop", "ALL"]), "0".repeat(16));
    assert_eq!(effective(&env, &["--cap-drop", "all", "--cap-add", "chown"]), "0000000000000001");
    assert_eq!(effective(&env, &["--cap-drop", "CAP_CHOWN"]), "00000000a80425fa");
    assert_eq!(effective(&env, &["--cap-add", "SYS_ADMIN"]), "00000000a82425fb");
    assert_eq!(effective(&env, &["--cap-add", "ALL"]), every_capability());
    for flag in ["--cap-add", "--cap-drop"] {
        env.coracle(["run", "--rm", flag, "NO_SUCH", "tiny", "true"]).code(125).stderr_has("NO_SUCH");
    }
}

#[test]
fn what_was_dropped_does_not_work() {
    let env = Env::with_tiny();
    env.coracle(["run", "--rm", "tiny", "chown", "1000", "/tmp"]).success();
    let said = env.coracle(["run", "--rm", "--cap-drop", "CHOWN", "tiny", "chown", "1000", "/tmp"]);
    said.code(1).stderr_has("Operation not permitted");
    env.coracle(["run", "--rm", "tiny", "mount", "-t", "tmpfs", "none", "/mnt"]).code(1);
    let admin =
        ["run", "--rm", "--cap-add", "SYS_ADMIN", "tiny", "sh", "-c", "mkdir /m; mount -t tmpfs none /m"];
    env.coracle(admin).success();
}

#[test]
fn privileged_lifts_what_can_be_lifted() {
    let env = Env::with_tiny();
    assert_eq!(effective(&env, &["--privileged"]), every_capability());
    env.coracle(["run", "--rm", "--privileged", "tiny", "grep", "Seccomp:", "/proc/self/status"])
        .success()
        .says("Seccomp:\t0\n");
    let script =
        "mount -t tmpfs none /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs none /mnt && echo mounted";
    env.coracle(["run", "--rm", "--privileged", "tiny", "sh", "-c", script]).success().says("mounted\n");
    // Never more than the user: the host's root is not ours.
    let said = env.coracle([
        "run",
        "--rm",
        "--privileged",
        "-v",
        "/etc:/mnt",
        "tiny",
        "sh",
        "-c",
        "cat /mnt/shadow; echo x >> /mnt/passwd",
    ]);
    said.code(1).no_stdout().stderr_has("Permission denied");
}

#[test]
fn seccomp_profiles_are_files_or_unconfined() {
    let env = Env::with_tiny();
    let off = [
        "run",
        "--rm",
        "--security-opt",
        "seccomp=unconfined",
        "tiny",
        "grep",
        "Seccomp:",
        "/proc/self/status",
    ];
    env.coracle(off).success().says("Seccomp:\t0\n");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 37}]}"#;
    let file = env.file("profile.json", profile);
    let option = format!("seccomp={}", file.display());
    let mkdir = ["run", "--rm", "--security-opt", &option, "tiny", "mkdir", "/x"];
    env.coracle(mkdir).code(1).stderr_has("No locks available"); // errno 37
    // The file may go: its contents were taken at create.
    env.coracle(["create", "--name", "c1", "--security-opt", &option, "tiny", "mkdir", "/x"]).success();
    std::fs::remove_file(&file).unwrap();
    env.coracle(["start", "-a", "c1"]).code(1).stderr_has("No locks available");
}

#[test]
fn bad_profiles_are_refused() {
    let env = Env::with_tiny();
    let refuse = |option: &str, word: &str| {
        env.coracle(["run", "--rm", "--security-opt", option, "tiny", "true"])
            .code(125)
            .no_stdout()
            .stderr_has(word);
    };
    refuse("seccomp=/no/such/file", "/no/such/file");
    refuse(&format!("seccomp={}", env.file("text", "not json").display()), "text");
    let unknown = r#"{"defaultAction": "SCMP_ACT_DANCE"}"#;
    refuse(&format!("seccomp={}", env.file("dance", unknown).display()), "SCMP_ACT_DANCE");
    refuse("apparmor=mine", "apparmor");
    refuse("nonsense", "nonsense");
}

#[test]
fn the_default_profile_refuses_what_docker_refuses() {
    let env = Env::with_tiny();
    // unshare(2) of a user namespace needs CAP_SYS_ADMIN in docker's profile.
    env.coracle(["run", "--rm", "tiny", "unshare", "-U", "true"])
        .code(1)
        .stderr_has("Operation not permitted");
    let open = ["run", "--rm", "--security-opt", "seccomp=unconfined", "tiny", "unshare", "-U", "true"];
    env.coracle(open).success();
}
