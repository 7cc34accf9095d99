//! Who a container's process runs as: `user[:group]`, as `--user` and an image's USER have it.
//! Names are looked up later, in the container's own files (`runtime::identity`).

use std::fmt;
use std::str::FromStr;

/// A parsed `user[:group]`. Nothing given is root with root's group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserSpec {
    pub user: Option<Principal>,
    pub group: Option<Principal>,
}

/// A user or group as it was given. What looks like a number is an id, never a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    Id(u32),
    Name(String),
}

/// docker's limit, for the sake of 32-bit programs.
pub const MAX_ID: u32 = i32::MAX as u32;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("uids and gids must be in range 0-{MAX_ID} ({id} in {spec:?} is not)")]
pub struct InvalidUser {
    pub spec: String,
    pub id: String,
}

impl FromStr for UserSpec {
    type Err = InvalidUser;

    fn from_str(text: &str) -> Result<UserSpec, InvalidUser> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let parse = |part: &str| {
            parse_principal(part).map_err(|id| InvalidUser { spec: text.to_owned(), id: id.to_owned() })
        };
        Ok(UserSpec { user: parse(user)?, group: parse(group)? })
    }
}

/// Fails with the part itself when it is a number too small or too large.
fn parse_principal(part: &str) -> Result<Option<Principal>, &str> {
    if part.is_empty() {
        return Ok(None);
    }
    let digits = part.strip_prefix(['+', '-']).unwrap_or(part);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Some(Principal::Name(part.to_owned())));
    }
    match part.parse::<i64>().ok().and_then(|id| u32::try_from(id).ok()) {
        Some(id) if id <= MAX_ID => Ok(Some(Principal::Id(id))),
        _ => Err(part),
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Id(id) => write!(f, "{id}"),
            Principal::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}")?;
        }
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Principal>, Option<Principal>) {
        let spec: UserSpec = text.parse().expect(text);
        (spec.user, spec.group)
    }

    #[test]
    fn every_form() {
        let id = |id| Some(Principal::Id(id));
        let name = |name: &str| Some(Principal::Name(name.to_owned()));
        assert_eq!(parse(""), (None, None));
        assert_eq!(parse("redis"), (name("redis"), None));
        assert_eq!(parse("1000"), (id(1000), None));
        assert_eq!(parse("1000:50"), (id(1000), id(50)));
        assert_eq!(parse("www-data:50"), (name("www-data"), id(50)));
        assert_eq!(parse("0:adm"), (id(0), name("adm")));
        assert_eq!(parse(":adm"), (None, name("adm")));
        assert_eq!(parse("u:"), (name("u"), None));
        assert_eq!(parse("007:+1"), (id(7), id(1)));
        assert_eq!(parse("1000a:-"), (name("1000a"), name("-")));
        assert_eq!(parse("a:b:c"), (name("a"), name("b:c")));
        assert_eq!(parse("2147483647").0, id(MAX_ID));
    }

    #[test]
    fn displays_what_it_parsed() {
        for text in ["", "redis", "1000:50", ":adm", "a:b:c"] {
            assert_eq!(text.parse::<UserSpec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_ids_out_of_range() {
        for (text, id) in
            [("-1", "-1"), ("2147483648", "2147483648"), ("u:99999999999999999999", "99999999999999999999")]
        {
            let error = text.parse::<UserSpec>().expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("uids and gids must be in range 0-2147483647 ({id} in {text:?} is not)")
            );
        }
    }
}
