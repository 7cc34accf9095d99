//! `coracle update`.

use crate::harness::Env;

fn limits(env: &Env, name: &str) -> String {
    let format = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.MemoryReservation}} {{.NanoCpus}} {{.CpuShares}} \
        {{.CpusetCpus}} {{.CpusetMems}} {{.PidsLimit}} {{.BlkioWeight}}{{end}}";
    env.coracle(["inspect", "-f", format, name]).success().stdout().trim().to_owned()
}

#[test]
fn limits_are_kept_and_shown() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["run", "-d", "--name", "c2", "tiny", "sleep", "1000"]).success();
    let record =
        env.store().join("containers").join(env.inspect("c1", "/Id").as_str().unwrap()).join("record.json");
    let before = std::fs::read(&record).unwrap();
    env.coracle(["update", "-m", "64m", "--memory-swap", "128m", "--cpus", "0.5", "-c", "512", "c1"])
        .success()
        .says("c1\n");
    env.coracle(["update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "-1", "c1"]).success();
    env.coracle([
        "update",
        "--memory-reservation",
        "32m",
        "--blkio-weight",
        "300",
        "--pids-limit",
        "0",
        "c1",
    ])
    .success();
    assert_eq!(limits(&env, "c1"), "67108864 134217728 33554432 500000000 512 0 0 0 300");
    assert_eq!(std::fs::read(&record).unwrap(), before, "the record was written anew");
    // Nothing of it can be applied here, which is said now and at every start.
    let lost = "limits that do not hold: --pids-limit";
    env.coracle(["update", "--pids-limit", "50", "c2"]).success().says("c2\n").stderr_has(lost);
    env.coracle(["restart", "-t", "0", "c2"]).success().stderr_has(lost);
    assert!(env.inspect("c2", "/Lost").to_string().contains(lost));
    assert!(limits(&env, "c2").ends_with(" 50 0"), "{}", limits(&env, "c2"));
    let events =
        ["events", "--since", "1h", "--until", "0s", "-f", "container=c1", "--format", "{{.Action}}"];
    env.coracle(events).success().says("create\nupdate\nupdate\nupdate\n");
}

#[test]
fn refuses_in_dockers_words() {
    let env = Env::with_tiny();
    env.coracle(["create", "--name", "c1", "tiny", "true"]).success();
    env.coracle(["create", "--name", "c2", "tiny", "true"]).success();
    env.coracle(["update", "--cpus", "0.5", "c1"]).success();
    for (flags, message) in [
        (&[][..], "you must provide one or more flags when using this command"),
        (&["-m", "64m"], "Memory limit should be smaller than already set memoryswap limit"),
        (&["-m", "1m"], "Minimum memory limit allowed is 6MB"),
        (
            &["--cpu-quota", "50000"],
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (&["--cpus", "100000"], "range of CPUs is from 0.01 to"),
        (&["--cpuset-cpus", "9999"], "Invalid value 9999 for cpuset cpus"),
        (&["--cpuset-cpus", "7777"], "Requested CPUs are not available - requested 7777"),
    ] {
        env.coracle([&["update"], flags, &["c1"]].concat()).code(1).no_stdout().stderr_has(message);
    }
    env.coracle(["update", "-m", "x", "c1"])
        .code(125)
        .stderr_has("for \"-m, --memory\" flag: invalid size: 'x'");
    env.coracle(["update", "--cpu-shares", "2", "nobody", "c2"])
        .code(1)
        .says("c2\n")
        .stderr_has("No such container: nobody");
    assert_eq!(limits(&env, "c1"), "0 0 0 500000000 0   <nil> 0");
}
