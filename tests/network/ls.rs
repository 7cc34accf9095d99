//! `coracle network ls`.

use crate::harness::Env;

#[test]
fn the_built_in_networks() {
    let env = Env::new();
    let said = env.coracle(["network", "ls"]).success();
    let rows: Vec<Vec<&str>> = said.stdout().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]);
    let rows: Vec<String> = rows[1..].iter().map(|row| row[1..].join(" ")).collect();
    assert_eq!(
        rows,
        ["host host local", "none null local", "pasta pasta local", "slirp4netns slirp4netns local"]
    );
    let ids = env.coracle(["network", "ls", "-q", "--no-trunc"]).success().stdout().to_owned();
    assert!(ids.lines().count() == 4 && ids.lines().all(|id| id.len() == 64), "{ids}");
    let short = env.coracle(["network", "list", "-q"]).success().stdout().to_owned();
    assert!(short.lines().zip(ids.lines()).all(|(short, id)| short.len() == 12 && id.starts_with(short)));
}

#[test]
fn filters_and_formats() {
    let env = Env::new();
    let names = |filter: &str| {
        let said = env.coracle(["network", "ls", "-f", filter, "--format", "{{.Name}}"]).success();
        said.stdout().lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("name=o"), "host none");
    assert_eq!(names("driver=null"), "none");
    assert_eq!(names("driver=bridge"), "");
    assert_eq!(names("dangling=true"), "");
    let id = env.coracle(["network", "ls", "-q", "-f", "name=host"]).success().line().to_owned();
    assert_eq!(names(&format!("id={id}")), "host");
    env.coracle(["network", "ls", "-f", "nope=1"]).code(1).stderr_has("invalid filter 'nope'");
    env.coracle(["network", "ls", "-f", "dangling=x"]).code(1).stderr_has("must be \"true\" (or \"1\")");
    let json = env.coracle(["network", "ls", "-f", "name=none", "--format", "json"]).success();
    let row: serde_json::Value = serde_json::from_str(json.stdout()).unwrap();
    assert_eq!((row["Driver"].as_str(), row["IPv4"].as_str()), (Some("null"), Some("true")));
}

#[test]
fn what_needs_networks_of_ones_own_is_refused_by_name() {
    let env = Env::new();
    for verb in ["create", "rm", "connect", "disconnect", "prune"] {
        env.coracle(["network", verb, "x"])
            .code(1)
            .stderr_has(&format!("coracle: 'network {verb}' is not supported yet"));
    }
}
