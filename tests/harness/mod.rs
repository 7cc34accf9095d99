//! What every integration test stands on: a home folder of its own, the built binary run in it as
//! the unprivileged user, and the proof at the end that nothing of it is left on the machine.

pub mod answers;
pub mod cases;
pub mod engine;
pub mod fake_registry;
pub mod invocation;
pub mod machine;
pub mod registry;
pub mod tar;
pub mod terminal;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use invocation::{Invocation, Output};
pub use registry::image;
pub use terminal::Terminal;

use machine::{Pen, User};

/// How long a command may take unless the test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long what was removed may take to be gone.
const TEARDOWN: Duration = Duration::from_secs(10);

/// A user's world: HOME, runtime folder, store and every process started in it.
pub struct Env {
    /// Holds everything; its name is short, for socket paths below it have 108 bytes.
    pub root: PathBuf,
    pub user: User,
    pen: Pen,
    vars: Vec<(String, String)>,
}

impl Env {
    pub fn new() -> Env {
        Env::of(User::unprivileged())
    }

    /// The world of another user, for instance root or one without subordinate ids.
    pub fn of(user: User) -> Env {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var("CORACLE_TEST_TMP").unwrap_or_else(|_| "/var/tmp".to_owned());
        let name = format!("ct{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = Path::new(&base).join(&name);
        fs::create_dir(&root).expect("a folder for the test");
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let mut env = Env { root, user, pen: Pen::new(&name), vars: Vec::new() };
        for (key, folder) in [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")] {
            let folder = env.folder(folder, 0o700);
            env.set_var(key, &folder.to_string_lossy());
        }
        env.set_var("XDG_DATA_HOME", &env.root.join("home/data").to_string_lossy());
        for (key, value) in [("PATH", path), ("LANG", "C.UTF-8"), ("TZ", "UTC")] {
            env.set_var(key, value);
        }
        for key in ["CORACLE_STORAGE_DRIVER"] {
            if let Ok(value) = std::env::var(key) {
                env.set_var(key, &value);
            }
        }
        env
    }

    /// With the small image pulled.
    pub fn with_tiny() -> Env {
        let env = Env::new();
        env.coracle(["pull", "-q", &image("tiny")]).success();
        env.coracle(["tag", &image("tiny"), "tiny"]).success();
        env
    }

    /// With the small image, and a control group that is delegated to the user, which takes root.
    pub fn delegated() -> Env {
        machine::needs_root();
        let env = Env::with_tiny();
        assert!(env.pen.delegate(&env.user), "this test needs cgroup v2, mounted to be written to");
        env
    }

    /// The control groups that containers have.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        self.pen.below()
    }

    /// Every later command sees `key` with this value.
    pub fn set_var(&mut self, key: &str, value: &str) {
        self.unset_var(key);
        self.vars.push((key.to_owned(), value.to_owned()));
    }

    pub fn unset_var(&mut self, key: &str) {
        self.vars.retain(|(known, _)| known != key);
    }

    /// `coracle ARGS` in this world, to be started.
    pub fn command<I, S>(&self, args: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.program(binary(), args)
    }

    /// Any program in this world, as its user.
    pub fn program<I, S>(&self, program: impl AsRef<OsStr>, args: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut argv = vec![program.as_ref().to_owned()];
        argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Invocation::new(&self.user, &self.pen, &self.vars, argv, &self.root)
    }

    /// Runs `coracle ARGS` to its end.
    pub fn coracle<I, S>(&self, args: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command(args).output()
    }

