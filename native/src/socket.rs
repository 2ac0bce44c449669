//! TCP sockets without libuv streams: bytes arrive where they will lie, and leave from where they
//! are. Every descriptor is non-blocking; what cannot be done now is −EAGAIN, never a wait.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use napi::sys;

use crate::call::{Call, Failure, Outcome, Value, check};
use crate::errno::retry;
use crate::memory::Range;

/// Pieces of one gathering send; more are left to the next.
const CHUNKS_MAX: usize = 64;

/// Linux caps a backlog by `net.core.somaxconn` anyway.
const BACKLOG_MAX: i32 = 65_535;

pub fn tcp_listen(call: &Call) -> Outcome {
    let host = call.text(0, 255, "host")?;
    let port = call.natural(1, "port")?;
    let backlog = call.natural(2, "backlog")?;
    if port > 65_535 {
        return Err(Failure::Range("port"));
    }
    if !(1..=BACKLOG_MAX).contains(&backlog) {
        return Err(Failure::Range("backlog"));
    }
    let address = resolve(&host, port as u16)?;
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(Failure::last("socket"));
    }
    match bind_and_listen(fd, address, backlog) {
        Ok(()) => Ok(Value::Number(f64::from(fd))),
        Err(failure) => {
            unsafe { libc::close(fd) };
            Err(failure)
        }
    }
}

/// The first address of a name. Blocks for other names than addresses: for start-up only.
fn resolve(host: &str, port: u16) -> Outcome<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let none = Failure::System {
        errno: libc::EADDRNOTAVAIL,
        syscall: "getaddrinfo",
    };
    (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .ok_or(none)
}

fn bind_and_listen(fd: i32, address: SocketAddr, backlog: i32) -> Outcome<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let length = store(address, &mut storage);
    if unsafe { libc::bind(fd, (&raw const storage).cast(), length) } != 0 {
        return Err(Failure::last("bind"));
    }
    if unsafe { libc::listen(fd, backlog) } != 0 {
        return Err(Failure::last("listen"));
    }
    Ok(())
}

fn set_option(fd: i32, level: i32, name: i32) -> Outcome<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    if unsafe { libc::setsockopt(fd, level, name, (&raw const on).cast(), length) } != 0 {
        return Err(Failure::last("setsockopt"));
    }
    Ok(())
}

fn store(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            unsafe { (&raw mut *storage).cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            unsafe { (&raw mut *storage).cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

fn load(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(raw.sin_port)))
        }
        libc::AF_INET6 => {
            let raw = unsafe { (&raw const *storage).cast::<libc::sockaddr_in6>().read() };
            // A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d.
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(raw.sin6_port)))
        }
        _ => None,
    }
}

type NameOf =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn address_of(fd: i32, name_of: NameOf, syscall: &'static str) -> Outcome<SocketAddr> {
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    if unsafe { name_of(fd, (&raw mut storage).cast(), &mut length) } != 0 {
        return Err(Failure::last(syscall));
    }
    load(&storage).ok_or(Failure::System {
        errno: libc::EAFNOSUPPORT,
        syscall,
    })
}

pub fn tcp_local_port(call: &Call) -> Outcome {
    let address = address_of(call.natural(0, "fd")?, libc::getsockname, "getsockname")?;
    Ok(Value::Number(f64::from(address.port())))
}

/// `a.b.c.d:port`, or `[v6]:port`.
pub fn tcp_peer_address(call: &Call) -> Outcome {
    let address = address_of(call.natural(0, "fd")?, libc::getpeername, "getpeername")?;
    Ok(Value::Text(address.to_string()))
}

pub fn tcp_accept(call: &Call) -> Outcome {
    let listener = call.natural(0, "fd")?;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let accepted = retry(|| unsafe {
        libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) as isize
    });
    match accepted {
        Ok(fd) => {
            // May fail on a connection that is gone already: the first receive will say so.
            let _ = set_option(fd as i32, libc::IPPROTO_TCP, libc::TCP_NODELAY);
            Ok(Value::Number(fd as f64))
        }
        Err(errno) => Ok(Value::Number(-f64::from(errno))),
    }
}

