import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The one file that loads the addon (`native/`). Each call checks its bounds on the Rust side.
 * Memory is always a Uint8Array (over a SharedArrayBuffer or not) plus numeric ranges.
 *
 * An argument of the wrong type throws a TypeError, one outside its bounds a RangeError: our own
 * bug. A system call that fails throws an Error whose `code` is the errno name ('ENOSPC', 'EIO', …)
 * and whose `syscall` names the call, unless the function says that it returns minus the errno.
 */
export interface NativeAddon {
  // —— record batches ——
  crc32c(bytes: Uint8Array, start: number, end: number): number
  validateAndStamp(
    bytes: Uint8Array,
    offset: number,
    length: number,
    stamp: Float64Array,
    info: Float64Array,
  ): number

  // —— files: plain system calls on a file descriptor ——
  pwritev(
    fd: number,
    position: number,
    bytes: Uint8Array,
    ranges: Int32Array | Uint32Array,
    count: number,
  ): number
  pread(fd: number, position: number, bytes: Uint8Array, offset: number, length: number): number
  fdatasync(fd: number): void
  fallocateKeepSize(fd: number, bytes: number): void
  syncFileRange(fd: number, position: number, bytes: number): void
  fadviseDontNeed(fd: number, position: number, bytes: number): void
  /** Takes an exclusive advisory lock; false when another process holds it. */
  tryLockFile(fd: number): boolean

  // —— threads ——
  /** Pins the calling thread, and threads it starts later; false when the system refuses. */
  pinThread(core: number): boolean
  /** The system keeps 15 bytes. On the main thread this renames the process. */
  setThreadName(name: string): void
  threadCpuMicros(): number
  eventfdCreate(): number
  eventfdSignal(fd: number): void
  /** Waits until the eventfd is signalled or the time is over, then clears it. True when signalled.
   *  At most 60,000 ms a call. */
  eventfdWait(fd: number, timeoutMs: number): boolean
  closeFd(fd: number): void
  /** Another descriptor of the same file or socket, which the first one's close leaves open. */
  duplicateFd(fd: number): number

  // —— io_uring: flushes and cold reads off the shard's thread; null when it is refused ——
  // A ring, like a poller, belongs to the thread that opened it: elsewhere its number means
  // nothing.
  uringOpen(entries: number, eventfd: number): number | null
  /** Starts an fdatasync. `token` is an int32. False when the ring is full: nothing was started. */
  uringFlush(ring: number, fd: number, token: number): boolean
  /**
   * Starts a read; as `uringFlush`. Until the token comes back the range belongs to the kernel and
   *  `bytes` must stay alive. */
  uringRead(
    ring: number,
    fd: number,
    position: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    token: number,
  ): boolean
  /** `syncFileRange` off this thread; as `uringFlush`, without a token of its own. */
  uringWriteback(ring: number, fd: number, position: number, bytes: number): boolean
  /**
   * Fills triples [kind (0 flush, 1 read, 2 writeback), token, count or minus errno]; returns their
   * number.
   */
  uringDrain(ring: number, out: Int32Array): number
  uringClose(ring: number): void

  // —— sockets: what the native gateway needs; see gateway/native-sockets.ts ——
  /**
   * Watches an epoll instance from the calling thread's libuv loop; `onReady` runs on that loop,
   * again
   *  and again while anything is ready. An open poller keeps the loop alive. */
  pollerOpen(onReady: () => void): number
  /** Level-triggered interest in readable and, if asked, writable; `id` is an int32. */
  pollerAdd(poller: number, fd: number, id: number, writable: boolean): void
  pollerModify(poller: number, fd: number, id: number, readable: boolean, writable: boolean): void
  pollerRemove(poller: number, fd: number): void
  /**
   * Fills [id, events] pairs (1 readable, 2 writable, 4 error or hang-up) without blocking, at most
   *  256 a call. 4 is reported whatever the interest: close then, or the loop spins. */
  pollerWait(poller: number, out: Int32Array): number
  pollerClose(poller: number): void
  /**
   * Binds and listens (SO_REUSEADDR, non-blocking); returns the descriptor. A `host` that is a name
   *  is looked up and blocks: for start-up only. */
  tcpListen(host: string, port: number, backlog: number): number
  tcpLocalPort(fd: number): number
  /** A non-blocking descriptor with TCP_NODELAY; minus errno when there is none to accept. */
  tcpAccept(fd: number): number
  /** `a.b.c.d:port` or `[v6]:port`. */
  tcpPeerAddress(fd: number): string
  /**
   * Scatters one receive over one memory, in this order: the first `headLength` bytes of the spill,
   *  the range at `offset`, the rest of the spill. 0 at the end of stream, minus errno. */
  tcpReceive(
    fd: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    spillOffset: number,
    spillLength: number,
    headLength: number,
  ): number
  /** One gathering send of chunks[from…], `skip` bytes into the first, at most 64 chunks; count, or
   *  minus errno. */
  tcpSend(fd: number, chunks: Uint8Array[], from: number, skip: number): number
  /** Ends the sending half; never fails. */
  tcpShutdown(fd: number): void
  /**
   * XORs bytes[offset, offset + length) with the four bytes of `key` (an int32, its highest byte
   *  first) again and again. In JavaScript: gateway/web/native/unmask.ts. */
  unmask(bytes: Uint8Array, offset: number, length: number, key: number): void
}

/** What this program expects of the addon's `abiVersion`; raised in both places together. */
const ABI_VERSION = 6

/**
 * Overrides where the addon comes from: 'off' for none, or an absolute path. Unset, it is
 * `native/millrace.node` of the package that this file belongs to.
 */
const OVERRIDE_VARIABLE = 'MILLRACE_NATIVE'

/** Once a thread: an addon that failed to load is not tried again. */
let loaded: { addon: NativeAddon | null; error: string | null } | null = null

/** The addon, or null where it is not built or does not load; `nativeLoadError` then says why. */
export function loadNative(): NativeAddon | null {
  loaded ??= load()
  return loaded.addon
}

/** Why `loadNative` answers null, as half a sentence; null when it answers the addon. */
export function nativeLoadError(): string | null {
  loaded ??= load()
  return loaded.error
}

function load(): { addon: NativeAddon | null; error: string | null } {
  const override = process.env[OVERRIDE_VARIABLE]
  if (override === 'off') return refused(`${OVERRIDE_VARIABLE} is off`)
  const path = override ?? defaultPath()
  if (path === null) return refused('the package that holds the addon is not found')
  let addon: NativeAddon & { readonly abiVersion?: number }
  try {
    addon = createRequire(import.meta.url)(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'MODULE_NOT_FOUND') return refused(`${path} is not built`)
    return refused(`${path} does not load: ${message}`)
  }
  if (addon.abiVersion !== ABI_VERSION) {
    const found = addon.abiVersion ?? 'none'
    return refused(`${path} is stale (interface ${found}, not ${ABI_VERSION}): run npm run build`)
  }
  return { addon, error: null }
}

function refused(error: string): { addon: null; error: string } {
  return { addon: null, error }
}

/** Walks up to the package's root: this file runs from src-like trees of different depth. */
function defaultPath(): string | null {
  let directory = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    if (packageName(directory) === 'millrace') return join(directory, 'native', 'millrace.node')
    const parent = dirname(directory)
    if (parent === directory) return null
    directory = parent
  }
}

function packageName(directory: string): unknown {
  try {
    return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).name
  } catch {
    return null // No package.json here, or one that is not ours to judge.
  }
}
