//! The C library libseccomp, as much of it as compiling a filter takes, seccomp_init(3) and the pages
//! it names. Runs in the client; statically linked. (`build.rs` includes this file too.)

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

/// `SCMP_FLTATR_CTL_OPTIMIZE`; its value 2 asks for a binary tree.
const ATTRIBUTE_OPTIMIZE: c_uint = 8;

// The program is linked statically, as `build.rs` tells cargo; a build script needs no more than this.
#[link(name = "seccomp")]
unsafe extern "C" {
    fn seccomp_init(default_action: u32) -> *mut c_void;
    fn seccomp_release(filter: *mut c_void);
    fn seccomp_arch_native() -> u32;
    fn seccomp_arch_add(filter: *mut c_void, arch: u32) -> c_int;
    fn seccomp_arch_remove(filter: *mut c_void, arch: u32) -> c_int;
    fn seccomp_attr_set(filter: *mut c_void, attribute: c_uint, value: u32) -> c_int;
    fn seccomp_syscall_resolve_name(name: *const c_char) -> c_int;
    fn seccomp_syscall_resolve_name_arch(arch: u32, name: *const c_char) -> c_int;
    fn seccomp_rule_add_array(
        filter: *mut c_void,
        action: u32,
        syscall: c_int,
        count: c_uint,
        comparisons: *const Comparison,
    ) -> c_int;
    fn seccomp_export_bpf(filter: *mut c_void, fd: c_int) -> c_int;
}

/// A filter being built. `SCMP_ACT_*` values are the kernel's return values.
#[derive(Debug)]
pub struct Filter(NonNull<c_void>);

/// `struct scmp_arg_cmp`: one condition on an argument.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Comparison {
    /// 0 to 5.
    pub arg: c_uint,
    /// `enum scmp_compare`: 1 NE, 2 LT, 3 LE, 4 EQ, 5 GE, 6 GT, 7 MASKED_EQ.
    pub op: c_uint,
    /// The value; the mask of MASKED_EQ.
    pub a: u64,
    /// The value of MASKED_EQ, else 0.
    pub b: u64,
}

/// A failed call of the library.
#[derive(Debug, thiserror::Error)]
#[error("{call}({args}): {error}")]
pub struct Failed {
    call: &'static str,
    args: String,
    error: std::io::Error,
}

/// The machine's own `SCMP_ARCH_*` value.
pub fn native_arch() -> u32 {
    // SAFETY: takes nothing and answers from a constant.
    unsafe { seccomp_arch_native() }
}

/// What [`Filter::add_rule`] takes for a system call. `None`: the library knows no such name. A call
/// that only other architectures have gets a handle too.
pub fn handle(name: &str) -> Option<i32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string that outlives the call, which only reads it.
    let handle = unsafe { seccomp_syscall_resolve_name(name.as_ptr()) };
    (handle != -1).then_some(handle)
}

/// A system call's number on an architecture, when it has that call and the library knows it.
pub fn number(name: &str, arch: u32) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string that outlives the call, which only reads it.
    let number = unsafe { seccomp_syscall_resolve_name_arch(arch, name.as_ptr()) };
    // -1: unknown name; other negatives stand for calls of other architectures.
    u32::try_from(number).ok()
}

impl Filter {
    /// A filter for the native architecture that answers everything with `default_action`.
    pub fn new(default_action: u32) -> Result<Filter, Failed> {
        // SAFETY: takes a number; the result is null or a filter that we own until `drop`.
        let filter = NonNull::new(unsafe { seccomp_init(default_action) });
        filter.map(Filter).ok_or_else(|| Failed {
            call: "seccomp_init",
            args: format!("{default_action:#x}"),
            error: std::io::ErrorKind::InvalidInput.into(),
        })
    }

    pub fn add_arch(&mut self, arch: u32) -> Result<(), Failed> {
        // SAFETY: the filter is live until `drop`, and `&mut` excludes other use.
        let result = unsafe { seccomp_arch_add(self.0.as_ptr(), arch) };
        check(result, "seccomp_arch_add", || format!("{arch:#x}"))
    }

    pub fn remove_arch(&mut self, arch: u32) -> Result<(), Failed> {
        // SAFETY: the filter is live until `drop`, and `&mut` excludes other use.
        let result = unsafe { seccomp_arch_remove(self.0.as_ptr(), arch) };
        check(result, "seccomp_arch_remove", || format!("{arch:#x}"))
    }

    /// Finds a system call by a binary search over its number. Needs library version 2.5.
    pub fn use_binary_tree(&mut self) -> Result<(), Failed> {
        // SAFETY: the filter is live until `drop`, and `&mut` excludes other use.
        let result = unsafe { seccomp_attr_set(self.0.as_ptr(), ATTRIBUTE_OPTIMIZE, 2) };
        check(result, "seccomp_attr_set", || "SCMP_FLTATR_CTL_OPTIMIZE, 2".to_owned())
    }

    /// `action` for a system call on every architecture of the filter, when all comparisons hold.
    /// `syscall` comes from [`handle`].
    pub fn add_rule(&mut self, action: u32, syscall: i32, when: &[Comparison]) -> Result<(), Failed> {
        let count = c_uint::try_from(when.len()).unwrap_or(c_uint::MAX);
        // SAFETY: `when` has `count` elements of the library's layout; it copies them. The library
        // refuses more than six before it reads any.
        let result =
            unsafe { seccomp_rule_add_array(self.0.as_ptr(), action, syscall, count, when.as_ptr()) };
        check(result, "seccomp_rule_add_array", || format!("{action:#x}, {syscall}, {when:?}"))
    }

    /// Writes the program, in the kernel's layout.
    pub fn export(&self, to: impl AsFd) -> Result<(), Failed> {
        let fd = to.as_fd().as_raw_fd();
        // SAFETY: the filter is live until `drop`; the descriptor is borrowed for the call.
        let result = unsafe { seccomp_export_bpf(self.0.as_ptr(), fd) };
        check(result, "seccomp_export_bpf", || fd.to_string())
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: the filter came from seccomp_init and is released only here.
        unsafe { seccomp_release(self.0.as_ptr()) }
    }
}

/// The library's functions return 0 or a negative errno.
fn check(result: c_int, call: &'static str, args: impl FnOnce() -> String) -> Result<(), Failed> {
    if result >= 0 {
        return Ok(());
    }
    Err(Failed { call, args: args(), error: std::io::Error::from_raw_os_error(-result) })
}
