//! Seccomp profiles in docker's JSON: read, checked, and narrowed to one host and capability set.
//! Pure; runs in the client. (`build.rs` includes this file too, for the default profile.)
//!
//! The form is docker's, an extension of the runtime specification's `linux.seccomp`. As in docker,
//! unknown keys at the top level are ignored. Inside a rule they are refused: a misspelt `args` would
//! make the rule wider than its author meant.

use serde::Deserialize;

use super::caps::CapabilitySet;
use super::target::{Abi, Arch};

/// seccomp(2) cuts an error number down to this.
const MAX_ERRNO: u32 = 4095;
const ARGUMENTS: u32 = 6;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// A checked profile; which of its rules apply is decided by a [`Host`].
#[derive(Debug)]
pub struct Profile {
    /// What errors call it: the file's name.
    pub file: String,
    pub default_action: Action,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u32,
    abis: Abis,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Log,
    Errno(u16),
    Trap,
    Trace(u16),
    KillThread,
    KillProcess,
}

impl Action {
    /// What a filter returns for it: `SECCOMP_RET_*` of linux/seccomp.h, and libseccomp's name for it too.
    pub fn value(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
        }
    }
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub struct Rule {
    /// Its place in the file, from 1.
    pub position: usize,
    pub names: Vec<String>,
    pub action: Action,
    /// All must hold. Several on one argument each make a rule of their own, as in runc.
    pub args: Vec<Arg>,
    includes: Condition,
    excludes: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// 0 to 5.
    pub index: u32,
    pub op: Op,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The argument under this mask equals the value.
    MaskedEqual(u64),
}

#[derive(Debug)]
enum Abis {
    Listed(Vec<Abi>),
    Mapped(Vec<(Abi, Vec<Abi>)>),
}

#[derive(Debug, Default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<(u32, u32)>,
}

/// What a profile's conditions ask about.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub arch: Arch,
    /// The container's bounding set.
    pub caps: CapabilitySet,
    /// First two numbers of the kernel's release.
    pub kernel: (u32, u32),
}

#[derive(Debug, thiserror::Error)]
pub enum InvalidProfile {
    #[error("seccomp profile {file} cannot be read as one")]
    Json { file: String, source: serde_json::Error },
    #[error("seccomp profile {file}: {problem}")]
    Whole { file: String, problem: Problem },
    #[error("seccomp profile {file}: rule {position} ({names}): {problem}")]
    Rule { file: String, position: usize, names: String, problem: Problem },
}

/// What is wrong with a profile or one of its rules.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    #[error("there is no defaultAction (--security-opt seccomp=unconfined runs without a filter)")]
    NoDefaultAction,
    #[error("both 'architectures' and 'archMap' are specified, use either one")]
    TwoArchitectureLists,
    #[error("both 'name' and 'names' are specified, use either one")]
    TwoNameLists,
    #[error("it names no system call")]
    NoNames,
    #[error("unknown action {0:?}")]
    UnknownAction(String),
    #[error("SCMP_ACT_NOTIFY is not supported: there is no agent to notify")]
    Notify,
    #[error("unknown architecture {0:?}")]
    UnknownArchitecture(String),
    #[error("unknown flag {0:?}")]
    UnknownFlag(String),
    #[error("unknown operator {0:?}")]
    UnknownOperator(String),
    #[error("argument index {0} is not one of 0 to 5")]
    ArgumentIndex(u32),
    #[error("error number {0} is larger than {MAX_ERRNO}")]
    Errno(u32),
    #[error("error {0:?} is given by name alone, give its number as errnoRet too")]
    ErrnoByName(String),
    #[error("invalid kernel version {0:?}, expected \"<kernel>.<major>\"")]
    KernelVersion(String),
}

