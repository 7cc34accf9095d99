//! What manual pages say beyond the tables of commands and flags.

/// About one verb.
pub struct Text {
    /// Its form without a noun, where there is one.
    verb: &'static str,
    /// Paragraphs after the verb's own sentence.
    pub description: &'static [&'static str],
    /// Exit codes besides those of every command.
    pub exit: &'static [(&'static str, &'static str)],
    /// Command lines, and what they do.
    pub examples: &'static [(&'static str, &'static str)],
    /// Related verbs.
    pub see: &'static [&'static str],
}

const NONE: Text = Text { verb: "", description: &[], exit: &[], examples: &[], see: &[] };

pub const PROGRAM: &[&str] = &[
    "coracle runs OCI containers without a daemon and without root. It takes docker's words: what is known of docker's command line holds here, and what is not supported yet is refused by its name.",
    "Every container has a user namespace of its own and one small process that watches it; nothing else stays behind. What this host cannot give is told by coracle info.",
    "The image name host is built in: this machine's own files, below a layer that is thrown away with the container.",
    "Each command has a page of its own, and prints a summary with --help.",
];

pub const FILES: &[(&str, &str)] = &[
    ("~/.local/share/coracle", "Images and containers; CORACLE_ROOT and XDG_DATA_HOME name another place."),
    ("/run/user/UID/coracle", "Sockets of running containers; below XDG_RUNTIME_DIR."),
    (
        "~/.docker/config.json",
        "The keys that detach and the forms of output, where docker's client is told them.",
    ),
    ("/etc/subuid, /etc/subgid", "The ids that containers of this user may have."),
];

/// The variables of docs/configuration.md: the one place where they are described.
pub fn environment() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split('|').map(plain).collect::<Vec<_>>());
    cells
        .filter_map(|cells| match &cells[..] {
            [name, about, default, ..] => Some((name.clone(), format!("{about}. Default: {default}."))),
            _ => None,
        })
        .collect()
}

/// A cell of a table without marks of Markdown, and without remarks that are links to other pages.
fn plain(cell: &str) -> String {
    let mut text = String::new();
    let mut rest = cell.trim();
    while let Some((before, after)) = rest.split_once(" ([") {
        text.push_str(before);
        rest = after.split_once("))").map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.replace('`', "")
}

pub fn of(verb: &str) -> &'static Text {
    TEXTS.iter().find(|text| text.verb == verb).unwrap_or(&NONE)
}

const STATUS_OF_THE_COMMAND: [(&str, &str); 3] = [
    ("126", "The command is there and cannot be executed."),
    ("127", "The command is not there."),
    ("any other", "That of the command; 128 and the signal's number when a signal ended it."),
];

