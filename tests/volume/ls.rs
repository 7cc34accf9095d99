//! `coracle volume ls` and `volume inspect`, which find nothing; the other verbs come later.

use crate::harness::Env;

#[test]
fn there_are_none() {
    let env = Env::new();
    env.coracle(["volume", "ls"]).success().says("DRIVER    VOLUME NAME\n");
    env.coracle(["volume", "list", "-q"]).success().says("");
    env.coracle(["volume", "ls", "--format", "json"]).success().says("");
    let table = "table {{.Name}}\\t{{.Mountpoint}}";
    env.coracle(["volume", "ls", "--format", table]).success().says("VOLUME NAME   MOUNTPOINT\n");
    env.coracle(["volume", "ls", "-f", "dangling=true", "-f", "name=x"]).success();
    env.coracle(["volume", "ls", "-f", "nope=1"]).code(1).stderr_has("invalid filter 'nope'");
    env.coracle(["volume", "ls", "-f", "dangling=x"]).code(1).stderr_has("invalid filter 'dangling=[x]'");
    env.coracle(["volume", "inspect", "x"]).code(1).says("[]\n").stderr_has("get x: no such volume");
}

#[test]
fn what_needs_volumes_is_refused_by_name() {
    let env = Env::new();
    for verb in ["create", "rm", "prune"] {
        env.coracle(["volume", verb, "x"])
            .code(1)
            .stderr_has(&format!("coracle: 'volume {verb}' is not supported yet"));
    }
}
