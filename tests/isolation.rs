//! What a container cannot see or reach by default.

use std::collections::BTreeSet;

use crate::harness::{Env, image};

fn inside(env: &Env, script: &str) -> String {
    env.coracle(["run", "--rm", "--network", "none", "tiny", "sh", "-c", script])
        .success()
        .stdout()
        .to_owned()
}

#[test]
fn every_namespace_is_its_own() {
    let env = Env::with_tiny();
    let shown = inside(&env, "for n in user mnt pid ipc uts cgroup net; do readlink /proc/self/ns/$n; done");
    for (line, name) in shown.lines().zip(["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"]) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
        assert_ne!(line, ours, "{name} is the host's");
    }
    // And not another container's either.
    env.coracle(["run", "-d", "--name", "c1", "--network", "none", "tiny", "sleep", "100"]).success();
    let other = std::fs::read_link(format!("/proc/{}/ns/user", env.pid("c1"))).unwrap().display().to_string();
    assert_ne!(inside(&env, "readlink /proc/self/ns/user").trim(), other);
}

#[test]
fn only_its_own_processes_are_seen() {
    let env = Env::with_tiny();
    let said = inside(&env, "echo $$; ls -d /proc/[0-9]* | wc -l");
    // The shell, and what of its pipeline has started when the names are read.
    assert!(["1\n1\n", "1\n2\n", "1\n3\n"].contains(&said.as_str()), "{said}");
}

#[test]
fn the_host_files_are_gone() {
    let env = Env::with_tiny();
    let file = env.file("secret", "secret\n");
    let script = format!("ls {} 2>&1 | grep -c 'No such'; ls / | tr '\\n' ' '", file.display());
    let expected = "1\nbin dev etc home proc root run sbin srv sys tmp usr var ";
    assert_eq!(inside(&env, &script), expected);
    // Nothing of the old root hangs in the mount table.
    let mounts = inside(&env, "cat /proc/self/mountinfo");
    let text = env.root.to_string_lossy().into_owned();
    for line in mounts.lines() {
        let point = line.split(' ').nth(4).unwrap();
        assert!(!point.starts_with(&text) && !point.contains("oldroot"), "{line}");
    }
}

#[test]
fn proc_is_masked_and_partly_read_only() {
    let env = Env::with_tiny();
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"]
    {
        if std::path::Path::new(path).exists() {
            assert_eq!(inside(&env, &format!("head -c 10 {path} 2>&1 | wc -c")), "0\n", "{path}");
        }
    }
    for path in ["/proc/acpi", "/proc/scsi", "/sys/firmware"] {
        if std::path::Path::new(path).exists() {
            assert_eq!(inside(&env, &format!("ls -A {path} | wc -l")), "0\n", "{path}");
        }
    }
    for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"] {
        if std::path::Path::new(path).exists() {
            let script =
                format!("awk '{{print $5, $6}}' /proc/self/mountinfo | grep '^{path} ' | grep -c ro,");
            assert_eq!(inside(&env, &script), "1\n", "{path}");
        }
    }
    let said = env.coracle(["run", "--rm", "tiny", "sh", "-c", "echo x > /proc/sys/kernel/hostname"]).code(1);
    said.stderr_has("Read-only");
    assert!(inside(&env, "grep ' /sys ' /proc/mounts").contains(" ro,"));
}

#[test]
fn dev_has_the_usual_nodes_and_no_others() {
    let env = Env::with_tiny();
    let found: BTreeSet<String> = inside(&env, "ls /dev | grep -v core").lines().map(str::to_owned).collect();
    let usual = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    assert_eq!(found, usual.iter().map(|name| (*name).to_owned()).collect());
    let script = "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; \
        echo x > /dev/full; echo $?; stat -c '%a %t:%T' /dev/null; readlink /dev/fd; readlink /dev/ptmx";
    let said = env.coracle(["run", "--rm", "tiny", "sh", "-c", script]).success();
    assert_eq!(said.stdout(), "4\n4\n1\n666 1:3\n/proc/self/fd\npts/ptmx\n");
    let mounts = inside(&env, "cat /proc/mounts");
    for (point, kind) in [
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/proc", "proc"),
    ] {
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(point));
        assert!(line.is_some_and(|line| line.split(' ').nth(2) == Some(kind)), "{point}: {mounts}");
    }
    assert_eq!(inside(&env, "df -k /dev/shm | awk 'NR==2 {print $2}'"), "65536\n");
}

#[test]
fn shared_memory_and_queues_are_private() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sh", "-c", "echo x > /dev/shm/mine; sleep 100"])
        .success();
    assert_eq!(inside(&env, "ls /dev/shm /dev/mqueue | grep -c mine; ls -A /dev/shm"), "0\n");
    let ours: Vec<_> = std::fs::read_dir("/dev/shm").unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!ours.iter().any(|name| name == "mine"), "{ours:?}");
}

#[test]
fn no_capability_reaches_the_host() {
    let env = Env::with_tiny();
    for script in [
        "mount -t proc none /proc",
        "mknod /x b 8 0",
        "dmesg",
        "hostname other",
        "swapon /x",
        "chroot /proc/1/root/.. ls",
        "sysctl -w kernel.panic=1",
    ] {
        let output = env.coracle(["run", "--rm", "--network", "none", "tiny", "sh", "-c", script]);
        if script.starts_with("chroot") {
            // Its own root, whatever it climbs.
            assert!(output.success().stdout().starts_with("bin\n"));
        } else {
            output.code(1);
        }
    }
}

