//! The ids that a process of single-id mode believes to have, and the kernel's rules for changing them
//! (credentials(7), setuid(2), setreuid(2), setresuid(2), setfsuid(2), setgroups(2)). Pure; runs in the pretender.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// `(uid_t)-1`: no id; in most calls "leave it as it is".
pub const NONE: u32 = u32::MAX;
/// NGROUPS_MAX of linux/limits.h.
pub const GROUPS_MAX: usize = 65536;

/// One kind of id: a process's user ids, or its group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quad {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub files: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ids {
    pub user: Quad,
    pub group: Quad,
    /// Supplementary ones, sorted.
    groups: Vec<u32>,
    /// The program, as its caller knows it, that asked to keep its capabilities when it becomes another user; the next
    /// program does not.
    keeper: Option<u64>,
}

impl Quad {
    pub fn all(id: u32) -> Quad {
        Quad { real: id, effective: id, saved: id, files: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2), setgid(2). `privileged`: with CAP_SETUID or CAP_SETGID.
    pub fn set(self, privileged: bool, id: u32) -> Result<Quad, Errno> {
        match id {
            NONE => Err(Errno::EINVAL),
            _ if privileged => Ok(Quad::all(id)),
            _ if id == self.real || id == self.saved => Ok(Quad { effective: id, files: id, ..self }),
            _ => Err(Errno::EPERM),
        }
    }

    /// setreuid(2), setregid(2).
    pub fn set_two(self, privileged: bool, real: u32, effective: u32) -> Result<Quad, Errno> {
        let mut new = self;
        if real != NONE {
            if !privileged && real != self.real && real != self.effective {
                return Err(Errno::EPERM);
            }
            new.real = real;
        }
        if effective != NONE {
            if !privileged && !self.has(effective) {
                return Err(Errno::EPERM);
            }
            new.effective = effective;
        }
        if real != NONE || (effective != NONE && effective != self.real) {
            new.saved = new.effective;
        }
        new.files = new.effective;
        Ok(new)
    }

    /// setresuid(2), setresgid(2): real, effective, saved.
    pub fn set_three(self, privileged: bool, ids: [u32; 3]) -> Result<Quad, Errno> {
        if !privileged && ids.iter().any(|id| *id != NONE && !self.has(*id)) {
            return Err(Errno::EPERM);
        }
        let or = |id: u32, old: u32| if id == NONE { old } else { id };
        let effective = or(ids[1], self.effective);
        Ok(Quad { real: or(ids[0], self.real), effective, saved: or(ids[2], self.saved), files: effective })
    }

    /// setfsuid(2), setfsgid(2), which never fail.
    pub fn set_files(self, privileged: bool, id: u32) -> Quad {
        if id != NONE && (privileged || self.has(id) || id == self.files) {
            Quad { files: id, ..self }
        } else {
            self
        }
    }
}

impl Ids {
    pub fn new(uid: u32, gid: u32, groups: Vec<u32>) -> Ids {
        let mut ids = Ids { user: Quad::all(uid), group: Quad::all(gid), groups: Vec::new(), keeper: None };
        ids.regroup(groups);
        ids
    }

    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Whether this process may have the capabilities that it had as root, prctl(2) "PR_SET_KEEPCAPS".
    pub fn has_power(&self, program: impl FnOnce() -> Option<u64>) -> bool {
        self.user.effective == 0 || (self.keeper.is_some() && program() == self.keeper)
    }

    /// Keeping is only given up while there is something to lose.
    pub fn keep_power(&self, keep: bool, program: Option<u64>) -> Ids {
        let keeper = match keep {
            true => program,
            false if self.user.effective == 0 => None,
            false => self.keeper,
        };
        Ids { keeper, ..self.clone() }
    }

    /// setgroups(2) once the list was read; a call without the right to it fails before that.
    pub fn set_groups(&self, list: Vec<u32>) -> Result<Ids, Errno> {
        if list.contains(&NONE) {
            return Err(Errno::EINVAL);
        }
        let mut new = self.clone();
        new.regroup(list);
        Ok(new)
    }

