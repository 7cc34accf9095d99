//! System call numbers by name. Pure. (`build.rs` includes this file too.)

use std::collections::HashMap;

use super::target::Abi;

/// Names are the kernel's; a name that is not in here is newer than this program.
const NUMBERS: &str = include_str!("data/syscalls.tsv");

/// The numbers of every ABI.
#[derive(Debug)]
pub struct Table(HashMap<&'static str, [Option<u32>; 5]>);

/// i386 programs may also make these through socketcall(2) and ipc(2), whose first argument tells
/// which; the C library did so for most of i386's life.
const MULTIPLEXED: [(&str, &[(&str, u32)]); 2] = [
    (
        "socketcall",
        &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    ),
    (
        "ipc",
        &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    ),
];

impl Table {
    pub fn read() -> Table {
        let lines = NUMBERS.lines().filter(|line| !line.starts_with('#'));
        Table(lines.filter_map(parse_line).collect())
    }

    #[cfg(test)]
    pub fn has(&self, number: u32, abi: Abi) -> bool {
        self.0.values().any(|row| row[column(abi)] == Some(number))
    }

    /// A system call's number in an ABI, without `X32_BIT`; `None`: the ABI has no such call, or the
    /// name is unknown.
    pub fn number(&self, name: &str, abi: Abi) -> Option<u32> {
        self.0.get(name)?[column(abi)]
    }
}

/// The call that carries another one, and what its first argument then is.
pub fn carrier(name: &str, abi: Abi) -> Option<(&'static str, u32)> {
    if abi != Abi::X86 {
        return None;
    }
    let number = |calls: &[(&str, u32)]| calls.iter().find(|(call, _)| *call == name).map(|(_, n)| *n);
    MULTIPLEXED.iter().find_map(|(carrier, calls)| Some((*carrier, number(calls)?)))
}

fn column(abi: Abi) -> usize {
    match abi {
        Abi::X86_64 => 0,
        Abi::X86 => 1,
        Abi::X32 => 2,
        Abi::Aarch64 => 3,
        Abi::Arm => 4,
    }
}

/// Five columns of numbers; `-` is no such call.
fn parse_line(line: &'static str) -> Option<(&'static str, [Option<u32>; 5])> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    Some((name, std::array::from_fn(|_| fields.next()?.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        let table = Table::read();
        let native = if cfg!(target_arch = "x86_64") { Abi::X86_64 } else { Abi::Aarch64 };
        for (name, number) in [
            ("read", libc::SYS_read),
            ("openat2", libc::SYS_openat2),
            ("clone3", libc::SYS_clone3),
            ("socket", libc::SYS_socket),
            ("personality", libc::SYS_personality),
            ("mseal", libc::SYS_mseal),
        ] {
            assert_eq!(table.number(name, native).map(i64::from), Some(number), "{name}");
        }
        assert_eq!(table.number("socketcall", Abi::X86), Some(102));
        assert_eq!(table.number("execve", Abi::X32), Some(520));
        assert_eq!(table.number("cacheflush", Abi::Arm), Some(0xf0002));
        assert_eq!(table.number("socketcall", Abi::X86_64), None);
        assert_eq!(table.number("name", Abi::X86_64), None);
    }

    #[test]
    fn every_line_is_whole_and_no_number_is_taken_twice() {
        let lines: Vec<&str> = NUMBERS.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 480 && lines.iter().all(|line| line.split('\t').count() == 6));
        let table = Table::read();
        assert_eq!(table.0.len(), lines.len());
        for column in 0..5 {
            let mut numbers: Vec<u32> = table.0.values().filter_map(|row| row[column]).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all, "column {column}");
        }
    }

    /// What lets one search serve both (`compile`).
    #[test]
    fn x32_shares_the_numbers_below_512_with_x86_64() {
        let table = Table::read();
        let x32 = |row: &[Option<u32>; 5]| row[2].filter(|number| *number < 512);
        let mut shared = table.0.values().filter(|row| x32(row).is_some());
        assert!(shared.all(|row| row[2] == row[0]));
    }

    #[test]
    fn carriers() {
        assert_eq!(carrier("accept4", Abi::X86), Some(("socketcall", 18)));
        assert_eq!(carrier("shmctl", Abi::X86), Some(("ipc", 24)));
        assert_eq!((carrier("accept4", Abi::Arm), carrier("read", Abi::X86)), (None, None));
    }
}
