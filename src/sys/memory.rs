//! What this process keeps in memory.

/// Gives back the pages of the program's own code and constants. The kernel reads again what is needed,
/// from its cache; a process that waits for hours keeps the few pages of its loop instead of all that
/// its start ran through.
pub fn release_code() {
    // SAFETY: the callback is called with a valid `info` for each loaded object while this call lasts,
    // and `release_segments` fits its type.
    unsafe { libc::dl_iterate_phdr(Some(release_segments), std::ptr::null_mut()) };
}

/// Called by dl_iterate_phdr(3) for each loaded object.
extern "C" fn release_segments(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library passes a valid pointer whose headers stay mapped with the object; an object
    // without headers has a count of 0, and then the pointer is not read.
    let (base, headers) = unsafe {
        let info = &*info;
        if info.dlpi_phnum == 0 {
            return 0;
        }
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    // Nothing of the vDSO, which is no file.
    if headers.iter().all(|header| header.p_type != libc::PT_INTERP && header.p_type != libc::PT_GNU_STACK) {
        return 0;
    }
    let page = 4096;
    for header in headers {
        // What the loader may have relocated is in writable segments: the others are as in the file.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = (base + header.p_vaddr) & !(page - 1);
        let end = (base + header.p_vaddr + header.p_memsz) & !(page - 1);
        let length = usize::try_from(end.saturating_sub(begin)).unwrap_or(0);
        // SAFETY: the range lies in a private mapping of a file that nobody has written to (no PF_W, no
        // text relocations in a position-independent program), so the next access reads the same
        // bytes from the file. The last page may be shared with the next segment and is left alone.
        // A failure changes nothing. Huge pages are given up first, or one access maps 2 MiB again.
        unsafe {
            libc::madvise(begin as *mut libc::c_void, length, libc::MADV_NOHUGEPAGE);
            libc::madvise(begin as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_after_its_code_was_released() {
        let before = std::fs::read_to_string("/proc/self/stat").unwrap();
        super::release_code();
        assert_eq!(before.split(' ').next(), Some(std::process::id().to_string().as_str()));
        assert!("still readable".ends_with("able"));
    }
}
