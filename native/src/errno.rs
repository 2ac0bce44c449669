//! Error numbers of the system, by their names. JavaScript decides by name ('ENOSPC'), never by number.

use std::ffi::CStr;

pub fn last() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub fn name(number: i32) -> &'static str {
    match number {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::ESPIPE => "ESPIPE",
        libc::EROFS => "EROFS",
        libc::EPIPE => "EPIPE",
        libc::ENOSYS => "ENOSYS",
        libc::ENOLCK => "ENOLCK",
        libc::EOVERFLOW => "EOVERFLOW",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOTCONN => "ENOTCONN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::ESTALE => "ESTALE",
        libc::EDQUOT => "EDQUOT",
        libc::ECANCELED => "ECANCELED",
        _ => "EUNKNOWN",
    }
}

/// The system's sentence for a number, lower case like Node's.
pub fn describe(number: i32) -> String {
    let mut buffer = [0 as libc::c_char; 128];
    let status = unsafe { libc::strerror_r(number, buffer.as_mut_ptr(), buffer.len()) };
    if status != 0 {
        return format!("error {number}");
    }
    let text = unsafe { CStr::from_ptr(buffer.as_ptr()) };
    text.to_string_lossy().to_lowercase()
}

/// Repeats a system call while a signal interrupts it; its result, or the errno.
#[inline]
pub fn retry(mut call: impl FnMut() -> isize) -> Result<usize, i32> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        let number = last();
        if number != libc::EINTR {
            return Err(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_knows_what_a_disk_says() {
        assert_eq!(name(libc::ENOSPC), "ENOSPC");
        assert_eq!(name(libc::EIO), "EIO");
        assert_eq!(name(123_456), "EUNKNOWN");
    }

    #[test]
    fn retry_repeats_when_interrupted() {
        let mut calls = 0;
        let result = retry(|| {
            calls += 1;
            if calls < 3 {
                unsafe { *libc::__errno_location() = libc::EINTR };
                return -1;
            }
            7
        });
        assert_eq!((result, calls), (Ok(7), 3));
    }
}
