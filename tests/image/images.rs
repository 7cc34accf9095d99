//! `coracle images`.

use crate::harness::{Env, image};

#[test]
fn the_table_is_dockers() {
    let env = Env::with_tiny();
    let said = env.coracle(["images"]).success().no_stderr();
    let lines: Vec<Vec<&str>> = said.stdout().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(lines.len(), 3, "{said:?}");
    let rows: Vec<&Vec<&str>> = lines[1..].iter().collect();
    let row = rows.iter().find(|row| row[0] == "tiny").expect("a row for the short name");
    assert_eq!(row[1], "latest");
    let id = env.inspect("tiny", "/Id").as_str().unwrap().to_owned();
    assert_eq!(row[2], &id["sha256:".len()..][..12]);
    assert!(said.stdout().contains(" ago"), "{said:?}");
    assert!(row.last().unwrap().ends_with("MB"), "{said:?}");
    assert!(rows.iter().any(|row| row[0] == image("tiny")), "{said:?}");
}

#[test]
fn can_be_quiet_whole_and_filtered_by_name() {
    let env = Env::with_tiny();
    env.coracle(["tag", "tiny", "other:v1"]).success();
    env.coracle(["tag", "tiny", "other:v2"]).success();
    let id = env.inspect("tiny", "/Id").as_str().unwrap().to_owned();
    let short = format!("{}\n", &id["sha256:".len()..][..12]);
    // One line an image, as docker's unique ids with -q.
    assert!(env.coracle(["images", "-q"]).success().stdout().lines().all(|line| line == short.trim_end()));
    env.coracle(["images", "-q", "--no-trunc", "tiny"]).success().says(&format!("{id}\n"));
    let said = env.coracle(["images", "other"]).success();
    assert_eq!(said.stdout().lines().count(), 3, "{said:?}");
    let said = env.coracle(["images", "other:v2"]).success();
    assert!(said.stdout().lines().count() == 2 && said.stdout().contains("v2"), "{said:?}");
    env.coracle(["images", "-q", "nothing"]).success().says("");
    let said = env.coracle(["images", "--digests", &image("tiny")]).success();
    assert!(said.stdout().contains("DIGEST") && said.stdout().contains("sha256:"), "{said:?}");
    let said = env.coracle(["image", "ls"]).success();
    assert!(said.stdout().starts_with("REPOSITORY"), "{said:?}");
}
