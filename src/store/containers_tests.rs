//! Tests of `containers`.

use super::*;
use crate::spec::container::{ImageUse, Options, ProcessSpec, RECORD_VERSION, Status};

fn record(byte: u8) -> ContainerRecord {
    ContainerRecord {
        version: RECORD_VERSION,
        id: ContainerId::from_bytes([byte; 32]),
        created: "2026-01-01T00:00:00.000000000Z".into(),
        image: ImageUse::Host,
        process: ProcessSpec {
            argv: vec!["true".into()],
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            tty: false,
            open_stdin: false,
        },
        options: Options::default(),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = Store::open(dir.path().join("store"));
    (dir, store)
}

#[test]
fn health_is_told_of_the_run_it_is_about() {
    use crate::spec::health::{Config, Outcome, Record, Status as Health, VERSION};
    let (_dir, store) = store();
    let mut checked = record(1);
    checked.options.health = Some(Config { test: vec!["CMD".into(), "true".into()], ..Config::default() });
    store.create_container(&checked, "one", false).expect("created");
    store.create_container(&record(2), "two", false).expect("created");
    let outcome = Outcome { start: "s".into(), end: "e".into(), exit_code: 0, output: String::new() };
    let mut found = Record {
        version: VERSION,
        run: "then".into(),
        status: Health::Healthy,
        failing_streak: 0,
        log: vec![outcome],
    };
    let health = |name: &str| store.find_container(name).expect("there").health;
    assert_eq!(health("one"), None);
    let mut held = Vec::new();
    for id in [checked.id.clone(), record(2).id] {
        store.write_health(&id, &found).expect("written");
        let hold = store.hold_container(&id).expect("free");
        let state =
            ContainerState { status: Status::Running, started_at: "now".into(), ..ContainerState::created() };
        hold.write_state(&state, false).expect("written");
        held.push(hold);
    }
    assert_eq!(health("two"), None, "it has no check");
    let anew = health("one").expect("checked");
    assert_eq!((anew.status, anew.log.len()), (Health::Starting, 1));
    found.run = "now".into();
    store.write_health(&checked.id, &found).expect("written");
    assert_eq!(health("one").expect("checked").status, Health::Healthy);
    std::fs::write(store.container_dir(&checked.id).join("health.json"), "{\"torn").expect("written");
    assert_eq!(health("one").expect("checked").status, Health::Starting);
}

#[test]
fn made_found_and_removed() {
    let (_dir, store) = store();
    store.create_container(&record(1), "one", false).expect("created");
    store.create_container(&record(0x12), "two", false).expect("created");
    assert_eq!(store.containers().expect("list").len(), 2);
    assert_eq!(store.find_container("one").expect("by name").name, "one");
    assert_eq!(store.find_container("12").expect("by prefix").name, "two");
    assert!(matches!(store.find_container("nope"), Err(Error::NoSuch(_))));
    let taken = store.create_container(&record(3), "one", false);
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    assert_eq!(store.containers().expect("list").len(), 2);
    let held = store.hold_container(&record(1).id).expect("held");
    drop(store.withdraw_container(&held).expect("gone"));
    assert!(matches!(store.find_container("one"), Err(Error::NoSuch(_))));
    store.create_container(&record(3), "one", false).expect("the name is free again");
}

#[test]
fn a_name_whose_creator_died_is_free() {
    let (_dir, store) = store();
    std::fs::create_dir_all(store.names_dir()).expect("names");
    let dead = format!("{} 00000000deadbeef", ContainerId::from_bytes([9; 32]));
    std::fs::write(store.names_dir().join("ghost"), dead).expect("claim");
    store.create_container(&record(1), "ghost", false).expect("created");
}

#[test]
fn a_removal_that_was_cut_short_leaves_no_name_stuck() {
    let (_dir, store) = store();
    store.create_container(&record(1), "one", false).expect("created");
    // What a removal does first; it is killed before the name.
    std::fs::remove_dir_all(store.container_dir(&record(1).id)).expect("gone");
    assert!(matches!(store.find_container("one"), Err(Error::NoSuch(_))));
    store.create_container(&record(2), "one", false).expect("the name is free");
    // One that was only slow does not take the name from its new holder.
    store.free_name("one", &record(1).id).expect("nothing to do");
    assert_eq!(store.find_container("one").expect("found").record.id, record(2).id);
}

#[test]
fn running_is_believed_while_the_lock_is_held() {
    let (_dir, store) = store();
    let record = record(1);
    store.create_container(&record, "one", false).expect("created");
    assert_eq!(store.find_container("one").expect("found").state.status, Status::Created);
    let held = store.hold_container(&record.id).expect("held");
    let state = ContainerState { status: Status::Running, pid: 7, ..ContainerState::created() };
    held.write_state(&state, false).expect("written");
    assert!(store.find_container("one").expect("found").is_running());
    assert!(matches!(store.hold_container(&record.id), Err(Error::Busy(_))));
    drop(held);
    let state = store.find_container("one").expect("found").state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, 255));
}

#[test]
fn changes_that_cannot_be_read_are_not_taken_for_none() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = Store::open(dir.path().join("store"));
    let record = record(1);
    store.create_container(&record, "one", false).expect("created");
    assert!(store.container(&record.id).is_ok());
    std::fs::create_dir(store.container_dir(&record.id).join("updated.json")).expect("made");
    assert!(matches!(store.container(&record.id), Err(Error::BadRecord { .. })));
}
