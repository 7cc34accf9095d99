//! `coracle diff`.

use crate::harness::{Env, image};

#[test]
fn added_changed_and_deleted() {
    for driver in ["overlay", "fuse-overlayfs"] {
        let mut env = Env::new();
        env.set_var("CORACLE_STORAGE_DRIVER", driver);
        env.coracle(["pull", "-q", &image("tiny")]).success();
        let script = "echo a >/etc/new; echo x >>/etc/passwd; mkdir -p /a/b; echo >/a/b/f; rm /etc/group; echo x >/etc/hosts";
        env.coracle(["run", "--name", "c1", "-u", "0", &image("tiny"), "sh", "-c", script]).success();
        let said = env.coracle(["diff", "c1"]).success();
        let expected = "A /a\nA /a/b\nA /a/b/f\nC /etc\nD /etc/group\nA /etc/new\nC /etc/passwd\n";
        assert_eq!(said.stdout(), expected, "{driver}");
    }
}

#[test]
fn nothing_at_first_and_while_it_runs() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "--name", "c1", "tiny", "sleep", "1000"]).success();
    env.coracle(["diff", "c1"]).success().says("");
    env.coracle(["exec", "-u", "0", "c1", "touch", "/new"]).success();
    env.coracle(["container", "diff", "c1"]).success().says("A /new\n");
    env.coracle(["diff", "nobody"]).code(1).stderr_has("No such container: nobody");
    env.coracle(["diff"]).code(1).stderr_has("requires 1 argument");
}
