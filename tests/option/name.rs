//! `--name`, random names, ids and their prefixes.

use crate::harness::Env;

#[test]
fn a_name_is_taken_once() {
    let env = Env::with_tiny();
    let id = env.coracle(["create", "--name", "c1", "tiny"]).success().line().to_owned();
    let said = env.coracle(["run", "--name", "c1", "tiny", "true"]).code(125).no_stdout();
    let said = said.stderr_has("already in use").stderr_has(&id[..12]);
    assert!(said.stderr().contains("\"/c1\""), "{said:?}");
    env.coracle(["rm", "c1"]).success();
    env.coracle(["create", "--name", "c1", "tiny"]).success();
}

#[test]
fn random_names_are_dockers() {
    let env = Env::with_tiny();
    let names: Vec<String> = (0..5)
        .map(|_| {
            let id = env.coracle(["create", "tiny"]).success().line().to_owned();
            env.inspect(&id, "/Name").as_str().unwrap().to_owned()
        })
        .collect();
    for name in &names {
        let (adjective, surname) =
            name.strip_prefix('/').unwrap().split_once('_').expect("adjective_surname");
        assert!(adjective.chars().chain(surname.chars()).all(|c| c.is_ascii_lowercase()), "{name}");
    }
    assert!(names.iter().any(|name| *name != names[0]), "always {}", names[0]);
}

#[test]
fn names_are_checked() {
    let env = Env::with_tiny();
    for name in ["", "a", "-a", "a b", "a/b", "../a", "\u{fc}"] {
        let output = env.coracle(["create", &format!("--name={name}"), "tiny"]);
        if name.is_empty() {
            // As docker: an empty name is none.
            output.success();
        } else {
            output.code(1).no_stdout().stderr_has("name");
        }
    }
    for name in ["ab", "A.b_c-1", "00"] {
        env.coracle(["create", "--name", name, "tiny"]).success();
    }
}

#[test]
fn prefixes_find_one_or_complain() {
    let env = Env::with_tiny();
    let id = env.coracle(["create", "--name", "web", "tiny"]).success().line().to_owned();
    for reference in [&id, &id[..12], &id[..4], "web", "/web"] {
        assert_eq!(env.inspect(reference, "/Id"), id.as_str(), "{reference}");
    }
    // A name wins over the prefix of another's id.
    let other = env.coracle(["create", "--name", &id[..3], "tiny"]).success().line().to_owned();
    assert_eq!(env.inspect(&id[..3], "/Id"), other.as_str());
    env.coracle(["rm", "we"]).code(1).stderr_has("No such container: we");
}