#[test]
fn set_user_id_files_and_ping_work() {
    let env = Env::with_tiny();
    // Not busybox: that gives up what it does not need.
    let script = "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id; setpriv --reuid=1000 /tmp/id -u";
    env.coracle(["run", "--rm", "-q", &image("debian"), "sh", "-c", script]).success().says("0\n");
    // The socket that ping of other systems opens as an ordinary user.
    let ping = "use Socket; socket(S, PF_INET, SOCK_DGRAM, 1) or die $!";
    env.coracle(["run", "--rm", "-u", "1000", &image("debian"), "perl", "-e", ping]).success();
}

#[test]
fn low_ports_are_its_own() {
    let env = Env::with_tiny();
    let script = "httpd -p 80 -h /srv && wget -qO- http://127.0.0.1/hello";
    assert_eq!(inside(&env, script), "hello from tiny\n");
}

#[test]
fn the_cgroup_is_not_the_hosts_tree() {
    let env = Env::with_tiny();
    let shown = inside(&env, "cut -d: -f3 /proc/self/cgroup | sort -u");
    assert_eq!(shown, "/\n");
}

#[test]
fn limits_of_the_caller_are_kept() {
    let env = Env::with_tiny();
    let script =
        format!("ulimit -n 777; {} run --rm tiny sh -c 'ulimit -n'", crate::harness::binary().display());
    env.program("sh", ["-c", &script]).output().success().says("777\n");
}

#[test]
fn signals_and_masks_start_fresh() {
    let env = Env::with_tiny();
    // nohup ignores SIGHUP; a container must not inherit that.
    let script = format!(
        "trap '' HUP INT TERM PIPE USR1; exec {} run --rm tiny grep -E '^Sig(Blk|Ign)' /proc/self/status",
        crate::harness::binary().display()
    );
    let zero = "0".repeat(16);
    env.program("sh", ["-c", &script])
        .output()
        .success()
        .says(&format!("SigBlk:\t{zero}\nSigIgn:\t{zero}\n"));
}

#[test]
fn the_umask_is_dockers() {
    let env = Env::with_tiny();
    let script = format!("umask 077; {} run --rm tiny sh -c umask", crate::harness::binary().display());
    env.program("sh", ["-c", &script]).output().success().says("0022\n");
}

#[test]
fn the_built_in_image_host_is_a_throw_away_copy() {
    let env = Env::new();
    let mark = env.file("home/mark", "mine\n");
    let script =
        format!("cat {0}; echo changed > {0}; rm /etc/hostname; echo x > /etc/new; cat {0}", mark.display());
    env.coracle(["run", "--rm", "--network", "none", "host", "sh", "-c", &script])
        .success()
        .says("mine\nchanged\n");
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "mine\n");
    assert!(std::path::Path::new("/etc/hostname").exists() && !std::path::Path::new("/etc/new").exists());
    // As deep as packages install, and whatever else the host has there.
    let script = "set -e; touch /usr/share/doc/new /var/lib/dpkg/info/new /usr/lib/x86_64-linux-gnu/new; rm -r /usr/share/doc; \
        [ ! -e /usr/share/doc ]; mkdir -p /usr/share/doc/x; sed -i 's/^root:/captain:/' /etc/passwd; head -c 8 /etc/passwd; \
        [ ! -e /var/lib/dpkg/status ] || ln /var/lib/dpkg/status /var/lib/dpkg/linked; df -T / | grep -c tmpfs";
    env.coracle(["run", "--rm", "--network", "none", "host", "sh", "-c", script])
        .success()
        .says("captain:1\n");
    assert!(std::path::Path::new("/usr/share/doc/dpkg").exists());
    // Without --rm the layer is on disk, and there at the next start.
    let script = "[ ! -e /usr/share/doc/dpkg ] || rm -r /usr/share/doc/dpkg; echo x >> /etc/new; wc -l < /etc/new; df -T / | grep -c tmpfs";
    env.coracle(["run", "--name", "kept", "--network", "none", "host", "sh", "-c", script])
        .code(1)
        .says("1\n0\n");
    env.coracle(["start", "-a", "kept"]).code(1).says("2\n0\n");
    // The host's root owns its files, and is nobody in here.
    let said = env.coracle(["run", "--rm", "host", "sh", "-c", "id -u; cat /etc/shadow"]);
    said.code(1).says("0\n").stderr_has("Permission denied");
}

#[test]
fn thirty_two_bit_programs_are_filtered_too() {
    let env = Env::with_tiny();
    // exit(41) by int 0x80, and a forbidden call the same way, as a 120-byte program.
    let file = env.file("home/old", old_program());
    let bind = format!("{}:/old", file.display());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    env.coracle(["run", "--rm", "-v", &bind, "tiny", "/old"]).code(41);
}

/// A 32-bit ELF program: `swapon(0, 0)`, then `exit(40 + (result == -EPERM))`.
fn old_program() -> Vec<u8> {
    let code: &[u8] = &[
        0xb8, 87, 0, 0, 0, // mov eax, 87 (swapon)
        0x31, 0xdb, // xor ebx, ebx
        0x31, 0xc9, // xor ecx, ecx
        0xcd, 0x80, // int 0x80
        0xbb, 40, 0, 0, 0, // mov ebx, 40
        0x83, 0xf8, 0xff, // cmp eax, -1
        0x75, 0x01, // jne +1
        0x43, // inc ebx
        0xb8, 1, 0, 0, 0, // mov eax, 1 (exit)
        0xcd, 0x80, // int 0x80
    ];
    let base = 0x0804_8000u32;
    let size = u32::try_from(84 + code.len()).unwrap();
    let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2u16, 3] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1u32, base + 84, 52, 0, 0] {
        elf.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 40, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1u32, 0, base, base, size, size, 5, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}
