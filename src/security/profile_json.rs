//! Seccomp profiles in docker's JSON: read and checked.
//! Pure; runs in the client. (`build.rs` includes this file too, for the default profile.)
//!
//! The form is docker's, an extension of the runtime specification's `linux.seccomp`. As in docker,
//! unknown keys at the top level are ignored. Inside a rule they are refused: a misspelt `args` would
//! make the rule wider than its author meant.

use serde::Deserialize;

use super::profile::{Abis, Action, Arg, Condition, Op, Profile, Rule};
use super::target::Abi;

/// seccomp(2) cuts an error number down to this.
const MAX_ERRNO: u32 = 4095;
const ARGUMENTS: u32 = 6;
const FLAG_LOG: u32 = 1 << 1;
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;

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
                parse_rule(rule).map_err(|problem| InvalidProfile::Rule {
                    file: file.to_owned(),
                    position,
                    names,
                    problem,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Profile { file: file.to_owned(), default_action, flags, abis, rules })
    }
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

fn parse_rule(form: RuleForm) -> Result<Rule, Problem> {
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
        names,
        action: parse_action(&form.action, form.errno_ret, form.errno.as_deref())?,
        args: args.into_iter().map(parse_arg).collect::<Result<_, _>>()?,
        includes: parse_condition(form.includes)?,
        excludes: parse_condition(form.excludes)?,
        otherwise: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        let error = Profile::parse("p.json", json).expect_err(json);
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }

    fn rule_error(rule: &str) -> String {
        let read = r#"{ "names": ["read", "write"], "action": "SCMP_ACT_ALLOW" }"#;
        error(&format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{read}, {rule}] }}"#))
    }

    #[test]
    fn errors_of_a_rule_name_the_file_and_the_rule() {
        for (rule, reason) in [
            (
                r#"{ "names": ["openat", "open"], "action": "SCMP_ACT_NOTIFY" }"#,
                "(openat and 1 more): SCMP_ACT_NOTIFY is not supported: there is no agent to notify",
            ),
            (r#"{ "names": ["a"], "action": "ALLOW" }"#, "(a): unknown action \"ALLOW\""),
            (r#"{ "action": "SCMP_ACT_ALLOW" }"#, "(): it names no system call"),
            (
                r#"{ "name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW" }"#,
                "(b): both 'name' and 'names' are specified, use either one",
            ),
            (
                r#"{ "name": "a", "action": "SCMP_ACT_ERRNO", "errnoRet": 5000 }"#,
                "(a): error number 5000 is larger than 4095",
            ),
            (
                r#"{ "name": "a", "action": "SCMP_ACT_ERRNO", "errno": "EIO" }"#,
                "(a): error \"EIO\" is given by name alone, give its number as errnoRet too",
            ),
            (
                r#"{ "name": "a", "action": "SCMP_ACT_ALLOW", "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] }"#,
                "(a): argument index 6 is not one of 0 to 5",
            ),
            (
                r#"{ "name": "a", "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 0, "op": "EQ" }] }"#,
                "(a): unknown operator \"EQ\"",
            ),
            (
                r#"{ "name": "a", "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8.1" } }"#,
                "(a): invalid kernel version \"4.8.1\", expected \"<kernel>.<major>\"",
            ),
        ] {
            assert_eq!(rule_error(rule), format!("seccomp profile p.json: rule 2 {reason}"));
        }
    }

    #[test]
    fn errors_of_the_whole_file() {
        for (json, reason) in [
            ("{}", "there is no defaultAction (--security-opt seccomp=unconfined runs without a filter)"),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"] }"#,
                "unknown architecture \"SCMP_ARCH_Z80\"",
            ),
            (
                r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                     "archMap": [{ "architecture": "SCMP_ARCH_X86_64" }] }"#,
                "both 'architectures' and 'archMap' are specified, use either one",
            ),
            (r#"{ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"] }"#, "unknown flag \"FAST\""),
        ] {
            assert_eq!(error(json), format!("seccomp profile p.json: {reason}"));
        }
        assert!(error("{").starts_with("seccomp profile p.json cannot be read as one: EOF"));
        let misspelt = rule_error(r#"{ "name": "a", "action": "SCMP_ACT_ALLOW", "arg": [] }"#);
        assert!(misspelt.contains("unknown field `arg`"), "{misspelt}");
    }
}
