//! The calling thread (core, name, time used) and the eventfd it parks on.

use std::time::{Duration, Instant};

use crate::call::{Call, Failure, Outcome, Value};
use crate::errno::{self, retry};

/// The longest that one wait may last; a shard waits for about 50 ms.
const WAIT_MS_MAX: f64 = 60_000.0;

pub fn pin_thread(call: &Call) -> Outcome {
    let core = call.natural(0, "core")? as usize;
    if core >= libc::CPU_SETSIZE as usize {
        return Ok(Value::Bool(false));
    }
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    unsafe { libc::CPU_SET(core, &mut set) };
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    Ok(Value::Bool(status == 0))
}

/// The system keeps 15 bytes of a name; the rest is cut.
pub fn set_thread_name(call: &Call) -> Outcome {
    let mut name = call.text(0, 256, "name")?.into_bytes();
    name.truncate(15);
    name.push(0);
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    Ok(Value::Undefined)
}

pub fn thread_cpu_micros(_: &Call) -> Outcome {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0 {
        return Err(Failure::last("clock_gettime"));
    }
    Ok(Value::Number(
        time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3,
    ))
}

pub fn eventfd_create(_: &Call) -> Outcome {
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        Err(Failure::last("eventfd"))
    } else {
        Ok(Value::Number(f64::from(fd)))
    }
}

pub fn eventfd_signal(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let one = 1u64.to_ne_bytes();
    match retry(|| unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) }) {
        // A full counter: the eventfd is signalled already, 2^64 − 2 times over.
        Ok(_) | Err(libc::EAGAIN) => Ok(Value::Undefined),
        Err(errno) => Err(Failure::System {
            errno,
            syscall: "write",
        }),
    }
}

pub fn eventfd_wait(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let timeout_ms = call.duration(1, "timeoutMs")?;
    if timeout_ms > WAIT_MS_MAX {
        return Err(Failure::Range("timeoutMs"));
    }
    // Cleared first: when it is signalled already, waiting would only cost a system call.
    if clear(fd)? {
        return Ok(Value::Bool(true));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(timeout_ms / 1e3);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(left.subsec_nanos()),
        };
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let ready = unsafe { libc::ppoll(&mut poll, 1, &time, std::ptr::null()) };
        if ready < 0 {
            match errno::last() {
                libc::EINTR => continue,
                errno => {
                    return Err(Failure::System {
                        errno,
                        syscall: "ppoll",
                    });
                }
            }
        }
        // Another thread may have cleared it in between: then the wait goes on.
        if ready > 0 && clear(fd)? {
            return Ok(Value::Bool(true));
        }
        if ready == 0 || Instant::now() >= deadline {
            return Ok(Value::Bool(false));
        }
    }
}

/// Sets the counter to zero; whether it was not.
fn clear(fd: i32) -> Outcome<bool> {
    let mut count = [0u8; 8];
    match retry(|| unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) }) {
        Ok(_) => Ok(true),
        Err(libc::EAGAIN) => Ok(false),
        Err(errno) => Err(Failure::System {
            errno,
            syscall: "read",
        }),
    }
}

pub fn close_fd(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    // Never repeated: on Linux the descriptor is gone even when close was interrupted, and by now
    // the number may belong to another thread.
    if unsafe { libc::close(fd) } != 0 && errno::last() != libc::EINTR {
        return Err(Failure::last("close"));
    }
    Ok(Value::Undefined)
}

pub fn duplicate_fd(call: &Call) -> Outcome {
    let fd = call.natural(0, "fd")?;
    let duplicate = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if duplicate < 0 {
        return Err(Failure::last("fcntl"));
    }
    Ok(Value::Number(f64::from(duplicate)))
}
