//! An epoll instance inside the calling thread's event loop: libuv watches the one descriptor of the
//! epoll instance, and JavaScript collects what is ready with `wait`, many sockets a call.
//!
//! Life of a poller: open → watching → closing (uv_close called) → closed (libuv's close callback:
//! memory freed, descriptor closed). Both ways into closing, `pollerClose` and the end of the
//! environment, go through `begin_close`; the environment's end waits for `closed`, because a loop
//! must not be freed with an open handle in it.

use std::cell::RefCell;
use std::ffi::c_int;
use std::ptr;

use napi_sys as sys;

use crate::call::{Call, Failure, Outcome, Value, check};
use crate::errno::retry;
use crate::uv::{Handle, UV_POLL, UV_READABLE, Uv, uv};

const POLLERS_MAX: usize = 1024;
const EVENTS_MAX: usize = 256;

const READABLE: i32 = 1;
const WRITABLE: i32 = 2;
const FAILED: i32 = 4;

struct Poller {
    env: sys::napi_env,
    epoll: c_int,
    /// A uv_poll_t, allocated by us, owned by libuv from init until its close callback.
    handle: *mut Handle,
    on_ready: sys::napi_ref,
    /// Index in `POLLERS`.
    index: usize,
    /// Given back when closed: that is what the end of the environment waits for.
    cleanup: sys::napi_async_cleanup_hook_handle,
}

thread_local! {
    /// Pollers of this thread by number; None once closing. A number is never used twice.
    static POLLERS: RefCell<Vec<Option<*mut Poller>>> = const { RefCell::new(Vec::new()) };
}

pub fn open(call: &Call) -> Outcome {
    let Some(uv) = uv() else {
        return Err(Failure::System {
            errno: libc::ENOSYS,
            syscall: "uv_poll_init",
        });
    };
    let mut kind = 0;
    check(unsafe { sys::napi_typeof(call.env, call.argument(0), &mut kind) })?;
    if kind != sys::ValueType::napi_function {
        return Err(Failure::Type("onReady"));
    }
    let index = POLLERS.with_borrow(Vec::len);
    if index == POLLERS_MAX {
        return Err(Failure::Range("pollers opened by this thread"));
    }

    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(Failure::last("epoll_create1"));
    }
    let handle = match unsafe { watch(uv, call.env, epoll) } {
        Ok(handle) => handle,
        Err(failure) => {
            unsafe { libc::close(epoll) };
            return Err(failure);
        }
    };
    let poller = Box::into_raw(Box::new(Poller {
        env: call.env,
        epoll,
        handle,
        on_ready: ptr::null_mut(),
        index,
        cleanup: ptr::null_mut(),
    }));
    POLLERS.with_borrow_mut(|pollers| pollers.push(Some(poller)));
    unsafe {
        (uv.set_data)(handle, poller.cast());
        let started = start(uv, call, poller);
        if started.is_err() {
            begin_close(uv, poller);
        }
        started?;
    }
    Ok(Value::Number(index as f64))
}

/// A uv_poll_t over the epoll descriptor, on the loop of the environment.
unsafe fn watch(uv: &Uv, env: sys::napi_env, epoll: c_int) -> Outcome<*mut Handle> {
    let mut uv_loop = ptr::null_mut();
    unsafe {
        check(sys::napi_get_uv_event_loop(env, &mut uv_loop))?;
        let handle: *mut Handle = libc::calloc(1, (uv.handle_size)(UV_POLL));
        assert!(!handle.is_null());
        let status = (uv.poll_init)(uv_loop.cast(), handle, epoll);
        if status != 0 {
            libc::free(handle); // Not the loop's yet: init failed before it was registered.
            return Err(Failure::System {
                errno: -status,
                syscall: "uv_poll_init",
            });
        }
        Ok(handle)
    }
}

unsafe fn start(uv: &Uv, call: &Call, poller: *mut Poller) -> Outcome<()> {
    unsafe {
        check(sys::napi_add_async_cleanup_hook(
            call.env,
            Some(on_environment_end),
            poller.cast(),
            &mut (*poller).cleanup,
        ))?;
        check(sys::napi_create_reference(
            call.env,
            call.argument(0),
            1,
            &mut (*poller).on_ready,
        ))?;
        let status = (uv.poll_start)((*poller).handle, UV_READABLE, on_ready);
        if status != 0 {
            return Err(Failure::System {
                errno: -status,
                syscall: "uv_poll_start",
            });
        }
    }
    Ok(())
}

unsafe extern "C" fn on_ready(handle: *mut Handle, _status: c_int, _events: c_int) {
    let Some(uv) = uv() else { return };
    unsafe {
        let poller: *mut Poller = (uv.get_data)(handle).cast();
        let (env, reference) = ((*poller).env, (*poller).on_ready);
        let mut scope = ptr::null_mut();
        if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
            return;
        }
        let (mut function, mut global, mut result) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        sys::napi_get_reference_value(env, reference, &mut function);
        sys::napi_get_global(env, &mut global);
        // Not napi_call_function: this way promises and nextTick queues run afterwards.
        sys::napi_make_callback(
            env,
            ptr::null_mut(),
            global,
            function,
            0,
            ptr::null(),
            &mut result,
        );
        let mut pending = false;
        sys::napi_is_exception_pending(env, &mut pending);
        if pending {
            let mut error = ptr::null_mut();
            sys::napi_get_and_clear_last_exception(env, &mut error);
            sys::napi_fatal_exception(env, error);
        }
        sys::napi_close_handle_scope(env, scope);
    }
}

