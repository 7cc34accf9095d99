//! `coracle info`.

use crate::harness::Env;

#[test]
fn counts_and_names_what_is_used() {
    let env = Env::with_tiny();
    env.coracle(["run", "-d", "tiny", "sleep", "100"]).success();
    env.coracle(["create", "tiny"]).success();
    let said = env.coracle(["info"]).success();
    let line = |key: &str| {
        let found = said.stdout().lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no {key}: {said:?}")).trim().to_owned()
    };
    assert_eq!(line("Containers"), "2");
    assert_eq!(line("Running"), "1");
    assert_eq!(line("Images"), "1");
    assert_eq!(line("Storage Driver"), "overlay");
    assert!(said.stdout().contains("rootless"), "{said:?}");
    assert_eq!(line("CPUs"), std::thread::available_parallelism().unwrap().to_string());
}

#[test]
fn shows_a_forced_driver() {
    let mut env = Env::new();
    env.set_var("CORACLE_STORAGE_DRIVER", "fuse-overlayfs");
    env.coracle(["info"]).success().stdout_has("fuse-overlayfs");
    env.set_var("CORACLE_STORAGE_DRIVER", "nosuch");
    env.coracle(["info"]).code(1).stderr_has("nosuch").stderr_has("CORACLE_STORAGE_DRIVER");
    env.unset_var("CORACLE_STORAGE_DRIVER");
}
