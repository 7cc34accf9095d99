//! `coracle man`: pages that the programs which read pages accept.

use std::fs;
use std::path::PathBuf;

use crate::harness::Env;

fn pages(env: &Env) -> Vec<PathBuf> {
    let folder = env.folder("man", 0o755).join("man1");
    env.coracle(["man", folder.to_str().unwrap()]).success().no_stdout();
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 50, "{pages:?}");
    pages
}

/// A page may say no date: it would be the one of its printing.
fn complaints(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("missing date")).collect()
}

#[test]
fn mandoc_and_groff_find_no_fault() {
    let env = Env::new();
    let pages = pages(&env);
    let own: Vec<&str> =
        pages.iter().filter(|page| !page.is_symlink()).map(|page| page.to_str().unwrap()).collect();
    let said = env.program("mandoc", [&["-Tlint"], &own[..]].concat()).output().parts();
    assert_eq!(complaints(&said.0), [""; 0], "{}", said.1);
    let said = env.program("groff", [&["-man", "-Tutf8", "-ww"], &own[..]].concat()).output().success();
    assert_eq!(said.stderr(), "");
}

#[test]
fn man_finds_each_command_by_its_names() {
    let env = Env::new();
    pages(&env);
    let path = env.root.join("man");
    for name in ["coracle", "coracle-run", "coracle-container-ls", "coracle-image-remove", "coracle-network"]
    {
        let said = env.program("man", ["-M", path.to_str().unwrap(), "-P", "cat", name]).output().success();
        assert!(said.stdout().contains("NAME") && said.stdout().contains("SEE ALSO"), "{name}");
    }
    let ps = env.program("man", ["-M", path.to_str().unwrap(), "-P", "cat", "coracle-ps"]).output().success();
    for part in ["coracle container list [OPTIONS]", "-f, --filter filter", "EXIT STATUS", "EXAMPLES"] {
        assert!(ps.stdout().contains(part), "{part}\n{}", ps.stdout());
    }
}
