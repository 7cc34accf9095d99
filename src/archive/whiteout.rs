//! The names by which a layer says "gone" (image-spec layer.md, "Whiteouts").

/// What a member's name means for the layers below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// An ordinary member.
    None,
    /// `.wh.NAME`: hides NAME of the lower layers.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: hides all that lower layers have in this directory.
    Opaque,
    /// Bookkeeping of aufs, without meaning here.
    Ignored,
    /// `.wh.` with no name, or with one that cannot be a name.
    Invalid,
}

pub(super) const PREFIX: &[u8] = b".wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Classifies a normalised member path.
pub(super) fn classify(path: &[u8]) -> Marker<'_> {
    if !path.starts_with(PREFIX) && !contains_marker(path) {
        return Marker::None;
    }
    let (parents, name) = match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    for parent in parents.split(|&b| b == b'/') {
        if parent.starts_with(AUFS_PREFIX) {
            return Marker::Ignored;
        }
        if parent.starts_with(PREFIX) {
            return Marker::Invalid;
        }
    }
    match name.strip_prefix(PREFIX) {
        None => Marker::None,
        Some(_) if name == OPAQUE => Marker::Opaque,
        Some(_) if name.starts_with(AUFS_PREFIX) => Marker::Ignored,
        Some(b"" | b"." | b"..") => Marker::Invalid,
        Some(hidden) => Marker::Whiteout(hidden),
    }
}

fn contains_marker(path: &[u8]) -> bool {
    path.windows(PREFIX.len() + 1).any(|window| window == b"/.wh.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let table: [(&[u8], Marker); 13] = [
            (b"a/b", Marker::None),
            (b"a/x.wh.b", Marker::None),
            (b".wh.b", Marker::Whiteout(b"b")),
            (b"a/.wh.b", Marker::Whiteout(b"b")),
            (b"a/.wh..b", Marker::Whiteout(b".b")),
            (b".wh..wh..opq", Marker::Opaque),
            (b"a/.wh..wh..opq", Marker::Opaque),
            (b".wh..wh.aufs", Marker::Ignored),
            (b".wh..wh.plnk/42.7", Marker::Ignored),
            (b"a/.wh.", Marker::Invalid),
            (b"a/.wh..", Marker::Invalid),
            (b"a/.wh...", Marker::Invalid),
            (b".wh.a/b", Marker::Invalid),
        ];
        for (path, marker) in table {
            assert_eq!(classify(path), marker, "{}", path.escape_ascii());
        }
    }
}