impl Profile {
    /// Reads and checks a profile; `file` is what errors call it.
    pub fn parse(file: &str, json: &str) -> Result<Profile, InvalidProfile> {
        let form: ProfileForm = serde_json::from_str(json)
            .map_err(|source| InvalidProfile::Json { file: file.to_owned(), source })?;
        let whole = |problem| InvalidProfile::Whole { file: file.to_owned(), problem };
        let action = form.default_action.ok_or_else(|| whole(Problem::NoDefaultAction))?;
        let default_action =
            parse_action(&action, form.default_errno_ret, form.default_errno.as_deref()).map_err(whole)?;
        let flags = parse_flags(form.flags).map_err(whole)?;
        let abis = parse_abis(form.architectures, form.arch_map).map_err(whole)?;
        let rules = (1..)
            .zip(form.syscalls.unwrap_or_default())
            .map(|(position, rule)| {
                let names = rule.label();
                parse_rule(position, rule).map_err(|problem| InvalidProfile::Rule {
                    file: file.to_owned(),
                    position,
                    names,
                    problem,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Profile { file: file.to_owned(), default_action, flags, abis, rules })
    }

    /// The rules whose conditions hold on this host, in the file's order.
    pub fn rules(&self, host: Host) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.applies(host))
    }

    /// The kinds of programs the filter serves; the host's own is always the first. A program of
    /// another kind is killed at its first system call.
    pub fn abis(&self, arch: Arch) -> Vec<Abi> {
        let listed: &[Abi] = match &self.abis {
            Abis::Listed(listed) => listed,
            Abis::Mapped(map) => {
                map.iter().find(|(native, _)| *native == arch.native()).map_or(&[], |(_, subs)| subs)
            }
        };
        let mut abis = vec![arch.native()];
        for abi in listed {
            if abi.runs_on(arch) && !abis.contains(abi) {
                abis.push(*abi);
            }
        }
        abis
    }

    /// The capabilities that any condition asks about: sets that agree on these get the same filter.
    pub fn capabilities_asked(&self) -> CapabilitySet {
        let conditions = self.rules.iter().flat_map(|rule| [&rule.includes, &rule.excludes]);
        conditions.flat_map(|c| &c.caps).filter_map(|name| super::caps::number(name)).collect()
    }
}

impl Rule {
    fn applies(&self, host: Host) -> bool {
        let arch = |c: &Condition| c.arches.iter().any(|a| a == host.arch.name());
        let (includes, excludes) = (&self.includes, &self.excludes);
        let excluded = arch(excludes)
            || excludes.caps.iter().any(|cap| host.caps.holds(cap))
            || excludes.min_kernel.is_some_and(|min| host.kernel >= min);
        let included = (includes.arches.is_empty() || arch(includes))
            && includes.caps.iter().all(|cap| host.caps.holds(cap))
            && includes.min_kernel.is_none_or(|min| host.kernel >= min);
        included && !excluded
    }
}

/// The first two numbers of a release such as `6.1.0-13-amd64` or `6.19-rc1`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let (kernel, rest) = release.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((kernel.parse().ok()?, rest[..digits].parse().ok()?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileForm {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchForm>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<RuleForm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchForm {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleForm {
    #[serde(default)]
    name: String,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    /// The same by name; podman's profiles have both.
    errno: Option<String>,
    args: Option<Vec<ArgForm>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<ConditionForm>,
    excludes: Option<ConditionForm>,
}

