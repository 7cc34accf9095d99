//! Limits of a container: what `update` changes and `inspect` shows in `.HostConfig`, with docker's checks
//! and messages. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// docker's limits, in docker's units. `None` is what nobody set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i64>,
    /// Memory and swap together in bytes; -1 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Billionths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// Microseconds of each period; -1 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// 1024 is the usual weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// `0-3,5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// `0,1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and less is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
}

/// docker's least memory, in bytes.
const MEMORY_LEAST: i64 = 6 << 20;
/// Of one processor.
const NANO: i64 = 1_000_000_000;

/// What limits can be set on a host: processors and memory nodes as lists (`0-3,5`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    pub cpus: String,
    pub mems: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("Minimum memory limit allowed is 6MB")]
    Memory,
    #[error("Minimum memory reservation allowed is 6MB")]
    Reservation,
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    Swap,
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    Order,
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set")]
    BothTimes(&'static str),
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    Cpus(i64),
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    Period,
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    Quota,
    #[error("the {0}")]
    Shares(&'static str),
    #[error("Invalid value {value} for cpuset {what}: invalid format: {value}")]
    Set { what: &'static str, value: String },
    #[error("Requested {what} are not available - requested {value}, available: {available}")]
    NotAvailable { what: &'static str, value: String, available: String },
    #[error("Range of blkio weight is from 10 to 1000")]
    Weight,
    /// With what is set already; docker names the container.
    #[error("{0}")]
    Conflict(&'static str),
}

impl Resources {
    /// docker's checks of what was typed, whatever the container has.
    pub fn check(&self, available: &Available) -> Result<(), Invalid> {
        let Resources { memory, memory_reservation, memory_swap, .. } = self;
        let below = |value: &Option<i64>, least: i64| value.is_some_and(|value| value < least);
        if below(memory, MEMORY_LEAST) {
            return Err(Invalid::Memory);
        }
        if let (Some(memory), Some(swap)) = (memory, memory_swap)
            && *swap > 0
            && swap < memory
        {
            return Err(Invalid::Swap);
        }
        if below(memory_reservation, MEMORY_LEAST) {
            return Err(Invalid::Reservation);
        }
        if let (Some(memory), Some(reservation)) = (memory, memory_reservation)
            && memory < reservation
        {
            return Err(Invalid::Order);
        }
        self.check_processors(available)?;
        match self.blkio_weight {
            Some(weight) if !(10..=1000).contains(&weight) => Err(Invalid::Weight),
            _ => Ok(()),
        }
    }

    fn check_processors(&self, available: &Available) -> Result<(), Invalid> {
        let cpus = members(&available.cpus).map_or(1, |set| set.len() as i64);
        if let Some(nano) = self.nano_cpus {
            for (set, name) in [(self.cpu_period, "Period"), (self.cpu_quota, "Quota")] {
                if nano > 0 && set.is_some_and(|set| set > 0) {
                    return Err(Invalid::BothTimes(name));
                }
            }
            if !(NANO / 100..=cpus * NANO).contains(&nano) {
                return Err(Invalid::Cpus(cpus));
            }
        }
        if self.cpu_period.is_some_and(|period| !(1_000..=1_000_000).contains(&period)) {
            return Err(Invalid::Period);
        }
        if self.cpu_quota.is_some_and(|quota| (1..1_000).contains(&quota)) {
            return Err(Invalid::Quota);
        }
        match self.cpu_shares {
            Some(0 | 1) => return Err(Invalid::Shares("minimum allowed cpu-shares is 2")),
            // A negative one counts as a huge one, as with runc.
            Some(shares) if !(0..=262_144).contains(&shares) => {
                return Err(Invalid::Shares("maximum allowed cpu-shares is 262144"));
            }
            _ => {}
        }
        among("cpus", "CPUs", self.cpuset_cpus.as_deref(), &available.cpus)?;
        among("mems", "memory nodes", self.cpuset_mems.as_deref(), &available.mems)
    }

    /// Puts `change` over this, where docker lets it.
    pub fn change(&mut self, change: &Resources) -> Result<(), Invalid> {
        let set = |value: Option<i64>| value.is_some_and(|value| value > 0);
        let conflicts = [
            (
                set(change.nano_cpus) && set(self.cpu_period),
                "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
            ),
            (
                set(change.nano_cpus) && set(self.cpu_quota),
                "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
            ),
            (
                set(change.cpu_period) && set(self.nano_cpus),
                "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
            ),
            (
                set(change.cpu_quota) && set(self.nano_cpus),
                "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
            ),
            (
                change.memory_swap.is_none()
                    && change.memory.is_some_and(|memory| memory > self.memory_swap.unwrap_or(0)),
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ),
        ];
        if let Some((_, why)) = conflicts.into_iter().find(|(is_so, _)| *is_so) {
            return Err(Invalid::Conflict(why));
        }
        *self = self.with(change);
        Ok(())
    }

    /// This, with what `other` sets.
    pub fn with(&self, other: &Resources) -> Resources {
        let other = other.clone();
        Resources {
            memory: other.memory.or(self.memory),
            memory_reservation: other.memory_reservation.or(self.memory_reservation),
            memory_swap: other.memory_swap.or(self.memory_swap),
            nano_cpus: other.nano_cpus.or(self.nano_cpus),
            cpu_period: other.cpu_period.or(self.cpu_period),
            cpu_quota: other.cpu_quota.or(self.cpu_quota),
            cpu_shares: other.cpu_shares.or(self.cpu_shares),
            cpuset_cpus: other.cpuset_cpus.or_else(|| self.cpuset_cpus.clone()),
            cpuset_mems: other.cpuset_mems.or_else(|| self.cpuset_mems.clone()),
            pids_limit: other.pids_limit.or(self.pids_limit),
            blkio_weight: other.blkio_weight.or(self.blkio_weight),
        }
    }
}

/// The numbers of a list like `0-3,5`; `None` when it is none.
fn members(list: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        // No machine has more; a longer list would only take memory.
        if first > last || last > 8192 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

fn among(
    what: &'static str,
    noun: &'static str,
    wanted: Option<&str>,
    available: &str,
) -> Result<(), Invalid> {
    let Some(value) = wanted else { return Ok(()) };
    let value = value.to_owned();
    let Some(set) = members(&value) else { return Err(Invalid::Set { what, value }) };
    match members(available) {
        Some(there) if !set.is_subset(&there) => {
            Err(Invalid::NotAvailable { what: noun, value, available: available.to_owned() })
        }
        _ => Ok(()),
    }
}

/// docker's sizes in bytes: a number with an optional unit (`64m`, `1.5GiB`); units are powers of 1024.
pub fn parse_bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => {
            let rest = unit.get(1..).unwrap_or_default();
            let power = "kmgtp".find(&unit[..1]).filter(|_| matches!(rest, "" | "b" | "ib"));
            power.ok_or_else(|| format!("invalid suffix: '{unit}'"))? + 1
        }
    };
    Ok((number * 1024f64.powi(power as i32)) as i64)
}

/// docker's number of processors, in billionths.
pub fn parse_cpus(text: &str) -> Result<i64, String> {
    let failed = || format!("failed to parse {text} as a rational number");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return Err(failed());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| failed())? };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| failed())?;
    whole
        .checked_mul(NANO)
        .and_then(|nano| nano.checked_add(fraction))
        .map(|nano| sign * nano)
        .ok_or_else(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Available {
        Available { cpus: "0-1".into(), mems: "0".into() }
    }

    fn none() -> Resources {
        Resources::default()
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("100", 100),
            ("0", 0),
            ("1KiB", 1024),
            ("2 MB", 2 << 20),
            ("7B", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["abc", "-5", "", "1..2"] {
            assert_eq!(parse_bytes(text), Err(format!("invalid size: '{text}'")));
        }
        assert_eq!(parse_bytes("5x"), Err("invalid suffix: 'x'".into()));
        assert_eq!(parse_bytes("5kk"), Err("invalid suffix: 'kk'".into()));
    }

    #[test]
    fn processors() {
        for (text, nano) in [
            ("1.5", 1_500_000_000),
            ("0", 0),
            (".25", 250_000_000),
            ("2.", 2 * NANO),
            ("-1", -NANO),
            ("0.000000001", 1),
        ] {
            assert_eq!(parse_cpus(text), Ok(nano), "{text}");
        }
        for text in ["abc", "", ".", "1e3x", "1.x"] {
            assert_eq!(parse_cpus(text), Err(format!("failed to parse {text} as a rational number")));
        }
        assert_eq!(parse_cpus("1.1234567891"), Err("value is too precise".into()));
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        let said = |resources: Resources| resources.check(&host()).map_err(|error| error.to_string());
        let refused = [
            (Resources { memory: Some(1 << 20), ..none() }, "Minimum memory limit allowed is 6MB"),
            (
                Resources { memory_reservation: Some(1024), ..none() },
                "Minimum memory reservation allowed is 6MB",
            ),
            (
                Resources { memory: Some(64 << 20), memory_swap: Some(32 << 20), ..none() },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                Resources { memory: Some(64 << 20), memory_reservation: Some(65 << 20), ..none() },
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (
                Resources { nano_cpus: Some(NANO), cpu_period: Some(10_000), ..none() },
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                Resources { nano_cpus: Some(1000 * NANO), ..none() },
                "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                Resources { cpu_period: Some(10), ..none() },
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (
                Resources { cpu_quota: Some(10), ..none() },
                "CPU cfs quota can not be less than 1ms (i.e. 1000)",
            ),
            (Resources { cpu_shares: Some(1), ..none() }, "the minimum allowed cpu-shares is 2"),
            (Resources { cpu_shares: Some(-1), ..none() }, "the maximum allowed cpu-shares is 262144"),
            (
                Resources { cpuset_cpus: Some("1-0".into()), ..none() },
                "Invalid value 1-0 for cpuset cpus: invalid format: 1-0",
            ),
            (
                Resources { cpuset_cpus: Some("77".into()), ..none() },
                "Requested CPUs are not available - requested 77, available: 0-1",
            ),
            (
                Resources { cpuset_mems: Some("7".into()), ..none() },
                "Requested memory nodes are not available - requested 7, available: 0",
            ),
            (Resources { blkio_weight: Some(5), ..none() }, "Range of blkio weight is from 10 to 1000"),
        ];
        for (resources, words) in refused {
            assert_eq!(said(resources), Err(words.to_owned()));
        }
        let fine = Resources {
            memory: Some(64 << 20),
            memory_swap: Some(-1),
            nano_cpus: Some(NANO / 100),
            cpu_quota: Some(-1),
            cpuset_cpus: Some("0,1".into()),
            pids_limit: Some(-1),
            ..none()
        };
        assert_eq!(said(fine), Ok(()));
    }

    #[test]
    fn changes_add_up_unless_they_contradict_what_is_set() {
        let mut set = none();
        let memory = Resources { memory: Some(64 << 20), ..none() };
        let told = set.change(&memory).expect_err("refused").to_string();
        assert!(
            told.starts_with("Memory limit should be smaller than already set memoryswap limit"),
            "{told}"
        );
        assert_eq!(set, none());
        let both = Resources { memory_swap: Some(128 << 20), ..memory.clone() };
        set.change(&both).expect("changed");
        set.change(&Resources { nano_cpus: Some(NANO), ..none() }).expect("changed");
        assert_eq!((set.memory, set.nano_cpus), (Some(64 << 20), Some(NANO)));
        let told =
            set.change(&Resources { cpu_quota: Some(5000), ..none() }).expect_err("refused").to_string();
        assert_eq!(told, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
}