pub fn tcp_receive(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let bytes = call.bytes(1, "bytes")?;
    let direct = bytes.range(call.size(2, "offset")?, call.size(3, "length")?, "length")?;
    let spill_offset = call.size(4, "spillOffset")?;
    let spill_length = call.size(5, "spillLength")?;
    let head_length = call.size(6, "headLength")?;
    let behind = spill_length
        .checked_sub(head_length)
        .ok_or(Failure::Range("headLength"))?;
    let head = bytes.range(spill_offset, head_length, "headLength")?;
    let spill = bytes.range(spill_offset + head_length, behind, "spillLength")?;
    if direct.length + spill_length == 0 {
        return Err(Failure::Range("length")); // The answer 0 would read as the end of the stream.
    }
    let received = if let Some(only) = only_range([&head, &direct, &spill]) {
        // A single range needs no message header, which the kernel would have to fetch and check.
        let pointer = only.pointer.cast();
        retry(|| unsafe { libc::recv(fd, pointer, only.length, libc::MSG_DONTWAIT) })
    } else {
        let mut vectors = [head.iovec(), direct.iovec(), spill.iovec()];
        let used = if head_length == 0 {
            &mut vectors[1..]
        } else {
            &mut vectors[..]
        };
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = used.as_mut_ptr();
        message.msg_iovlen = used.len();
        retry(|| unsafe { libc::recvmsg(fd, &mut message, libc::MSG_DONTWAIT) })
    };
    Ok(Value::Number(count_or_errno(received)))
}

/// The one of these that is not empty, if the others are.
fn only_range(ranges: [&Range; 3]) -> Option<&Range> {
    let mut filled = ranges.into_iter().filter(|range| range.length > 0);
    let first = filled.next();
    if filled.next().is_some() { None } else { first }
}

pub fn tcp_send(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let chunks = call.argument(1);
    let from = call.natural(2, "from")? as u32;
    let skip = call.size(3, "skip")?;
    let mut count = 0u32;
    if unsafe { sys::napi_get_array_length(call.env, chunks, &mut count) } != sys::Status::napi_ok {
        return Err(Failure::Type("chunks"));
    }
    if from > count {
        return Err(Failure::Range("from"));
    }

    let used = ((count - from) as usize).min(CHUNKS_MAX);
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; CHUNKS_MAX];
    for (index, vector) in vectors[..used].iter_mut().enumerate() {
        let mut element = std::ptr::null_mut();
        check(unsafe {
            sys::napi_get_element(call.env, chunks, from + index as u32, &mut element)
        })?;
        let bytes = call.bytes_of(element, "chunks")?;
        let start = if index == 0 { skip } else { 0 };
        let length = bytes
            .len()
            .checked_sub(start)
            .ok_or(Failure::Range("skip"))?;
        vector.write(bytes.range(start, length, "skip")?.iovec());
    }
    if used == 0 {
        return Ok(Value::Number(0.0));
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    if used == 1 {
        let only = unsafe { vectors[0].assume_init() };
        return Ok(Value::Number(count_or_errno(retry(|| unsafe {
            libc::send(fd, only.iov_base, only.iov_len, flags)
        }))));
    }
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr().cast();
    message.msg_iovlen = used;
    Ok(Value::Number(count_or_errno(retry(|| unsafe {
        libc::sendmsg(fd, &message, flags)
    }))))
}

/// Ends what is sent; the peer may still send. A connection that is gone already is no failure.
pub fn tcp_shutdown(call: &Call) -> Outcome {
    unsafe { libc::shutdown(call.natural(0, "fd")?, libc::SHUT_WR) };
    Ok(Value::Undefined)
}

fn count_or_errno(result: Result<usize, i32>) -> f64 {
    match result {
        Ok(count) => count as f64,
        Err(errno) => -f64::from(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_undone_by_load() {
        for text in ["127.0.0.1:9092", "0.0.0.0:1", "[::1]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
            store(address, &mut storage);
            assert_eq!(load(&storage), Some(address));
        }
    }

    #[test]
    fn load_shows_a_mapped_peer_as_ipv4() {
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        store("[::ffff:10.0.0.7]:80".parse().unwrap(), &mut storage);
        assert_eq!(load(&storage).unwrap().to_string(), "10.0.0.7:80");
    }
}
