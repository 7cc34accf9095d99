//! Tests of the plan: docker's rules of merging, case by case.

use super::*;
use crate::engine::container::sample::digest;

fn image(config: RunConfig) -> ImageView {
    ImageView::Stored {
        reference: "redis".into(),
        id: digest(1),
        layers: vec![digest(2)],
        config: Box::new(config),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Changes as `-e` gives them, to a caller without variables.
fn changes(text: &str) -> Vec<EnvChange> {
    text.split_whitespace().map(|word| env::parse(word, |_| None).unwrap()).collect()
}

/// An image with every field that a request may replace.
fn full() -> RunConfig {
    RunConfig {
        user: "redis".into(),
        env: Some(words("A=1 PATH=/bin")),
        entrypoint: Some(words("entry -e")),
        cmd: Some(words("serve --port 1")),
        working_dir: "/data".into(),
        exposed_ports: Some(BTreeMap::from([("6379/tcp".into(), serde_json::Value::Null)])),
        volumes: Some(BTreeMap::from([("/data".into(), serde_json::Value::Null)])),
        labels: Some(BTreeMap::from([("x".into(), "y".into()), ("z".into(), "image".into())])),
        stop_signal: Some("SIGQUIT".into()),
        ..RunConfig::default()
    }
}

fn planned(request: &Request, image: &ImageView) -> Result<ContainerRecord, Error> {
    let id = ContainerId::from_bytes([0xab; 32]);
    plan(request, image, id, "2026-01-01T00:00:00Z".into(), "boat")
}

fn record(request: &Request) -> ContainerRecord {
    planned(request, &image(full())).unwrap()
}

#[test]
fn the_image_decides_what_nobody_asked_for() {
    let record = record(&Request::default());
    assert_eq!(record.process.argv, words("entry -e serve --port 1"));
    assert_eq!(record.process.env, words("PATH=/bin HOSTNAME=abababababab A=1"));
    assert_eq!((record.process.cwd.as_str(), record.process.user.as_str()), ("/data", "redis"));
    assert_eq!(record.options.stop_signal, 3);
    assert_eq!(record.options.stop_signal_name.as_deref(), Some("SIGQUIT"));
    assert_eq!(record.options.exposed_ports, ["6379/tcp"]);
    assert_eq!(record.options.volumes, ["/data"]);
    assert_eq!(record.options.hostname, "abababababab");
}

#[test]
fn entry_point_and_command() {
    // Request's entry point and command, image's entry point and command, what is executed.
    let cases = [
        (None, "", "entry -e", "serve", Some("entry -e serve")),
        (None, "other x", "entry -e", "serve", Some("entry -e other x")),
        (Some("/x"), "", "entry", "serve", Some("/x")),
        (Some("/x"), "a b", "entry", "serve", Some("/x a b")),
        (Some(""), "a b", "entry", "serve", Some("a b")),
        (Some(""), "", "entry", "serve", None),
        (None, "", "", "serve", Some("serve")),
        (None, "", "entry", "", Some("entry")),
        (None, "", "", "", None),
        (Some("[\"a\",\"b\"]"), "", "", "", Some("[\"a\",\"b\"]")),
    ];
    for (own_entry, own_command, entry, command, executed) in cases {
        let config =
            RunConfig { entrypoint: Some(words(entry)), cmd: Some(words(command)), ..RunConfig::default() };
        let request = Request {
            entrypoint: own_entry.map(str::to_owned),
            command: words(own_command),
            ..Request::default()
        };
        let argv = planned(&request, &image(config)).map(|record| record.process.argv.join(" ")).ok();
        assert_eq!(argv.as_deref(), executed, "{own_entry:?} {own_command:?} {entry:?} {command:?}");
    }
}

#[test]
fn what_inspect_shows_of_the_command() {
    let replaced = Request { entrypoint: Some("/x".into()), ..Request::default() };
    let options = record(&replaced).options;
    assert_eq!((options.entrypoint, options.cmd), (Some(words("/x")), None));
    let cleared = Request { entrypoint: Some(String::new()), command: words("y"), ..Request::default() };
    let options = record(&cleared).options;
    assert_eq!((options.entrypoint, options.cmd), (None, Some(words("y"))));
}

#[test]
fn nothing_to_execute_is_an_error() {
    let error = planned(&Request::default(), &image(RunConfig::default())).unwrap_err();
    assert!(matches!(error, Error::NoCommand));
}

#[test]
fn environments_merge_as_dockers() {
    // -e, the image's, the process's (without PATH and HOSTNAME unless changed), inspect's.
    let cases = [
        ("A=2 Z=", "A=1 PATH=/bin", "PATH=/bin HOSTNAME=abababababab A=2 Z=", "A=2 Z= PATH=/bin"),
        ("A", "A=1 PATH=/bin", "PATH=/bin HOSTNAME=abababababab", "A PATH=/bin"),
        ("PATH", "PATH=/bin", "HOSTNAME=abababababab", "PATH"),
        ("A=1 A=2", "", &format!("PATH={DEFAULT_PATH} HOSTNAME=abababababab A=2"), "A=1 A=2"),
        ("HOSTNAME=x", "PATH=/bin", "PATH=/bin HOSTNAME=x", "HOSTNAME=x PATH=/bin"),
        ("A=b=c", "PATH=/bin", "PATH=/bin HOSTNAME=abababababab A=b=c", "A=b=c PATH=/bin"),
    ];
    for (own, image_env, process, shown) in cases {
        let config = RunConfig { env: Some(words(image_env)), ..full() };
        let request = Request { env: changes(own), ..Request::default() };
        let record = planned(&request, &image(config)).unwrap();
        assert_eq!(record.process.env, words(process), "{own}");
        assert_eq!(record.options.env, words(shown), "{own}");
    }
}

#[test]
fn a_terminal_has_a_type() {
    let request = Request { tty: true, ..Request::default() };
    assert_eq!(record(&request).process.env, words("PATH=/bin HOSTNAME=abababababab TERM=xterm A=1"));
    let request = Request { tty: true, env: changes("TERM=vt100"), ..Request::default() };
    assert_eq!(record(&request).process.env[2], "TERM=vt100");
}

#[test]
fn host_names() {
    let cases = [
        (None, NetworkMode::Default, "abababababab"),
        (None, NetworkMode::Host, "boat"),
        (Some(""), NetworkMode::None, "abababababab"),
        (Some("hh.example.org"), NetworkMode::Host, "hh.example.org"),
    ];
    for (own, network, expected) in cases {
        let request = Request { hostname: own.map(str::to_owned), network, ..Request::default() };
        assert_eq!(record(&request).options.hostname, expected);
    }
}

#[test]
fn working_directories_are_absolute_and_clean() {
    for (own, expected) in [("/a/../b/", "/b"), ("/..", "/"), ("//x/./y", "/x/y"), ("", "/data")] {
        let request = Request { workdir: own.into(), ..Request::default() };
        assert_eq!(record(&request).process.cwd, expected, "{own}");
    }
    let request = Request { workdir: "rel".into(), ..Request::default() };
    let error = planned(&request, &image(full())).unwrap_err().to_string();
    assert_eq!(error, "the working directory 'rel' is invalid, it needs to be an absolute path");
    let none =
        planned(&Request::default(), &image(RunConfig { working_dir: String::new(), ..full() })).unwrap();
    assert_eq!((none.process.cwd.as_str(), none.options.working_dir.as_str()), ("/", ""));
}

#[test]
fn labels_and_ports_add_up() {
    let request = Request {
        labels: BTreeMap::from([("z".into(), "own".into()), ("new".into(), String::new())]),
        ports: crate::spec::port::parse_publish("8080:80").unwrap(),
        ..Request::default()
    };
    let config = RunConfig {
        exposed_ports: Some(BTreeMap::from([("443".into(), serde_json::Value::Null)])),
        ..full()
    };
    let options = planned(&request, &image(config)).unwrap().options;
    let labels: Vec<String> = options.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["new=", "x=y", "z=own"]);
    assert_eq!(options.exposed_ports, ["443/tcp", "80/tcp"]);
}

#[test]
fn stop_signals() {
    let request = Request { stop_signal: Some("9".into()), ..Request::default() };
    let options = record(&request).options;
    assert_eq!((options.stop_signal, options.stop_signal_name.as_deref()), (9, Some("9")));
    let plain = RunConfig { stop_signal: None, ..full() };
    assert_eq!(planned(&Request::default(), &image(plain)).unwrap().options.stop_signal, 15);
    let empty = Request { stop_signal: Some(String::new()), ..Request::default() };
    assert_eq!(record(&empty).options.stop_signal_name, record(&Request::default()).options.stop_signal_name);
    let wrong = Request { stop_signal: Some("bogus".into()), ..Request::default() };
    assert!(matches!(planned(&wrong, &image(full())).unwrap_err(), Error::StopSignal(_)));
}

#[test]
fn capabilities_are_written_in_full() {
    let request = Request {
        cap_add: words("net_admin CAP_SYS_TIME all"),
        cap_drop: words("chown"),
        ..Request::default()
    };
    let options = record(&request).options;
    assert_eq!(options.cap_add, ["ALL", "CAP_NET_ADMIN", "CAP_SYS_TIME"]);
    assert_eq!(options.cap_drop, ["CAP_CHOWN"]);
    let wrong = Request { cap_add: words("FOO"), ..Request::default() };
    let error = planned(&wrong, &image(full())).unwrap_err().to_string();
    assert_eq!(error, "invalid CapAdd: unknown capability: \"CAP_FOO\"");
}

#[test]
fn users_are_checked_as_far_as_they_can_be() {
    let request = Request { user: "5:6".into(), ..Request::default() };
    assert_eq!(record(&request).process.user, "5:6");
    let wrong = Request { user: "4294967295".into(), ..Request::default() };
    assert!(matches!(planned(&wrong, &image(full())).unwrap_err(), Error::User(_)));
}

#[test]
fn one_mount_a_place() {
    let bind = |text| crate::spec::mount::parse_volume(text, Path::new("/")).unwrap();
    let twice = Request { binds: vec![bind("/a:/x"), bind("/b:/x")], ..Request::default() };
    assert!(matches!(planned(&twice, &image(full())).unwrap_err(), Error::DuplicateMount(_)));
    let tmpfs = vec![crate::spec::mount::parse_tmpfs("/x").unwrap()];
    let both = Request { binds: vec![bind("/a:/x")], tmpfs, ..Request::default() };
    assert!(matches!(planned(&both, &image(full())).unwrap_err(), Error::DuplicateMount(_)));
}

#[test]
fn health_checks_are_merged() {
    let image_with = |extra: serde_json::Value| {
        let serde_json::Value::Object(extra) = extra else { unreachable!("an object") };
        image(RunConfig { other: extra.into_iter().collect(), ..full() })
    };
    let checked = image_with(serde_json::json!({
        "Healthcheck": {"Test": ["CMD-SHELL", "ask"], "Retries": 2}, "Shell": ["/bin/bash", "-c"],
    }));
    let options = planned(&Request::default(), &checked).unwrap().options;
    assert_eq!(options.health.as_ref().unwrap().retries, 2);
    assert_eq!(options.health_command(), Some(words("/bin/bash -c ask")));
    let own = health::Config { test: words("NONE"), ..health::Config::default() };
    let options = planned(&Request { health: Some(own), ..Request::default() }, &checked).unwrap().options;
    assert_eq!(options.health.as_ref().unwrap().retries, 2);
    assert!(!options.has_health_check());
    assert_eq!(record(&Request::default()).options.health, None);
    let short = health::Config { timeout: 1, ..health::Config::default() };
    let wrong = planned(&Request { health: Some(short), ..Request::default() }, &checked);
    assert!(matches!(wrong.unwrap_err(), Error::Health(_)));
    for key in ["Healthcheck", "Shell"] {
        let record = planned(&Request::default(), &image_with(serde_json::json!({ key: "a word" })));
        assert!(record.is_err(), "a word is no {key}");
        let nothing = serde_json::json!({ key: null });
        assert!(!planned(&Request::default(), &image_with(nothing)).unwrap().options.has_health_check());
    }
}

#[test]
fn the_hosts_own_files_are_an_image() {
    let record = planned(&Request::default(), &ImageView::Host).unwrap();
    assert_eq!(record.process.argv, ["/bin/sh"]);
    assert!(matches!(record.image, ImageUse::Host));
    let request = Request { command: words("ls /"), ..Request::default() };
    assert_eq!(planned(&request, &ImageView::Host).unwrap().process.argv, words("ls /"));
}

#[test]
fn an_id_file_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cid");
    drop(CidFile::reserve(&path).unwrap());
    assert!(!path.exists(), "a reservation that was not used is gone");
    let id = ContainerId::from_bytes([1; 32]);
    CidFile::reserve(&path).unwrap().write(&id).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), id.as_str());
    assert!(matches!(CidFile::reserve(&path).unwrap_err(), Error::CidFileExists(_)));
}
