//! Tests of the flags that `run` and `create` share.

use std::ffi::OsString;

use super::*;
use crate::cli::Command;
use crate::cli::args::{Parse, parse};
use crate::cli::container::run;
use crate::spec::health;

/// Parses a line of words as `run` does; the second list holds the caller's files.
fn request_with(line: &[&str], files: &[(&str, &str)]) -> Result<Request, String> {
    let argv: Vec<OsString> = line.iter().map(OsString::from).collect();
    let parsed = match parse::<CreateFlags>(&run::Args::VERB, "coracle run", &argv) {
        Ok(Parse::Run(parsed)) => parsed,
        Ok(Parse::Help) => return Err("HELP".to_owned()),
        Err(error) => return Err(error.message().to_owned()),
    };
    let variable = |key: &str| (key == "SHELL").then(|| "/bin/zsh".to_owned());
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let caller = Caller { cwd: Path::new("/home/u"), variable: &variable, read: &read };
    parsed.flags.into_request(parsed.words, &caller).map_err(|error| error.message().to_owned())
}

/// Changes as `KEY=value`, or `KEY` for one that removes.
fn texts(changes: &[EnvChange]) -> Vec<String> {
    let text = |change: &EnvChange| match change {
        EnvChange::Set { key, value } => format!("{key}={value}"),
        EnvChange::Unset { key } => key.clone(),
    };
    changes.iter().map(text).collect()
}

fn request(line: &str) -> Result<Request, String> {
    request_with(&line.split(' ').collect::<Vec<_>>(), &[])
}

#[test]
fn nothing_but_an_image() {
    let request = request("redis").unwrap();
    assert_eq!(request.image, "redis");
    assert!(request.command.is_empty() && request.env.is_empty() && request.name.is_none());
    assert_eq!(request.pull, PullPolicy::Missing);
    assert_eq!(request.network, NetworkMode::Default);
    assert!(!request.tty && !request.interactive && !request.auto_remove);
}

#[test]
fn everything_at_once() {
    let line = "-it --rm --name web -e A=1 -e SHELL -e UNSET -v ./d:/d:ro -w /w -u 5:6 --entrypoint /e -h hh \
        -p 8080:80 -p 127.0.0.1::53/udp --network none --read-only --tmpfs /run:size=1m --cap-add NET_ADMIN \
        --cap-drop ALL --privileged --security-opt no-new-privileges --security-opt seccomp=unconfined --init \
        --stop-signal INT --cidfile /c -l a=b=c -l d --pull always --platform linux/arm64 -q img cmd -x --rm";
    let words: Vec<&str> = line.split_whitespace().collect();
    let request = request_with(&words, &[]).unwrap();
    assert!(request.interactive && request.tty && request.auto_remove && request.read_only);
    assert!(request.privileged && request.init && request.quiet && request.no_new_privileges);
    assert_eq!(request.name.as_ref().map(ContainerName::as_str), Some("web"));
    assert_eq!(texts(&request.env), ["A=1", "SHELL=/bin/zsh", "UNSET"]);
    assert_eq!(request.binds, [mount::parse_volume("/home/u/./d:/d:ro", Path::new("/")).unwrap()]);
    assert_eq!((request.workdir.as_str(), request.user.as_str()), ("/w", "5:6"));
    assert_eq!(request.entrypoint.as_deref(), Some("/e"));
    assert_eq!(request.hostname.as_deref(), Some("hh"));
    assert_eq!(request.ports.len(), 2);
    assert_eq!(request.network, NetworkMode::None);
    assert_eq!(request.tmpfs[0].options, "size=1m");
    assert_eq!(
        (&request.cap_add[..], &request.cap_drop[..]),
        (&["NET_ADMIN".into()][..], &["ALL".into()][..])
    );
    assert_eq!(request.seccomp, Seccomp::Unconfined);
    assert_eq!(request.stop_signal.as_deref(), Some("INT"));
    assert_eq!(request.cidfile.as_deref(), Some(Path::new("/c")));
    assert_eq!(request.labels["a"], "b=c");
    assert_eq!(request.labels["d"], "");
    assert_eq!(request.pull, PullPolicy::Always);
    assert_eq!(request.platform, Some("linux/arm64".parse().unwrap()));
    assert_eq!(request.image, "img");
    assert_eq!(request.command, ["cmd", "-x", "--rm"]);
}

#[test]
fn files_of_variables_come_before_the_flags() {
    let files = [("/f", "# no\n\nA=file\nSHELL\nUNSET\n B=x y \n")];
    let request = request_with(&["-e", "A=flag", "--env-file", "/f", "i"], &files).unwrap();
    assert_eq!(texts(&request.env), ["A=file", "SHELL=/bin/zsh", "B=x y ", "A=flag"]);
    let error = request_with(&["--env-file", "/nope", "i"], &files).unwrap_err();
    assert!(error.starts_with("open /nope: "), "{error}");
    let error = request_with(&["--env-file", "/f", "i"], &[("/f", "a b=c\n")]).unwrap_err();
    assert_eq!(error, "invalid env file (/f): variable 'a b' contains whitespaces");
}