static TEXTS: &[Text] = &[
    Text {
        verb: "run",
        description: &[
            "The image is pulled when it is not there. Options end at the image's name: what follows it is the command, which replaces the image's own.",
            "Without -d the command's streams are the caller's and signals are passed on. With -it, Ctrl-P Ctrl-Q leaves the container running; --detach-keys names other keys.",
        ],
        exit: &STATUS_OF_THE_COMMAND,
        examples: &[
            (
                "coracle run --rm -it host bash",
                "A shell above this machine's own files; what it changes is thrown away.",
            ),
            (
                "coracle run -d --name web -p 8080:80 nginx",
                "A web server in the background, at port 8080 of this machine.",
            ),
            (
                "coracle run --rm -v \"$PWD:/src\" -w /src gcc make",
                "A program in an image, at work on the files here.",
            ),
        ],
        see: &["create", "exec", "logs", "stop"],
    },
    Text {
        verb: "create",
        examples: &[("id=$(coracle create redis)", "A container to be started later.")],
        see: &["run", "start"],
        ..NONE
    },
    Text {
        verb: "exec",
        description: &["Options end at the container's name."],
        exit: &STATUS_OF_THE_COMMAND,
        examples: &[
            ("coracle exec -it web sh", "A shell in a running container."),
            ("coracle exec web cat /etc/hosts", "One command."),
        ],
        see: &["run", "attach", "top"],
        ..NONE
    },
    Text {
        verb: "attach",
        description: &[
            "Several may be attached at once. What was written before is not shown: see coracle-logs(1).",
        ],
        exit: &[("any other", "That of the container, when it ended; 1 after the keys that detach.")],
        see: &["logs", "exec"],
        ..NONE
    },
    Text {
        verb: "ps",
        examples: &[
            ("coracle ps -a --filter status=exited", "What has ended."),
            ("coracle rm $(coracle ps -aq)", "Remove all that does not run."),
            ("coracle ps --format '{{.Names}}: {{.Status}}'", "A line of one's own for each."),
        ],
        see: &["inspect", "container prune"],
        ..NONE
    },
    Text {
        verb: "start",
        exit: &[("any other", "With -a: that of the container.")],
        see: &["create", "stop", "attach"],
        ..NONE
    },
    Text {
        verb: "stop",
        description: &[
            "The container is sent its stop signal, and after the time SIGKILL. One that does not run is no failure.",
        ],
        see: &["kill", "start", "restart"],
        ..NONE
    },
    Text { verb: "restart", see: &["stop", "start"], ..NONE },
    Text {
        verb: "kill",
        examples: &[("coracle kill -s HUP web", "Let a server read its configuration again.")],
        see: &["stop"],
        ..NONE
    },
    Text { verb: "rm", see: &["container prune", "stop"], ..NONE },
    Text {
        verb: "container prune",
        description: &[
            "It asks first, unless -f is given; only y is a yes. The space told is that of the containers' own layers.",
        ],
        examples: &[
            (
                "coracle container prune -f --filter until=24h",
                "Remove what was made more than a day ago and does not run.",
            ),
            ("coracle container prune --filter label!=keep", "Remove all but those with the label keep."),
        ],
        see: &["rm", "ps"],
        ..NONE
    },
    Text {
        verb: "logs",
        description: &[
            "What went to the container's standard output and standard error goes to this command's.",
        ],
        examples: &[
            ("coracle logs -f -n 10 web", "The last ten lines, and what is still to come."),
            ("coracle logs -t --since 1h web", "The last hour, with times."),
        ],
        see: &["attach", "events"],
        ..NONE
    },
    Text {
        verb: "wait",
        examples: &[("code=$(coracle wait job)", "The exit status of a container.")],
        see: &["start", "stop"],
        ..NONE
    },
    Text {
        verb: "cp",
        description: &[
            "The container may run or not. A folder that is there is copied into; the contents alone are copied from SRC/. (with a dot at its end). With - a tar archive is read from standard input or written to standard output.",
        ],
        examples: &[
            ("coracle cp web:/etc/nginx .", "A folder out of a container."),
            ("coracle cp site/. web:/usr/share/nginx/html", "The contents of a folder into one."),
        ],
        see: &["diff", "exec"],
        ..NONE
    },
    Text { verb: "diff", description: &["A is added, C is changed, D is deleted."], see: &["cp"], ..NONE },
    Text { verb: "port", see: &["run", "inspect"], ..NONE },
    Text { verb: "top", see: &["exec", "ps"], ..NONE },
    Text { verb: "pull", see: &["images", "run"], ..NONE },
    Text { verb: "images", see: &["pull", "rmi", "tag"], ..NONE },
    Text { verb: "rmi", see: &["images", "rm"], ..NONE },
    Text {
        verb: "import",
        examples: &[("coracle import root.tar tiny", "An image of one layer.")],
        see: &["images"],
        ..NONE
    },
    Text {
        verb: "inspect",
        description: &["A name is looked for among containers, images and networks, in this order."],
        exit: &[("64", "The template cannot be read.")],
        examples: &[
            ("coracle inspect -f '{{.State.Status}}' web", "One value."),
            ("coracle inspect --type image redis", "An image, even if a container is called so."),
        ],
        see: &["container inspect", "image inspect", "network inspect"],
        ..NONE
    },
    Text {
        verb: "container inspect",
        exit: &[("64", "The template cannot be read.")],
        see: &["inspect"],
        ..NONE
    },
    Text {
        verb: "image inspect",
        exit: &[("64", "The template cannot be read.")],
        see: &["inspect"],
        ..NONE
    },
    Text {
        verb: "network inspect",
        description: &[
            "The networks are built in; they are those that --network of coracle-run(1) takes and this host can give.",
        ],
        exit: &[("64", "The template cannot be read.")],
        see: &["network ls", "inspect"],
        ..NONE
    },
    Text { verb: "network ls", see: &["network inspect", "run"], ..NONE },
    Text {
        verb: "events",
        examples: &[(
            "coracle events --filter event=die --since 1h",
            "What ended in the last hour, and what ends from now on.",
        )],
        see: &["logs", "ps"],
        ..NONE
    },
    Text {
        verb: "info",
        description: &["What this host cannot give is told as warnings."],
        see: &["version"],
        ..NONE
    },
    Text {
        verb: "completion bash",
        description: &[
            "Names of containers, images and networks are looked up when they are asked for. The package bash-completion is of use and not needed.",
        ],
        examples: &[
            ("source <(coracle completion bash)", "In this shell."),
            (
                "coracle completion bash > ~/.local/share/bash-completion/completions/coracle",
                "In every shell, with bash-completion.",
            ),
        ],
        ..NONE
    },
    Text {
        verb: "completion fish",
        examples: &[("coracle completion fish > ~/.config/fish/completions/coracle.fish", "In every shell.")],
        ..NONE
    },
    Text {
        verb: "completion zsh",
        examples: &[(
            "coracle completion zsh > ~/.zfunc/_coracle",
            "In every shell, if fpath has ~/.zfunc before compinit runs.",
        )],
        ..NONE
    },
    Text {
        verb: "man",
        description: &[
            "The folder is made when it is not there. It is best one called man1 in a folder that man looks through.",
        ],
        examples: &[("coracle man ~/.local/share/man/man1", "For oneself; man finds them there.")],
        ..NONE
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::words::entry_of;

    #[test]
    fn every_text_is_about_a_verb() {
        for text in TEXTS {
            assert!(entry_of(text.verb).is_some(), "{}", text.verb);
            for other in text.see {
                assert!(entry_of(other).is_some(), "{}: {other}", text.verb);
            }
        }
    }

    #[test]
    fn the_environment_is_that_of_the_docs() {
        let known = environment();
        let of = |name: &str| known.iter().find(|(key, _)| key == name).map(|(_, about)| about.as_str());
        assert_eq!(
            of("CORACLE_ROOT"),
            Some("where images and containers are. Default: $XDG_DATA_HOME/coracle.")
        );
        assert!(of("CORACLE_SINGLE_ID").is_some_and(|about| about.contains("subordinate ranges. Default")));
        assert!(known.len() > 8 && of("XDG_RUNTIME_DIR").is_some());
    }
}
