//! What a container may do: capabilities, system calls, files of the kernel.
//!
//! [`plan`] decides it from a container's options, in the monitor; [`SecurityPlan::apply`] carries out
//! the part that concerns the process, in the container's init. Masking files is up to `rootfs`.

mod bpf;
pub mod caps;
mod compile;
#[cfg(test)]
mod interpreter;
pub mod masks;
pub mod pretence;
pub mod pretended_calls;
pub mod pretended_ids;
pub mod profile;
pub mod profile_json;
pub mod seccomp;
mod syscalls;
mod target;

use caps::{CapabilitySet, InvalidCapability};
use profile::Profile;
use seccomp::{Filter, SeccompError};

use crate::spec::container::{Options, Seccomp};
use crate::sys;

/// Everything decided; nothing in here is done yet.
#[derive(Debug)]
pub struct SecurityPlan {
    /// Permitted and effective for a root process; the inheritable and ambient sets are empty.
    pub caps: CapabilitySet,
    /// What a set-user-id program or file capability can at most regain.
    pub bounding: CapabilitySet,
    /// `None`: every system call reaches the kernel.
    pub seccomp: Option<Filter>,
    pub no_new_privs: bool,
    /// Absolute paths in the container to cover; those that are not there are skipped.
    pub masked: Vec<String>,
    /// Likewise, to make read-only.
    pub read_only: Vec<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    Capability(#[from] InvalidCapability),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

/// Decides a container's security from its options. `thermal` is [`masks::thermal`] of this host.
///
/// `--privileged` means all capabilities (of the container's user namespace), no masks, and no filter
/// unless a profile is named as well, as in docker.
pub fn plan(options: &Options, thermal: Vec<String>) -> Result<SecurityPlan, SecurityError> {
    let caps = caps::plan(&options.cap_add, &options.cap_drop, options.privileged)?;
    let seccomp = match &options.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Default if options.privileged => None,
        Seccomp::Default => Some(seccomp::default_filter_for(caps)?),
        Seccomp::Profile(json) => {
            let profile = Profile::parse("(of the container)", json).map_err(SeccompError::from)?;
            Some(seccomp::compile(&profile, caps)?)
        }
    };
    let (masked, read_only) = if options.privileged {
        (Vec::new(), Vec::new())
    } else {
        let masked = masks::MASKED.iter().map(|path| path.to_string());
        (masked.chain(thermal).collect(), masks::READ_ONLY.to_vec())
    };
    let no_new_privs = options.no_new_privileges;
    Ok(SecurityPlan { caps, bounding: caps, seccomp, no_new_privs, masked, read_only })
}

impl SecurityPlan {
    /// Gives up everything the container must not have. `change_ids` sets the groups, gid and uid of
    /// its process (`runtime::identity`); what follows should be execve.
    ///
    /// `load_first` loads what belongs below the container's filter (single-id mode). Needs the full capabilities
    /// of the container's user namespace.
    pub fn apply(
        &self,
        load_first: impl FnOnce() -> sys::Result<()>,
        change_ids: impl FnOnce() -> sys::Result<()>,
    ) -> sys::Result<()> {
        // Without no_new_privs a filter can be loaded only while CAP_SYS_ADMIN is held, so the calls
        // below pass through it (the default profile and runc's users expect that). With it the filter
        // comes last and need not allow them.
        // Where two filters disagree about an error, the kernel takes the later one's: the container's own.
        let load = || load_first().and_then(|()| self.seccomp.as_ref().map_or(Ok(()), Filter::load));
        let mut load = Some(load);
        if !self.no_new_privs {
            load.take().map_or(Ok(()), |load| load())?;
        }
        // The bounding set needs CAP_SETPCAP, which changing the ids or the next sets may take away.
        sys::capability::apply_bounding(self.bounding.bits())?;
        sys::capability::keep_caps(true)?;
        change_ids()?;
        sys::capability::apply(self.caps.bits())?;
        if self.no_new_privs {
            sys::capability::no_new_privileges()?;
        }
        load.map_or(Ok(()), |load| load())
    }
}

#[cfg(test)]
mod tests {
    use super::interpreter::{content, default_filter};
    use super::*;

    fn planned(options: &Options) -> SecurityPlan {
        plan(options, vec!["/sys/thermal".to_owned()]).expect("valid")
    }

    #[test]
    fn the_default() {
        let plan = planned(&Options::default());
        assert_eq!((plan.caps, plan.bounding), (CapabilitySet::default_set(), plan.caps));
        let filter = plan.seccomp.expect("on by default");
        assert_eq!(content(&filter), content(&default_filter()));
        assert!(!plan.no_new_privs);
        assert!(plan.masked.contains(&"/proc/kcore".to_owned()));
        assert!(plan.masked.contains(&"/sys/thermal".to_owned()));
        assert!(plan.read_only.contains(&"/proc/sys"));
    }

    #[test]
    fn privileged_lifts_everything_but_a_named_profile() {
        let mut options =
            Options { privileged: true, cap_drop: vec!["ALL".to_owned()], ..Options::default() };
        let plan = planned(&options);
        assert_eq!(plan.bounding, CapabilitySet::ALL);
        assert!(plan.seccomp.is_none() && plan.masked.is_empty() && plan.read_only.is_empty());
        options.seccomp = Seccomp::Profile(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#.to_owned());
        assert!(planned(&options).seccomp.is_some());
    }

    #[test]
    fn options_take_effect() {
        let options = Options {
            no_new_privileges: true,
            seccomp: Seccomp::Unconfined,
            cap_add: vec!["SYS_TIME".to_owned()],
            ..Options::default()
        };
        let plan = planned(&options);
        assert!(plan.no_new_privs && plan.seccomp.is_none());
        assert!(plan.caps.holds("CAP_SYS_TIME") && plan.bounding.holds("CAP_SYS_TIME"));
    }

    #[test]
    fn bad_options_are_refused() {
        let error = |options: Options| plan(&options, Vec::new()).expect_err("bad").to_string();
        let options = Options { cap_add: vec!["nope".to_owned()], ..Options::default() };
        assert_eq!(error(options), "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
        let options = Options { seccomp: Seccomp::Profile("[]".to_owned()), ..Options::default() };
        assert_eq!(error(options), "seccomp profile (of the container) cannot be read as one");
    }

    /// Needs root in some user namespace, as the container's init is; anybody else is refused.
    #[test]
    fn applied_to_a_thread() {
        for no_new_privileges in [false, true] {
            let plan = planned(&Options { no_new_privileges, ..Options::default() });
            let root = nix::unistd::geteuid().is_root();
            let thread = std::thread::spawn(move || {
                let result = plan.apply(|| Ok(()), || Ok(()));
                (result, std::fs::read_to_string("/proc/thread-self/status").expect("status"))
            });
            let (result, status) = thread.join().expect("the thread ends");
            let line =
                |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim();
            if !root {
                assert!(result.is_err());
                continue;
            }
            result.expect("root may");
            let default = format!("{:016x}", CapabilitySet::default_set().bits());
            assert_eq!(
                (line("CapBnd:"), line("CapPrm:"), line("CapEff:")),
                (&*default, &*default, &*default)
            );
            assert_eq!(
                (line("Seccomp:"), line("NoNewPrivs:")),
                ("2", if no_new_privileges { "1" } else { "0" })
            );
        }
    }
}
