//! Non-blocking sockets and epoll, as thin as the system calls.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub const READABLE: u32 = libc::EPOLLIN as u32;
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;
/// Reports each change once; the owner must read or write until the system says "would block".
pub const EDGE: u32 = libc::EPOLLET as u32;

const EVENTS_MAX: usize = 256;

pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> Result<Epoll> {
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll {
            fd,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
        })
    }

    pub fn add(&self, fd: RawFd, token: u64, interest: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    pub fn change(&self, fd: RawFd, token: u64, interest: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: u64, interest: u32) -> Result<()> {
        let mut event = libc::epoll_event {
            events: interest,
            u64: token,
        };
        let own = self.fd.as_raw_fd();
        checked(unsafe { libc::epoll_ctl(own, operation, fd, &mut event) }).map(drop)
    }

    /// Waits for events, at most `timeout_ns` (None: for ever), and returns how many there are.
    /// Nanoseconds, because a millisecond is a long time for an open-loop schedule.
    pub fn wait(&mut self, timeout_ns: Option<u64>) -> Result<usize> {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns.unwrap_or(0) / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns.unwrap_or(0) % 1_000_000_000) as libc::c_long,
        };
        let pointer = if timeout_ns.is_some() {
            &raw const timeout
        } else {
            std::ptr::null()
        };
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                pointer,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        match Error::last_os_error() {
            error if error.kind() == std::io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        }
    }

    /// Token and readiness of an event of the last `wait`.
    pub fn event(&self, index: usize) -> (u64, u32) {
        let event = self.events[index];
        (event.u64, event.events)
    }
}

fn checked(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// What a non-blocking call on a socket did.
pub enum Moved {
    Bytes(usize),
    WouldBlock,
    Closed(Error),
}

fn moved(result: isize) -> Moved {
    if result >= 0 {
        return Moved::Bytes(result as usize);
    }
    let error = Error::last_os_error();
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted => Moved::WouldBlock,
        _ => Moved::Closed(error),
    }
}

/// Receives into the spare room of `buffer`, which the caller has made. Zero bytes mean the end.
pub fn receive(fd: RawFd, buffer: &mut Vec<u8>) -> Moved {
    let room = buffer.spare_capacity_mut();
    assert!(!room.is_empty());
    let result = moved(unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), 0) });
    if let Moved::Bytes(count) = result {
        // The system has written these bytes.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    result
}

/// Sends `first` and then `second` in one call.
pub fn send_two(fd: RawFd, first: &[u8], second: &[u8]) -> Moved {
    let mut vectors = [first, second].map(|part| libc::iovec {
        iov_base: part.as_ptr().cast_mut().cast(),
        iov_len: part.len(),
    });
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = 2;
    moved(unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL) })
}

/// Sends `bytes`; with `more`, the system may keep them until what follows.
pub fn send(fd: RawFd, bytes: &[u8], more: bool) -> Moved {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    moved(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Sends up to `count` bytes of `file` from `position` on, without them passing through here.
pub fn send_file(fd: RawFd, file: RawFd, position: u64, count: usize) -> Moved {
    let mut position = position as libc::off_t;
    moved(unsafe { libc::sendfile(fd, file, &mut position, count) })
}

/// A counter that wakes an epoll.
pub struct Doorbell {
    fd: OwnedFd,
}

impl Doorbell {
    pub fn new() -> Result<Doorbell> {
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        Ok(Doorbell {
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn ring(&self) {
        let one = 1u64;
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0u64;
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }
}
