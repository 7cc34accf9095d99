//! The overlay of image layers below a writable one, by the kernel or by fuse-overlayfs.
//!
//! Runs in the container's init (native) or in the step that creates it (fuse-overlayfs, before it
//! becomes that program).

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys;
use crate::sys::mount::{Attributes, FileSystem, attach, mount_classic};
use crate::sys::path::Root;

/// Where the parts are. Layer paths are relative to `base`, so that many of them fit the kernel's
/// limits wherever the store is.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The directory that the others are relative to.
    pub base: PathBuf,
    /// Lowest first, as images list them.
    pub layers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub target: PathBuf,
    /// Leave out what makes the upper layer survive a crash: it is thrown away.
    pub volatile: bool,
}

impl Overlay {
    /// The lower directories as overlayfs wants them: topmost first, each once. Where an image
    /// repeats a layer, only its topmost place has an effect.
    fn lower(&self) -> Vec<&Path> {
        let mut lower: Vec<&Path> = Vec::new();
        for layer in self.layers.iter().rev() {
            if !lower.contains(&layer.as_path()) {
                lower.push(layer);
            }
        }
        lower
    }

    /// Mounts with the kernel's overlayfs and attaches it to the target; returns the mount's root.
    pub fn mount_native(&self) -> sys::Result<OwnedFd> {
        nix::unistd::chdir(&self.base)
            .map_err(|errno| sys::Error::new("chdir", format!("{:?}", self.base), errno))?;
        let fs = FileSystem::open("overlay")?;
        for layer in self.lower() {
            match fs.set("lowerdir+", layer.as_os_str().as_bytes()) {
                // Before Linux 6.7 the layers have to come in one string.
                Err(error) if error.is(Errno::EINVAL) => return self.mount_in_one_string(),
                result => result?,
            }
        }
        fs.set("upperdir", self.upper.as_os_str().as_bytes())?;
        fs.set("workdir", self.work.as_os_str().as_bytes())?;
        fs.set_flag("userxattr")?;
        if self.volatile {
            fs.set_flag("volatile")?;
        }
        let mount = fs.mount(Attributes::NONE)?;
        let target = Root::open(&self.target)?;
        attach(&mount, &target)?;
        Ok(mount)
    }

    fn mount_in_one_string(&self) -> sys::Result<OwnedFd> {
        let mut options = self.options();
        options.push(",userxattr");
        if self.volatile {
            options.push(",volatile");
        }
        mount_classic("overlay", &self.target, 0, options.as_bytes())?;
        let root = Root::open(&self.target)?;
        root.as_fd().try_clone_to_owned().map_err(|_| sys::Error::last("dup", "overlay"))
    }

    fn options(&self) -> OsString {
        let mut options = OsString::from("lowerdir=");
        for (i, layer) in self.lower().iter().enumerate() {
            if i > 0 {
                options.push(":");
            }
            options.push(layer);
        }
        options.push(",upperdir=");
        options.push(&self.upper);
        options.push(",workdir=");
        options.push(&self.work);
        options
    }

    /// The command line that has fuse-overlayfs mount it and stay in the background.
    pub fn fuse_command(&self, program: &Path) -> Vec<CString> {
        let strings = [
            program.as_os_str().to_owned(),
            "-o".into(),
            self.options(),
            self.target.clone().into_os_string(),
        ];
        strings.into_iter().filter_map(|s| CString::new(s.into_vec()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay() -> Overlay {
        Overlay {
            base: "/store/layers".into(),
            layers: vec!["a/diff".into(), "b/diff".into(), "a/diff".into()],
            upper: "../containers/c/upper".into(),
            work: "../containers/c/work".into(),
            target: "../containers/c/root".into(),
            volatile: false,
        }
    }

    #[test]
    fn topmost_first_and_each_once() {
        assert_eq!(overlay().lower(), [Path::new("a/diff"), Path::new("b/diff")]);
    }

    #[test]
    fn the_command_of_fuse_overlayfs() {
        let command = overlay().fuse_command(Path::new("/usr/bin/fuse-overlayfs"));
        assert_eq!(
            command[2].to_str(),
            Ok("lowerdir=a/diff:b/diff,upperdir=../containers/c/upper,workdir=../containers/c/work")
        );
    }
}