impl RuleForm {
    /// What an error calls the rule: its first names.
    fn label(&self) -> String {
        let names = self.names.as_deref().unwrap_or_default();
        match names {
            [] => self.name.clone(),
            [name] => name.clone(),
            [first, ..] => format!("{first} and {} more", names.len() - 1),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgForm {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConditionForm {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn parse_rule(position: usize, form: RuleForm) -> Result<Rule, Problem> {
    let names = match (form.name.is_empty(), form.names.unwrap_or_default()) {
        (true, names) => names,
        (false, names) if names.is_empty() => vec![form.name],
        _ => return Err(Problem::TwoNameLists),
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Problem::NoNames);
    }
    let args = form.args.unwrap_or_default();
    Ok(Rule {
        position,
        names,
        action: parse_action(&form.action, form.errno_ret, form.errno.as_deref())?,
        args: args.into_iter().map(parse_arg).collect::<Result<_, _>>()?,
        includes: parse_condition(form.includes)?,
        excludes: parse_condition(form.excludes)?,
    })
}

fn parse_action(action: &str, errno: Option<u32>, errno_name: Option<&str>) -> Result<Action, Problem> {
    if let (None, Some(name)) = (errno, errno_name.filter(|name| !name.is_empty())) {
        return Err(Problem::ErrnoByName(name.to_owned()));
    }
    let errno = || match errno {
        None => Ok(1), // EPERM
        Some(number) if number <= MAX_ERRNO => Ok(number as u16),
        Some(number) => Err(Problem::Errno(number)),
    };
    Ok(match action {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(errno()?),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(errno()?),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" => return Err(Problem::Notify),
        other => return Err(Problem::UnknownAction(other.to_owned())),
    })
}

fn parse_arg(form: ArgForm) -> Result<Arg, Problem> {
    if form.index >= ARGUMENTS {
        return Err(Problem::ArgumentIndex(form.index));
    }
    let op = match form.op.as_str() {
        "SCMP_CMP_EQ" => Op::Equal,
        "SCMP_CMP_NE" => Op::NotEqual,
        "SCMP_CMP_LT" => Op::Less,
        "SCMP_CMP_LE" => Op::LessOrEqual,
        "SCMP_CMP_GT" => Op::Greater,
        "SCMP_CMP_GE" => Op::GreaterOrEqual,
        // Here `value` is the mask and `valueTwo` what must remain.
        "SCMP_CMP_MASKED_EQ" => {
            return Ok(Arg { index: form.index, op: Op::MaskedEqual(form.value), value: form.value_two });
        }
        other => return Err(Problem::UnknownOperator(other.to_owned())),
    };
    Ok(Arg { index: form.index, op, value: form.value })
}

fn parse_condition(form: Option<ConditionForm>) -> Result<Condition, Problem> {
    let form = form.unwrap_or_default();
    let min_kernel = match form.min_kernel.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let valid = parts.filter(|version| *version != (0, 0));
            Some(valid.ok_or_else(|| Problem::KernelVersion(text.to_owned()))?)
        }
    };
    Ok(Condition { caps: form.caps.unwrap_or_default(), arches: form.arches.unwrap_or_default(), min_kernel })
}

/// Without any flags, runc asks for SPEC_ALLOW: before Linux 5.16 a filter otherwise slows the whole
/// program down (speculative-store-bypass mitigation).
fn parse_flags(flags: Option<Vec<String>>) -> Result<u32, Problem> {
    let Some(flags) = flags else { return Ok(FLAG_SPEC_ALLOW) };
    flags.iter().try_fold(0, |bits, flag| match flag.as_str() {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(bits | FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(bits | FLAG_SPEC_ALLOW),
        // Nothing to synchronise: the filter is loaded by a process of one thread.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(bits),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Err(Problem::Notify),
        other => Err(Problem::UnknownFlag(other.to_owned())),
    })
}

/// Architectures of other machines are checked for their names and then dropped: no program here can
/// be of their kind.
fn parse_abis(listed: Option<Vec<String>>, map: Option<Vec<ArchForm>>) -> Result<Abis, Problem> {
    let known = |names: Vec<String>| -> Result<Vec<Abi>, Problem> {
        let abis: Vec<Option<Abi>> = names
            .into_iter()
            .map(|name| Abi::parse(&name).ok_or(Problem::UnknownArchitecture(name)))
            .collect::<Result<_, _>>()?;
        Ok(abis.into_iter().flatten().collect())
    };
    let (listed, map) = (listed.unwrap_or_default(), map.unwrap_or_default());
    if !listed.is_empty() && !map.is_empty() {
        return Err(Problem::TwoArchitectureLists);
    }
    if map.is_empty() {
        return Ok(Abis::Listed(known(listed)?));
    }
    let mut mapped = Vec::new();
    for entry in map {
        let native = known(vec![entry.architecture])?;
        let subs = known(entry.sub_architectures.unwrap_or_default())?;
        mapped.extend(native.into_iter().map(|native| (native, subs.clone())));
    }
    Ok(Abis::Mapped(mapped))
}
