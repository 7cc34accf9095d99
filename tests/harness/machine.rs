//! The machine below the tests: users, and what is left of processes, mounts and files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid};

/// Whom coracle runs as.
#[derive(Debug, Clone)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user made for the tests when they run as root; else whoever runs them.
    pub fn unprivileged() -> User {
        if !Uid::effective().is_root() {
            return User::current();
        }
        let name = std::env::var("CORACLE_TEST_USER").unwrap_or_else(|_| "boat".to_owned());
        User::named(&name).unwrap_or_else(|| panic!("no user {name}: start the tests with tests/run"))
    }

    pub fn current() -> User {
        User { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    /// Asked of a program: a static binary must not load the C library's plug-ins for names.
    pub fn named(name: &str) -> Option<User> {
        let ask = |flag: &str| {
            let said =
                Command::new("id").arg(flag).arg(name).stderr(Stdio::null()).output().expect("id runs");
            String::from_utf8_lossy(&said.stdout).trim().parse::<u32>().ok()
        };
        Some(User { uid: ask("-u")?, gid: ask("-g")? })
    }

    /// Root, for tests that need it; tests/run leaves them out, and says so, when it is not root.
    pub fn root() -> User {
        needs_root();
        User { uid: 0, gid: 0 }
    }

    pub fn is_current(&self) -> bool {
        Uid::effective().as_raw() == self.uid
    }

    /// Gives `path` to this user.
    pub fn own(&self, path: &Path) {
        if !self.is_current() {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            nix::unistd::chown(path, Some(uid), Some(gid)).expect("root gives files away");
        }
    }
}

/// Ends a test that only root can run.
pub fn needs_root() {
    assert!(Uid::effective().is_root(), "this test needs root");
}

/// Holds every process of one test, so that none gets away unseen: a control group where one can
/// be made, else the processes whose environment or command line names the test's folder.
pub struct Pen {
    group: Option<PathBuf>,
}

impl Pen {
    pub fn new(name: &str) -> Pen {
        let group = unified_group().map(|parent| parent.join(name));
        Pen { group: group.filter(|group| fs::create_dir(group).is_ok()) }
    }

    /// What a process writes its pid to in order to be held.
    pub fn entrance(&self) -> Option<PathBuf> {
        self.group.as_ref().map(|group| group.join("cgroup.procs"))
    }

    pub fn processes(&self, root: &Path) -> Vec<i32> {
        match &self.group {
            Some(group) => {
                let groups = [vec![group.clone()], self.below()].concat();
                let read =
                    |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                let text: String = groups.iter().map(read).collect();
                text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| !is_zombie(*pid)).collect()
            }
            None => all_processes().into_iter().filter(|pid| names(*pid, root) && !is_zombie(*pid)).collect(),
        }
    }

    pub fn kill(&self, root: &Path) {
        match &self.group {
            Some(group) => {
                let _ = fs::write(group.join("cgroup.kill"), "1");
            }
            None => {
                for pid in self.processes(root) {
                    kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
            }
        }
    }

    /// Gives the control group to the user, as systemd delegates one; false where there is none.
    pub fn delegate(&self, user: &User) -> bool {
        let Some(group) = &self.group else { return false };
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            user.own(&group.join(file));
        }
        true
    }

    /// The control groups that were made in it, the lowest first.
    pub fn below(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        if let Some(group) = &self.group {
            walk(group, &mut |path| found.extend(path.is_dir().then(|| path.to_owned())));
        }
        found.reverse();
        found
    }

    pub fn remove(&self) {
        for group in self.below() {
            let _ = fs::remove_dir(group);
        }
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}

/// This process' own group in the cgroup v2 hierarchy, when groups can be made in it.
fn unified_group() -> Option<PathBuf> {
    if !Uid::effective().is_root() {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let point = line.split(' ').nth(4)?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(point).join(own))
}

fn all_processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn names(pid: i32, root: &Path) -> bool {
    let root = root.to_str().expect("a plain path").as_bytes();
    ["environ", "cmdline"].iter().any(|file| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(root.len()).any(|window| window == root)
    })
}

fn stat(pid: i32) -> Option<(String, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(") ")?;
    Some((head.split_once('(')?.1.to_owned(), tail.chars().next()?))
}

fn is_zombie(pid: i32) -> bool {
    stat(pid).is_none_or(|(_, state)| state == 'Z' || state == 'X')
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The holder of the user's mapped namespace.
pub fn is_home(pid: i32) -> bool {
    command_line(pid).split(' ').nth(1) == Some("__home")
}

pub fn describe(pid: i32) -> String {
    let state = stat(pid).map_or_else(|| "gone".to_owned(), |(name, state)| format!("{name} {state}"));
    let parent = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = parent.lines().find(|line| line.starts_with("PPid")).unwrap_or_default().replace('\t', " ");
    format!("{pid} ({state}, {parent}): {}", command_line(pid))
}

pub fn alive(pid: i32) -> bool {
    !is_zombie(pid)
}

pub fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Mount points of the host below `folder`.
pub fn mounts_below(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect()
}

/// Calls `visit` for everything below `folder`, links not followed; what cannot be read is skipped.
pub fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        visit(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, visit);
        }
    }
}

/// Removes a test's folder with the files of subordinate ids in it.
pub fn remove_tree(folder: &Path, user: &User) {
    if fs::remove_dir_all(folder).is_ok() {
        return;
    }
    assert_eq!(user.uid, Uid::effective().as_raw(), "root can remove {}", folder.display());
    let script = "chmod -R u+rwx \"$0\"; rm -rf \"$0\"";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "sh", "-c", script])
        .arg(folder)
        .stdin(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cannot remove {}", folder.display());
}

/// Copies a program to where any user can run it; the copy is removed by the next run's start.
pub fn world_readable_copy(program: &Path) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("coracle-bin-{}", std::process::id()));
    for old in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("coracle-bin-").and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| !alive(pid)) {
            let _ = fs::remove_dir_all(old.path());
        }
    }
    fs::create_dir_all(&folder).expect("a folder for the binary");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("its mode");
    let copy = folder.join("coracle");
    fs::copy(program, &copy).unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("its mode");
    copy
}