unsafe fn begin_close(uv: &Uv, poller: *mut Poller) {
    unsafe {
        POLLERS.with_borrow_mut(|pollers| pollers[(*poller).index] = None);
        (uv.poll_stop)((*poller).handle);
        (uv.close)((*poller).handle, on_closed);
    }
}

unsafe extern "C" fn on_closed(handle: *mut Handle) {
    let Some(uv) = uv() else { return };
    unsafe {
        let poller: *mut Poller = (uv.get_data)(handle).cast();
        let poller = Box::from_raw(poller);
        libc::close(poller.epoll);
        libc::free(handle);
        if !poller.cleanup.is_null() {
            sys::napi_remove_async_cleanup_hook(poller.cleanup);
        }
    }
}

/// The environment ends: a worker is torn down, or the process. JavaScript runs no more.
unsafe extern "C" fn on_environment_end(
    _: sys::napi_async_cleanup_hook_handle,
    data: *mut std::ffi::c_void,
) {
    let Some(uv) = uv() else { return };
    let poller: *mut Poller = data.cast();
    unsafe {
        let open = POLLERS.with_borrow(|pollers| pollers[(*poller).index].is_some());
        if open {
            begin_close(uv, poller);
        }
    }
}

pub fn close(call: &Call) -> Outcome {
    let poller = get(call)?;
    if let Some(uv) = uv() {
        unsafe {
            begin_close(uv, poller);
            sys::napi_delete_reference(call.env, (*poller).on_ready);
        }
    }
    Ok(Value::Undefined)
}

fn get(call: &Call) -> Outcome<*mut Poller> {
    let index = call.size(0, "poller")?;
    POLLERS.with_borrow(|pollers| match pollers.get(index) {
        Some(Some(poller)) => Ok(*poller),
        _ => Err(Failure::Range("poller")),
    })
}

fn control(call: &Call, operation: c_int, fd: c_int, event: Option<libc::epoll_event>) -> Outcome {
    let epoll = unsafe { (*get(call)?).epoll };
    let mut event = event;
    let pointer = event.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    if unsafe { libc::epoll_ctl(epoll, operation, fd, pointer) } != 0 {
        return Err(Failure::last("epoll_ctl"));
    }
    Ok(Value::Undefined)
}

/// Level-triggered; errors and hang-ups are always reported, also with no interest at all.
fn interest(id: i32, readable: bool, writable: bool) -> Option<libc::epoll_event> {
    let read = if readable { libc::EPOLLIN } else { 0 };
    let write = if writable { libc::EPOLLOUT } else { 0 };
    Some(libc::epoll_event {
        events: (read | write) as u32,
        u64: u64::from(id as u32),
    })
}

pub fn add(call: &Call) -> Outcome {
    let (fd, id) = (call.natural(1, "fd")?, call.int32(2, "id")?);
    control(
        call,
        libc::EPOLL_CTL_ADD,
        fd,
        interest(id, true, call.boolean(3, "writable")?),
    )
}

pub fn modify(call: &Call) -> Outcome {
    let (fd, id) = (call.natural(1, "fd")?, call.int32(2, "id")?);
    let event = interest(
        id,
        call.boolean(3, "readable")?,
        call.boolean(4, "writable")?,
    );
    control(call, libc::EPOLL_CTL_MOD, fd, event)
}

pub fn remove(call: &Call) -> Outcome {
    control(call, libc::EPOLL_CTL_DEL, call.natural(1, "fd")?, None)
}

pub fn wait(call: &Call) -> Outcome {
    let epoll = unsafe { (*get(call)?).epoll };
    let out = call.int32s(1, "out")?;
    let capacity = (out.len() / 2).min(EVENTS_MAX);
    if capacity == 0 {
        return Err(Failure::Range("out"));
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    let count = retry(|| unsafe {
        libc::epoll_wait(epoll, events.as_mut_ptr(), capacity as c_int, 0) as isize
    })
    .map_err(|errno| Failure::System {
        errno,
        syscall: "epoll_wait",
    })?;
    for (index, event) in events[..count].iter().enumerate() {
        let bits = event.events as c_int;
        let mut answer = 0;
        if bits & libc::EPOLLIN != 0 {
            answer |= READABLE;
        }
        if bits & libc::EPOLLOUT != 0 {
            answer |= WRITABLE;
        }
        if bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0 {
            answer |= FAILED;
        }
        out.set(2 * index, event.u64 as u32 as i32);
        out.set(2 * index + 1, answer);
    }
    Ok(Value::Number(count as f64))
}
