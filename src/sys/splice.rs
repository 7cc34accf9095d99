//! Moving bytes between sockets through a pipe, without copying them into this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use super::error::{Context, Result};

/// A pipe that holds bytes on their way from one socket to another.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    held: usize,
}

impl Pipe {
    /// Makes an empty pipe of `size` bytes, or of the size the kernel still allows this user
    /// (pipe(7), "/proc/sys/fs/pipe-user-pages-soft").
    pub fn with_capacity(size: usize) -> Result<Pipe> {
        let (read, write) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).call("pipe2", || "O_NONBLOCK".to_owned())?;
        let wanted = i32::try_from(size).unwrap_or(i32::MAX);
        let granted = fcntl(&write, FcntlArg::F_SETPIPE_SZ(wanted))
            .or_else(|_| fcntl(&write, FcntlArg::F_GETPIPE_SZ))
            .call("fcntl", || "F_GETPIPE_SZ".to_owned())?;
        Ok(Pipe { read, write, capacity: usize::try_from(granted).unwrap_or(0), held: 0 })
    }

    /// Bytes in the pipe now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves what `source` has into the pipe. `Ok(0)`: end of file. EAGAIN: nothing there yet,
    /// provided that the pipe was empty (a full pipe answers the same).
    pub fn fill(&mut self, source: BorrowedFd<'_>) -> nix::Result<usize> {
        let moved = transfer(source, self.write.as_fd(), self.capacity - self.held)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what the pipe holds to `target`, as much as it takes.
    pub fn drain(&mut self, target: BorrowedFd<'_>) -> nix::Result<usize> {
        let moved = transfer(self.read.as_fd(), target, self.held)?;
        self.held -= moved;
        Ok(moved)
    }
}

fn transfer(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: usize) -> nix::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        match splice(from, None, to, None, limit, flags) {
            Err(Errno::EINTR) => continue,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn carries_bytes_and_the_end() {
        let (mut client, inner) = UnixStream::pair().expect("pair");
        let (outer, mut server) = UnixStream::pair().expect("pair");
        inner.set_nonblocking(true).expect("nonblocking");
        let mut pipe = Pipe::with_capacity(65536).expect("pipe");
        assert_eq!(pipe.fill(inner.as_fd()), Err(Errno::EAGAIN));
        client.write_all(b"over the water").expect("write");
        assert_eq!(pipe.fill(inner.as_fd()), Ok(14));
        assert_eq!(pipe.held(), 14);
        assert_eq!(pipe.drain(outer.as_fd()), Ok(14));
        let mut got = [0; 14];
        server.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"over the water");
        drop(client);
        assert_eq!(pipe.fill(inner.as_fd()), Ok(0));
    }
}