#[test]
fn seccomp_profiles_are_read() {
    let files = [("/p", "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}"), ("/bad", "{"), ("/list", "[]")];
    let profile = |name: &str| {
        request_with(&["--security-opt", &format!("seccomp={name}"), "i"], &files).map(|r| r.seccomp)
    };
    assert_eq!(profile("/p"), Ok(Seccomp::Profile(files[0].1.to_owned())));
    assert_eq!(profile("builtin"), Ok(Seccomp::Default));
    assert!(profile("/bad").unwrap_err().starts_with("cannot use the seccomp profile /bad: EOF"));
    assert_eq!(
        profile("/list").unwrap_err(),
        "cannot use the seccomp profile /list: it is not a JSON object"
    );
    assert!(
        profile("/nope").unwrap_err().starts_with("opening seccomp profile (/nope) failed: open /nope: ")
    );
}

#[test]
fn mounts_given_twice() {
    let request = request("-v /a:/b -v /a:/b/ --tmpfs /t --tmpfs /u --tmpfs /t/:size=1m i").unwrap();
    assert_eq!(request.binds.len(), 1);
    let tmpfs: Vec<_> =
        request.tmpfs.iter().map(|t| (t.target.to_str().unwrap(), t.options.as_str())).collect();
    assert_eq!(tmpfs, [("/u", ""), ("/t", "size=1m")]);
}

#[test]
fn an_empty_id_file_is_none() {
    assert_eq!(request("--cidfile= i").unwrap().cidfile, None);
}

#[test]
fn health_checks_are_read() {
    assert_eq!(request("i").unwrap().health, None);
    assert_eq!(request("--health-cmd= --health-interval 0 --health-retries 0 i").unwrap().health, None);
    let none = request("--no-healthcheck i").unwrap().health.unwrap();
    assert_eq!(none, health::Config { test: vec!["NONE".into()], ..health::Config::default() });
    let line = "--health-cmd x --health-interval 1m30s --health-timeout 1.5s --health-start-period 1h \
        --health-start-interval 20ms --health-retries 4 i";
    let given = health::Config {
        test: vec!["CMD-SHELL".into(), "x".into()],
        interval: 90_000_000_000,
        timeout: 1_500_000_000,
        start_period: 3_600_000_000_000,
        start_interval: 20_000_000,
        retries: 4,
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(request_with(&words, &[]).unwrap().health, Some(given));
}

#[test]
fn mistakes_are_told() {
    let cases = [
        ("--pull foo i", "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\""),
        ("-p 99999:1 i", "invalid hostPort: 99999"),
        ("-v /a:/b:zz i", "invalid mode: zz (in \"/a:/b:zz\"; ro and rw are supported)"),
        ("-l =x i", "invalid argument \"=x\" for \"-l, --label\" flag: invalid label '=x': empty name"),
        ("--name !! i", "Invalid container name (!!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("-e =x i", "invalid argument \"=x\" for \"-e, --env\" flag: invalid environment variable: =x"),
        ("--security-opt foo i", "invalid --security-opt: \"foo\""),
        ("--security-opt apparmor=x i", "--security-opt apparmor is not supported yet"),
        ("--memory 1g i", "--memory is not supported yet"),
        ("--no-healthcheck --health-cmd x i", "--no-healthcheck conflicts with --health-* options"),
        ("--health-start-interval -1s i", "--health-start-interval cannot be negative"),
        (
            "--health-interval 1 i",
            "invalid argument \"1\" for \"--health-interval\" flag: time: missing unit in duration \"1\"",
        ),
        ("-m 1g i", "--memory is not supported yet"),
        ("-dP i", "--publish-all is not supported yet"),
        ("--rm", "'coracle run' requires at least 1 argument"),
        ("--network= i", "no name set for network"),
        ("--name", "flag needs an argument: --name"),
        ("-ie", "flag needs an argument: 'e' in -ie"),
    ];
    for (line, message) in cases {
        // `-d` belongs to `run` alone; these flags are the ones it shares with `create`.
        let line = line.replace("-dP", "-iP");
        assert_eq!(request(&line).unwrap_err(), message, "{line}");
    }
    let error = request("--network web i").unwrap_err();
    assert!(error.starts_with("--network \"web\" is not supported yet"), "{error}");
}

#[test]
fn no_flag_is_both_there_and_missing() {
    let command = crate::cli::args::command::<run::Args>(&run::Args::VERB);
    for missing in MISSING {
        let taken = command.get_arguments().any(|arg| {
            arg.get_long() == Some(missing.long)
                || missing.short.is_some() && arg.get_short() == missing.short
        });
        assert!(!taken, "{}", missing.long);
    }
}

#[test]
fn the_help_is_laid_out_as_dockers() {
    let command = crate::cli::args::command::<run::Args>(&run::Args::VERB);
    let text = crate::cli::help::verb("coracle run", &run::Args::VERB, &command);
    insta::assert_snapshot!(text);
    assert!(text.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn the_page_about_docker_names_everything_that_is_missing() {
    let page = include_str!("../../../docs/docker-compatibility.md");
    for missing in MISSING {
        let long = format!("--{}", missing.long);
        let named = page.split(|c: char| c.is_whitespace() || "`/;.,".contains(c)).any(|word| word == long);
        assert!(named, "{long}");
    }
}
