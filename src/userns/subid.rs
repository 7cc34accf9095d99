//! `/etc/subuid` and `/etc/subgid` (subuid(5)).

use serde::{Deserialize, Serialize};

/// A range of ids: `first` and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub first: u32,
    pub count: u32,
}

/// The ranges of a user, in file order. A line names the user by name or by number; lines that do
/// not parse, that are empty or that overflow 32 bits are skipped, as shadow does.
pub fn ranges_of(file: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    file.lines()
        .filter_map(|line| {
            let mut fields = line.trim().splitn(3, ':');
            let owner = fields.next()?;
            if Some(owner) != name && owner != number {
                return None;
            }
            let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            (range.count > 0 && range.first.checked_add(range.count).is_some()).then_some(range)
        })
        .collect()
}

/// The name of a user in passwd(5).
pub fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
        [name, _, number, ..] if number == uid => Some(name.to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_number() {
        let file = "a:100000:65536\n1000:300000:10\nb:1:1\na:bad:1\na:4294967295:2\na:5:0\n";
        let found = ranges_of(file, Some("a"), 1000);
        assert_eq!(found, [Range { first: 100_000, count: 65536 }, Range { first: 300_000, count: 10 }]);
        assert_eq!(ranges_of(file, None, 7), []);
    }

    #[test]
    fn names() {
        assert_eq!(user_name("root:x:0:0\nu:x:1000:1000::", 1000), Some("u".into()));
        assert_eq!(user_name("", 1000), None);
    }
}