    /// The kernel sorts them too.
    fn regroup(&mut self, mut list: Vec<u32>) {
        list.sort_unstable();
        self.groups = list;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn quad(real: u32, effective: u32, saved: u32, files: u32) -> Quad {
        Quad { real, effective, saved, files }
    }

    #[test]
    fn root_becomes_another_for_good_or_for_a_while() {
        let root = Quad::all(0);
        assert_eq!(root.set(true, 33), Ok(Quad::all(33)));
        let gone = Quad::all(33);
        assert_eq!(gone.set(false, 0), Err(Errno::EPERM));
        assert_eq!(gone.set(false, 33), Ok(gone));
        assert_eq!(gone.set_two(false, NONE, 0), Err(Errno::EPERM));
        assert_eq!(gone.set_three(false, [0, 33, 33]), Err(Errno::EPERM));
        // seteuid(2) and back.
        let lent = root.set_three(true, [NONE, 33, NONE]).expect("root may");
        assert_eq!(lent, quad(0, 33, 0, 33));
        assert_eq!(lent.set_three(false, [NONE, 0, NONE]), Ok(root));
        assert_eq!(lent.set(false, 0), Ok(root));
        assert_eq!(lent.set(false, 33), Err(Errno::EPERM));
    }

    #[test]
    fn no_id_is_an_error_or_no_change() {
        let ids = quad(1, 2, 3, 4);
        for privileged in [false, true] {
            assert_eq!(ids.set(privileged, NONE), Err(Errno::EINVAL));
            assert_eq!(ids.set_two(privileged, NONE, NONE), Ok(quad(1, 2, 3, 2)));
            assert_eq!(ids.set_three(privileged, [NONE; 3]), Ok(quad(1, 2, 3, 2)));
            assert_eq!(ids.set_files(privileged, NONE), ids);
        }
    }

    #[test]
    fn setreuid_and_the_saved_id() {
        let ids = quad(1, 2, 2, 2);
        assert_eq!(ids.set_two(false, 2, 1), Ok(quad(2, 1, 1, 1)));
        // A change to the real id alone leaves the saved one.
        assert_eq!(ids.set_two(false, NONE, 1), Ok(quad(1, 1, 2, 1)));
        assert_eq!(ids.set_two(true, NONE, 9), Ok(quad(1, 9, 9, 9)));
        // The saved id may become the effective one, not the real one.
        let saved = quad(1, 2, 3, 2);
        assert_eq!(saved.set_two(false, NONE, 3), Ok(quad(1, 3, 3, 3)));
        assert_eq!(saved.set_two(false, 3, NONE), Err(Errno::EPERM));
    }

    #[test]
    fn the_id_for_files_follows_or_stands_alone() {
        let user = quad(1, 2, 3, 2);
        assert_eq!(user.set_files(false, 3), quad(1, 2, 3, 3));
        assert_eq!(user.set_files(false, 9), user);
        assert_eq!(user.set_files(true, 9), quad(1, 2, 3, 9));
        assert_eq!(quad(1, 2, 3, 9).set_files(false, 9), quad(1, 2, 3, 9));
    }

    /// Every thread of a process makes the call (the C library's way), and a signal may have one made twice. Only for
    /// who becomes root again by setuid(2) the second call is a root's, which takes all ids.
    #[test]
    fn what_was_allowed_once_is_allowed_again_and_changes_nothing() {
        let some = [0, 1, 2, NONE];
        let from = [0, 1, 2];
        for (a, b, c) in from.iter().flat_map(|a| from.iter().flat_map(move |b| from.map(|c| (*a, *b, c)))) {
            let before = quad(a, b, c, b);
            let may = |ids: Quad| ids.effective == 0;
            let check = |call: &dyn Fn(Quad, bool) -> Result<Quad, Errno>| {
                if let Ok(after) = call(before, may(before)) {
                    let again = call(after, may(after)).expect("allowed again");
                    let regained = may(after) && !may(before) && again == Quad::all(0);
                    assert!(again == after || regained, "from {before:?} {after:?}, then {again:?}");
                }
            };
            for x in some {
                check(&|ids, may| ids.set(may, x));
                for y in some {
                    check(&|ids, may| ids.set_two(may, x, y));
                    for z in some {
                        check(&|ids, may| ids.set_three(may, [x, y, z]));
                    }
                }
            }
        }
    }

    #[test]
    fn groups_are_sorted_and_checked() {
        let ids = Ids::new(0, 0, vec![7, 0, 7]);
        assert_eq!(ids.groups(), [0, 7, 7]);
        assert_eq!(ids.set_groups(vec![3, 1]).map(|ids| ids.groups().to_vec()), Ok(vec![1, 3]));
        assert_eq!(ids.set_groups(vec![3, NONE]), Err(Errno::EINVAL));
    }

    #[test]
    fn power_is_kept_by_the_program_that_asked_for_it() {
        let root = Ids::new(0, 0, Vec::new());
        let user = |ids: &Ids| Ids { user: Quad::all(33), ..ids.clone() };
        let (this, next) = (|| Some(1), || Some(2));
        assert!(root.has_power(next) && !user(&root).has_power(this));
        let keeps = root.keep_power(true, this());
        assert!(user(&keeps).has_power(this) && !user(&keeps).has_power(next));
        assert!(user(&keeps).keep_power(false, this()).has_power(this));
        assert!(!user(&keeps.keep_power(false, this())).has_power(this));
    }
}