    /// `coracle ARGS` on a real pseudo-terminal of 24 rows and 80 columns.
    pub fn terminal<I, S>(&self, args: I) -> Terminal
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Terminal::start(self.command(args))
    }

    /// A file of the user's, below the test's folder.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(name);
        fs::write(&path, contents).expect("a file for the test");
        self.user.own(&path);
        path
    }

    /// A folder of the user's, below the test's folder.
    pub fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).expect("a folder for the test");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        self.user.own(&path);
        path
    }

    /// The store, where `XDG_DATA_HOME` puts it.
    pub fn store(&self) -> PathBuf {
        self.root.join("home/data/coracle")
    }

    /// A field of `inspect`, by JSON pointer.
    pub fn inspect(&self, name: &str, pointer: &str) -> serde_json::Value {
        let output = self.coracle(["inspect", name]).success();
        let parsed: serde_json::Value = serde_json::from_str(output.stdout()).expect("inspect prints JSON");
        parsed[0].pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {parsed:#}")).clone()
    }

    /// Waits until a line with `text` is in the container's log.
    pub fn wait_for_log(&self, name: &str, text: &str) {
        let said = || {
            let log = self.coracle(["logs", name]).success();
            log.stdout().contains(text) || log.stderr().contains(text)
        };
        assert!(
            eventually(PATIENCE, said),
            "{name} never wrote {text:?}: {:?}",
            self.coracle(["logs", name])
        );
    }

    /// The state `ps` and `inspect` give: `running`, `exited`, `created`.
    pub fn status(&self, name: &str) -> String {
        self.inspect(name, "/State/Status").as_str().expect("a word").to_owned()
    }

    /// The host pid of a running container's first process.
    pub fn pid(&self, name: &str) -> i32 {
        let pid = self.inspect(name, "/State/Pid").as_i64().expect("a number");
        assert!(pid > 1, "{name} has no process");
        i32::try_from(pid).expect("a pid")
    }

    /// The host pids of everything that was started in this world and still is there.
    pub fn processes(&self) -> Vec<i32> {
        self.pen.processes(&self.root)
    }

    /// Ends every process of this world at once, as a power cut would.
    pub fn kill_all(&self) {
        self.pen.kill(&self.root);
        assert!(eventually(TEARDOWN, || self.processes().is_empty()), "processes survive SIGKILL");
    }

    /// Files below `folder`, relative, sorted: what a failed operation must leave as it was.
    /// Folders for staging may be there, empty.
    pub fn listing(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        machine::walk(folder, &mut |path| {
            if !path.is_dir() || path.is_symlink() {
                found.push(path.strip_prefix(folder).expect("below").display().to_string());
            }
        });
        found.sort();
        found
    }

    /// Removes all containers and proves that neither a process nor a mount is left.
    fn verify_clean(&self) {
        let left = self.coracle(["ps", "-aq"]).success();
        let names: Vec<&str> = left.stdout().split_whitespace().collect();
        if !names.is_empty() {
            self.coracle(["rm", "-f"].into_iter().chain(names)).success();
        }
        // The holder of the user's namespace outlives commands by design, until it was idle for a while.
        let strangers =
            || self.processes().into_iter().filter(|pid| !machine::is_home(*pid)).collect::<Vec<_>>();
        let gone = eventually(TEARDOWN, || strangers().is_empty());
        let told: Vec<String> = strangers().into_iter().map(machine::describe).collect();
        assert!(gone, "processes are left after the last container: {told:#?}");
        assert!(eventually(TEARDOWN, || self.cgroups().is_empty()), "cgroups are left: {:?}", self.cgroups());
        let mounts = machine::mounts_below(&self.root);
        assert!(mounts.is_empty(), "mounts are left on the host: {mounts:#?}");
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed && std::env::var_os("CORACLE_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.root.display());
            return;
        }
        // The folder goes in any case; only then may this test fail for what it left.
        let verdict = if failed { Ok(()) } else { catch_unwind(AssertUnwindSafe(|| self.verify_clean())) };
        self.pen.kill(&self.root);
        eventually(TEARDOWN, || self.processes().is_empty());
        self.pen.remove();
        machine::remove_tree(&self.root, &self.user);
        if let Err(panic) = verdict {
            resume_unwind(panic);
        }
    }
}

/// The binary under test, where the unprivileged user can run it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = std::env::var("CORACLE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_coracle").to_owned());
        machine::world_readable_copy(Path::new(&built))
    })
}

/// Whether `holds` becomes true in time; asks every few milliseconds.
pub fn eventually(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A TCP port of the host that nobody listens on.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its number").port()
}
