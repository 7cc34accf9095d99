//! Containers for the unit tests of this folder.

use crate::spec::container::{
    ContainerRecord, ContainerState, ImageUse, Options, ProcessSpec, RECORD_VERSION, STATE_VERSION, Status,
};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::id::ContainerId;
use crate::spec::update::Updated;
use crate::store::containers::Container;

pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &[byte; 32])
}

pub fn container(name: &str, created: &str, status: Status) -> Container {
    let running = status == Status::Running;
    let record = ContainerRecord {
        version: RECORD_VERSION,
        id: ContainerId::from_bytes([0x1a; 32]),
        created: created.to_owned(),
        image: ImageUse::Stored { reference: "redis".into(), id: digest(2), layers: vec![digest(3)] },
        process: ProcessSpec {
            argv: vec!["redis-server".into(), "--port".into(), "1".into()],
            env: vec!["PATH=/bin".into(), "HOSTNAME=1a1a1a1a1a1a".into()],
            cwd: "/data".into(),
            user: "redis".into(),
            tty: false,
            open_stdin: false,
        },
        options: Options {
            hostname: "1a1a1a1a1a1a".into(),
            stop_signal: 15,
            working_dir: "/data".into(),
            env: vec!["PATH=/bin".into()],
            cmd: Some(vec!["redis-server".into(), "--port".into(), "1".into()]),
            ..Options::default()
        },
    };
    let state = ContainerState {
        restart_count: 0,
        version: STATE_VERSION,
        status,
        pid: if running { 4711 } else { 0 },
        pid_start_time: 1,
        boot_id: "b".into(),
        monitor_pid: if running { 4710 } else { 0 },
        started_at: if status == Status::Created { String::new() } else { "2026-01-01T00:00:05Z".into() },
        finished_at: if status == Status::Exited { "2026-01-01T00:00:09Z".into() } else { String::new() },
        exit_code: 0,
        error: String::new(),
        ports: Vec::new(),
        network: String::new(),
        driver: "overlay".into(),
        lost: Vec::new(),
        cgroup: String::new(),
    };
    Container { record, name: name.to_owned(), state, health: None, updated: Updated::default() }
}
