//! What is mounted in a container, in which order. Pure.

use std::path::{Path, PathBuf};

use crate::spec::container::Options;
use crate::sys::mount::Attributes;

/// One step. Paths are absolute in the container; `apply` confines them to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Proc,
    /// A new sysfs, or the host's own (read-only) when the container has the host's network.
    Sys {
        host: bool,
    },
    /// The cgroup2 hierarchy as the container's cgroup namespace shows it.
    Cgroup,
    /// /dev with its nodes, pts, shm and mqueue.
    Dev {
        terminal: bool,
        host_ipc: bool,
    },
    Tmpfs {
        target: PathBuf,
        attributes: Attributes,
        options: Vec<(String, String)>,
    },
    Bind {
        source: PathBuf,
        target: PathBuf,
        read_only: bool,
    },
    /// Covered by nothing: an empty directory or /dev/null.
    Mask(String),
    ReadOnly(String),
    ReadOnlyRoot,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("invalid tmpfs option {option:?} (for {})", .target.display())]
    TmpfsOption { target: PathBuf, option: String },
}

/// What the plan depends on besides the options.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub terminal: bool,
    pub host_network: bool,
    /// The host's /sys/fs/cgroup is cgroup2.
    pub cgroup2: bool,
    /// Where the container's own hosts, resolv.conf and hostname files are.
    pub files: PathBuf,
}

/// The steps, in order: kernel file systems first, then files of ours, then the user's mounts by
/// depth (so that one may lie in another), then what only takes away.
pub fn plan(
    options: &Options,
    masked: &[String],
    read_only: &[&str],
    facts: &Facts,
) -> Result<Vec<Step>, PlanError> {
    let mut steps = vec![
        Step::Proc,
        Step::Dev { terminal: facts.terminal, host_ipc: false },
        Step::Sys { host: facts.host_network },
    ];
    if facts.cgroup2 {
        steps.push(Step::Cgroup);
    }
    for name in ["resolv.conf", "hostname", "hosts"] {
        let target = Path::new("/etc").join(name);
        let user_has_it = options.binds.iter().any(|bind| bind.target == target);
        if !user_has_it {
            steps.push(Step::Bind { source: facts.files.join(name), target, read_only: false });
        }
    }
    let mut own: Vec<Step> = Vec::new();
    for tmpfs in &options.tmpfs {
        let (attributes, options) = tmpfs_options(&tmpfs.target, &tmpfs.options)?;
        own.push(Step::Tmpfs { target: tmpfs.target.clone(), attributes, options });
    }
    own.extend(options.binds.iter().map(|bind| Step::Bind {
        source: bind.source.clone(),
        target: bind.target.clone(),
        read_only: bind.read_only,
    }));
    own.sort_by_key(|step| match step {
        Step::Tmpfs { target, .. } | Step::Bind { target, .. } => target.components().count(),
        _ => 0,
    });
    steps.extend(own);
    steps.extend(masked.iter().cloned().map(Step::Mask));
    steps.extend(read_only.iter().map(|path| Step::ReadOnly((*path).to_owned())));
    if options.read_only {
        steps.push(Step::ReadOnlyRoot);
    }
    Ok(steps)
}

/// docker's defaults are noexec, nosuid and nodev; the words `exec`, `suid`, `dev` lift them.
fn tmpfs_options(target: &Path, text: &str) -> Result<(Attributes, Vec<(String, String)>), PlanError> {
    let (mut read_only, mut no_exec, mut no_suid, mut no_dev) = (false, true, true, true);
    let mut options = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "exec" => no_exec = false,
            "noexec" => no_exec = true,
            "suid" => no_suid = false,
            "nosuid" => no_suid = true,
            "dev" => no_dev = false,
            "nodev" => no_dev = true,
            other => match other.split_once('=') {
                Some((key @ ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks"), value)) => {
                    options.push((key.to_owned(), value.to_owned()));
                }
                _ => {
                    return Err(PlanError::TmpfsOption {
                        target: target.to_owned(),
                        option: other.to_owned(),
                    });
                }
            },
        }
    }
    let mut attributes = Attributes::NONE;
    for (wanted, attribute) in [
        (read_only, Attributes::READ_ONLY),
        (no_exec, Attributes::NO_EXEC),
        (no_suid, Attributes::NO_SUID),
        (no_dev, Attributes::NO_DEV),
    ] {
        if wanted {
            attributes = attributes | attribute;
        }
    }
    Ok((attributes, options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::mount::{BindMount, TmpfsMount};

    fn position(steps: &[Step], found: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(found).expect("planned")
    }

    #[test]
    fn shallow_mounts_come_first_and_masks_last() {
        let bind = |target: &str| BindMount { source: "/s".into(), target: target.into(), read_only: false };
        let options = Options {
            binds: vec![bind("/a/b/c"), bind("/etc/hosts")],
            tmpfs: vec![TmpfsMount { target: "/a".into(), options: String::new() }],
            read_only: true,
            ..Options::default()
        };
        let steps = plan(&options, &["/proc/kcore".into()], &["/proc/sys"], &Facts::default()).expect("plan");
        let tmpfs = position(&steps, |s| matches!(s, Step::Tmpfs { .. }));
        let deep =
            position(&steps, |s| matches!(s, Step::Bind { target, .. } if target == Path::new("/a/b/c")));
        let mask = position(&steps, |s| matches!(s, Step::Mask(_)));
        assert!(tmpfs < deep && deep < mask);
        assert_eq!(steps.last(), Some(&Step::ReadOnlyRoot));
        let hosts =
            steps.iter().filter(|s| matches!(s, Step::Bind { target, .. } if target.ends_with("hosts")));
        assert_eq!(hosts.count(), 1);
    }

    #[test]
    fn tmpfs_words() {
        let (attributes, options) = tmpfs_options(Path::new("/t"), "size=1m,exec,ro").expect("valid");
        assert_eq!(attributes, Attributes::READ_ONLY | Attributes::NO_SUID | Attributes::NO_DEV);
        assert_eq!(options, [("size".to_owned(), "1m".to_owned())]);
        assert!(tmpfs_options(Path::new("/t"), "bogus").is_err());
    }
}
