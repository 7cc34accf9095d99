//! docker's rules about the paths of `cp`: cleaning, trailing slashes, and what a copy is called. Pure.

/// Go's `path.Clean`: no empty, `.` or inner `..` component; never empty.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                _ => {
                    parts.pop();
                }
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Go's `path.Base`.
pub fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (path.is_empty(), trimmed.is_empty()) {
        (true, _) => ".",
        (_, true) => "/",
        _ => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// Go's `path.Dir`.
pub fn parent(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |slash| slash + 1)])
}

/// `a` and `b` as one clean path.
pub fn join(a: &str, b: &str) -> String {
    clean(&format!("{a}/{b}"))
}

fn is_dot(path: &str) -> bool {
    base(path) == "."
}

fn ends_in_slash(path: &str) -> bool {
    path.ends_with('/')
}

/// Whether the path says that it means a directory.
pub fn asserts_directory(path: &str) -> bool {
    ends_in_slash(path) || is_dot(path)
}

/// A cleaned path with the `/.` or `/` that the original ends in.
pub fn preserve_ending(cleaned: String, original: &str) -> String {
    let mut path = cleaned;
    if !is_dot(&path) && is_dot(original) {
        if !ends_in_slash(&path) {
            path.push('/');
        }
        path.push('.');
    }
    if !ends_in_slash(&path) && ends_in_slash(original) {
        path.push('/');
    }
    path
}

/// A path of a container, from its root on.
pub fn absolute(path: &str) -> String {
    preserve_ending(join("/", path), path)
}

/// The directory of an entry, and the entry's name; `.` stays a name.
pub fn split_entry(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if is_dot(path) {
        cleaned.push_str("/.");
    }
    (parent(&cleaned), base(&cleaned).to_owned())
}

/// What a link was resolved to, with the original's ending, and the name the copy gets when that differs.
pub fn rebase(path: &str, resolved: &str) -> (String, Option<String>) {
    let mut resolved = resolved.to_owned();
    if is_dot(path) && !is_dot(&resolved) {
        resolved.push_str("/.");
    }
    if ends_in_slash(path) && !ends_in_slash(&resolved) {
        resolved.push('/');
    }
    let name = (base(path) != base(&resolved)).then(|| base(path).to_owned());
    (resolved, name)
}

/// One side of a copy as its user typed it: the container, and the path.
pub fn split_side(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        _ if argument.starts_with('/') => (None, argument),
        Some((container, path)) if !container.starts_with('.') && !container.is_empty() => {
            (Some(container), path)
        }
        // docker takes an empty container's name for none at all.
        Some(("", path)) => (None, path),
        _ => (None, argument),
    }
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub path: String,
    /// `None`: nothing is there.
    pub is_directory: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("cannot copy directory")]
    DirectoryOverFile,
    #[error("no such directory")]
    NoDirectory,
}

/// The directory to extract in, and the name there; `None` keeps the source's own.
pub fn target(
    source_is_directory: bool,
    destination: &Destination,
) -> Result<(String, Option<String>), Misfit> {
    let (directory, name) = split_entry(&destination.path);
    match destination.is_directory {
        Some(true) => Ok((destination.path.clone(), None)),
        Some(false) if source_is_directory => Err(Misfit::DirectoryOverFile),
        None if !source_is_directory && asserts_directory(&destination.path) => Err(Misfit::NoDirectory),
        Some(false) | None => Ok((directory, Some(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_is_gos() {
        let table = [
            ("", "."),
            (".", "."),
            ("a/", "a"),
            ("/", "/"),
            ("//a/./b/", "/a/b"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("a/../../b", "../b"),
            ("/a/b/../..", "/"),
        ];
        for (path, cleaned) in table {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!((base("/"), base(""), base("a/b/"), base("/a/.")), ("/", ".", "b", "."));
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("a"), ".");
    }

    #[test]
    fn endings_are_kept() {
        assert_eq!(absolute("d"), "/d");
        assert_eq!(absolute("/d/"), "/d/");
        assert_eq!(absolute("/d/."), "/d/.");
        assert_eq!(absolute("/"), "/");
        assert_eq!(absolute("/."), "/.");
        assert_eq!(absolute("../x"), "/x");
        assert_eq!(split_entry("/a/b/."), ("/a/b".into(), ".".into()));
        assert_eq!(split_entry("/a/b/"), ("/a".into(), "b".into()));
        assert_eq!(split_entry("/"), ("/".into(), "/".into()));
    }

    #[test]
    fn a_followed_link_keeps_its_name() {
        assert_eq!(rebase("/ld", "/d"), ("/d".into(), Some("ld".into())));
        assert_eq!(rebase("/ld/", "/d"), ("/d/".into(), Some("ld".into())));
        assert_eq!(rebase("/ld/.", "/d"), ("/d/.".into(), None));
        assert_eq!(rebase("/x/d", "/d"), ("/d".into(), None));
    }

    #[test]
    fn sides() {
        assert_eq!(split_side("c1:/a"), (Some("c1"), "/a"));
        assert_eq!(split_side("c1:"), (Some("c1"), ""));
        assert_eq!(split_side("/a:b"), (None, "/a:b"));
        assert_eq!(split_side("./a:b"), (None, "./a:b"));
        assert_eq!(split_side("a"), (None, "a"));
        assert_eq!(split_side("-"), (None, "-"));
        assert_eq!(split_side(":/x"), (None, "/x"));
    }

    #[test]
    fn where_a_copy_goes() {
        let to = |path: &str, is_directory| Destination { path: path.to_owned(), is_directory };
        let named = |directory: &str, name: &str| Ok((directory.to_owned(), Some(name.to_owned())));
        assert_eq!(target(false, &to("/d", Some(true))), Ok(("/d".into(), None)));
        assert_eq!(target(true, &to("/d/", Some(true))), Ok(("/d/".into(), None)));
        assert_eq!(target(true, &to("/f", Some(false))), Err(Misfit::DirectoryOverFile));
        assert_eq!(target(false, &to("/d/f", Some(false))), named("/d", "f"));
        assert_eq!(target(true, &to("/d/new/", None)), named("/d", "new"));
        assert_eq!(target(false, &to("/d/new", None)), named("/d", "new"));
        assert_eq!(target(false, &to("/d/new/", None)), Err(Misfit::NoDirectory));
        assert_eq!(target(false, &to("", None)), Err(Misfit::NoDirectory));
    }
}
