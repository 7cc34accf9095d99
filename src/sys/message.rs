//! Whole messages with descriptors over a SOCK_SEQPACKET socket pair.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use super::error::{Context, Result};

/// The largest message, in bytes.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// A connected pair of SOCK_SEQPACKET sockets, both close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .call("socketpair", || "AF_UNIX, SOCK_SEQPACKET".into())
}

/// Sends one message with up to four descriptors.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let socket = socket.as_fd().as_raw_fd();
    loop {
        match sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => return result.call("sendmsg", || format!("{} bytes", bytes.len())).map(drop),
        }
    }
}

/// Receives one message; an empty one means the other end is closed.
pub fn receive(socket: impl AsFd) -> Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = cmsg_space!([RawFd; 4]);
    let raw = socket.as_fd().as_raw_fd();
    let (length, fds) = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg::<()>(raw, &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno).call("recvmsg", String::new),
            Ok(message) => {
                let mut fds = Vec::new();
                for part in message.cmsgs().call("recvmsg", || "control data".into())? {
                    if let ControlMessageOwned::ScmRights(list) = part {
                        // SAFETY: the kernel has just installed these descriptors for this message;
                        // nobody else knows their numbers.
                        fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                break (message.bytes, fds);
            }
        }
    };
    bytes.truncate(length);
    Ok((bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_descriptors_travel() {
        let (a, b) = pair().expect("pair");
        let file = std::fs::File::open("/dev/null").expect("open");
        send(&a, b"hello", &[file.as_fd()]).expect("send");
        let (bytes, fds) = receive(&b).expect("receive");
        assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), 1));
        drop(a);
        assert!(receive(&b).expect("closed").0.is_empty());
    }
}
