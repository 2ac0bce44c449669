//! The addon: what Millrace does below JavaScript. `src/base/native.ts` is its interface and the
//! only file that loads it; `README.md` says why each function is here.
//!
//! napi-rs registers the module; the functions themselves take their arguments through `call`,
//! without a reference for each typed array, and with errors that carry `code` and `syscall`.

mod batch;
mod call;
mod errno;
mod file;
#[cfg(test)]
mod guarded;
mod mask;
mod memory;
mod poller;
mod socket;
mod thread;
mod uring;
mod uv;

use call::{define_functions, set_constant};
use napi_derive::napi;

/// Raised with every change of a function's meaning, so that the loader refuses a stale build.
const ABI_VERSION: u32 = 6;

#[napi(module_exports)]
pub fn exports(exports: napi::bindgen_prelude::Object, env: napi::Env) -> napi::Result<()> {
    use napi::JsValue;
    let (env, exports) = (env.raw(), exports.raw());
    set_constant(env, exports, c"abiVersion", ABI_VERSION)?;
    define_functions!(env, exports, {
        c"crc32c" => batch::crc32c,
        c"validateAndStamp" => batch::validate_and_stamp,

        c"pwritev" => file::pwritev,
        c"pread" => file::pread,
        c"fdatasync" => file::fdatasync,
        c"fallocateKeepSize" => file::fallocate_keep_size,
        c"syncFileRange" => file::sync_file_range,
        c"fadviseDontNeed" => file::fadvise_dont_need,
        c"tryLockFile" => file::try_lock_file,

        c"pinThread" => thread::pin_thread,
        c"setThreadName" => thread::set_thread_name,
        c"threadCpuMicros" => thread::thread_cpu_micros,
        c"eventfdCreate" => thread::eventfd_create,
        c"eventfdSignal" => thread::eventfd_signal,
        c"eventfdWait" => thread::eventfd_wait,
        c"closeFd" => thread::close_fd,
        c"duplicateFd" => thread::duplicate_fd,

        c"uringOpen" => uring::open,
        c"uringFlush" => uring::flush,
        c"uringRead" => uring::read,
        c"uringWriteback" => uring::writeback,
        c"uringDrain" => uring::drain,
        c"uringClose" => uring::close,

        c"pollerOpen" => poller::open,
        c"pollerAdd" => poller::add,
        c"pollerModify" => poller::modify,
        c"pollerRemove" => poller::remove,
        c"pollerWait" => poller::wait,
        c"pollerClose" => poller::close,

        c"tcpListen" => socket::tcp_listen,
        c"tcpLocalPort" => socket::tcp_local_port,
        c"tcpAccept" => socket::tcp_accept,
        c"tcpPeerAddress" => socket::tcp_peer_address,
        c"tcpReceive" => socket::tcp_receive,
        c"tcpSend" => socket::tcp_send,
        c"tcpShutdown" => socket::tcp_shutdown,
        c"unmask" => mask::unmask,
    })
}
