//! `coracle port`.

use crate::harness::{Env, free_port};

#[test]
fn lists_and_finds() {
    let env = Env::with_tiny();
    let (all, one) = (free_port(), free_port());
    let (a, b) = (format!("{all}:80"), format!("127.0.0.1:{one}:81/udp"));
    env.coracle(["run", "-d", "--name", "c1", "-p", &b, "-p", &a, "tiny", "sleep", "1000"]).success();
    let both = format!("0.0.0.0:{all}\n[::]:{all}\n");
    let list = format!("80/tcp -> 0.0.0.0:{all}\n80/tcp -> [::]:{all}\n81/udp -> 127.0.0.1:{one}\n");
    env.coracle(["port", "c1"]).success().says(&list);
    env.coracle(["port", "c1", "80"]).success().says(&both);
    env.coracle(["port", "c1", "80/tcp"]).success().says(&both);
    env.coracle(["port", "c1", "81"]).code(1).stderr_has("No public port '81' published for c1");
    env.coracle(["port", "c1", "xx"]).code(1).stderr_has("invalid port (xx)");
    env.coracle(["kill", "c1"]).success();
    env.coracle(["wait", "c1"]).success();
    env.coracle(["port", "c1"]).success().says("");
}
