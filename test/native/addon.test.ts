import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { NativeAddon } from '../../src/base/native.ts'
import { addonOrThrow, addonPath, withoutAddon } from './support.ts'

const directory = mkdtempSync(join(tmpdir(), 'millrace-addon-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const skip = withoutAddon

/** Calls of every kind with one bad argument each. */
function badCalls(addon: NativeAddon, fd: number): [string, () => unknown][] {
  const bytes = new Uint8Array(16)
  const pairs = new Int32Array(8)
  const words = new Float64Array(9)
  const bad = (value: unknown): never => value as never
  return [
    ['crc32c past the end', () => addon.crc32c(bytes, 0, 17)],
    ['crc32c backwards', () => addon.crc32c(bytes, 9, 8)],
    ['crc32c of another array', () => addon.crc32c(bad(words), 0, 1)],
    ['crc32c of a fraction', () => addon.crc32c(bytes, 0.5, 1)],
    ['crc32c of NaN', () => addon.crc32c(bytes, Number.NaN, 1)],
    ['crc32c of a bare buffer', () => addon.crc32c(bad(new SharedArrayBuffer(8)), 0, 1)],
    ['crc32c without arguments', () => (addon.crc32c as unknown as () => void)()],
    ['validateAndStamp past the end', () => addon.validateAndStamp(bytes, 1, 16, words, words)],
    [
      'validateAndStamp with a short stamp',
      () => addon.validateAndStamp(bytes, 0, 16, words.subarray(4), words),
    ],
    ['validateAndStamp with int32', () => addon.validateAndStamp(bytes, 0, 16, bad(pairs), words)],
    ['pwritev with too few ranges', () => addon.pwritev(fd, 0, bytes, pairs, 5)],
    ['pwritev past the end', () => addon.pwritev(fd, 0, bytes, Int32Array.of(0, 1, 9, 8), 2)],
    ['pwritev before the start', () => addon.pwritev(fd, 0, bytes, Int32Array.of(-1, 1), 1)],
    ['pwritev at a negative position', () => addon.pwritev(fd, -1, bytes, pairs, 1)],
    ['pwritev past 2^53', () => addon.pwritev(fd, 2 ** 53, bytes, pairs, 1)],
    ['pwritev with floats', () => addon.pwritev(fd, 0, bytes, bad(words), 1)],
    ['pread past the end', () => addon.pread(fd, 0, bytes, 8, 9)],
    ['pread of a huge length', () => addon.pread(fd, 0, bytes, 8, Number.MAX_SAFE_INTEGER)],
    ['fdatasync of nothing', () => addon.fdatasync(-1)],
    ['fdatasync of text', () => addon.fdatasync(bad('1'))],
    ['fallocateKeepSize of less', () => addon.fallocateKeepSize(fd, -1)],
    ['syncFileRange of less', () => addon.syncFileRange(fd, 0, -1)],
    ['fadviseDontNeed of infinity', () => addon.fadviseDontNeed(fd, 0, Number.POSITIVE_INFINITY)],
    ['pinThread to less', () => addon.pinThread(-1)],
    ['setThreadName of a number', () => addon.setThreadName(bad(7))],
    ['eventfdWait of less', () => addon.eventfdWait(fd, -1)],
    ['eventfdWait for ever', () => addon.eventfdWait(fd, Number.POSITIVE_INFINITY)],
    ['uringOpen of nothing', () => addon.uringOpen(0, fd)],
    ['uringFlush of no ring', () => addon.uringFlush(999, fd, 0)],
    ['uringRead of no ring', () => addon.uringRead(999, fd, 0, bytes, 0, 1, 0)],
    ['uringWriteback of less', () => addon.uringWriteback(0, fd, 0, -1)],
    ['uringRead past the end', () => addon.uringRead(999, fd, 0, bytes, 8, 9, 0)],
    ['uringDrain of no ring', () => addon.uringDrain(999, pairs)],
    ['uringClose of no ring', () => addon.uringClose(999)],
    ['pollerOpen without a function', () => addon.pollerOpen(bad({}))],
    ['pollerAdd to no poller', () => addon.pollerAdd(999, fd, 0, false)],
    ['pollerWait of no poller', () => addon.pollerWait(999, pairs)],
    ['pollerClose of no poller', () => addon.pollerClose(999)],
    ['tcpListen past the ports', () => addon.tcpListen('127.0.0.1', 65_536, 1)],
    ['tcpListen of a number', () => addon.tcpListen(bad(1), 0, 1)],
    ['tcpReceive into nothing', () => addon.tcpReceive(fd, bytes, 0, 0, 0, 0, 0)],
    ['tcpReceive past the end', () => addon.tcpReceive(fd, bytes, 0, 8, 8, 9, 0)],
    ['tcpReceive, a head beyond the spill', () => addon.tcpReceive(fd, bytes, 0, 8, 8, 4, 5)],
    ['tcpSend from past the end', () => addon.tcpSend(fd, [bytes], 2, 0)],
    ['tcpSend skipping too much', () => addon.tcpSend(fd, [bytes], 0, 17)],
    ['tcpSend of texts', () => addon.tcpSend(fd, bad(['a']), 0, 0)],
    ['tcpSend of an object', () => addon.tcpSend(fd, bad({ length: 1 }), 0, 0)],
  ]
}

test('every function throws a RangeError or TypeError on bad arguments', { skip }, () => {
  const fd = openSync(join(directory, 'bad'), 'w+')
  for (const [name, call] of badCalls(addonOrThrow(), fd)) {
    const isBug = (error: unknown): boolean =>
      error instanceof RangeError || error instanceof TypeError
    assert.throws(call, isBug, name)
  }
  assert.equal(readFileSync(join(directory, 'bad')).length, 0)
  closeSync(fd)
})

test('a failed system call throws with its errno name and its own name', { skip }, () => {
  const addon = addonOrThrow()
  const bytes = new Uint8Array(4)
  const expected = (code: string, syscall: string) => ({ code, syscall })
  const closed = 1_000_000
  assert.throws(() => addon.pread(closed, 0, bytes, 0, 4), expected('EBADF', 'pread'))
  assert.throws(() => addon.fdatasync(closed), expected('EBADF', 'fdatasync'))
  assert.throws(() => addon.closeFd(closed), expected('EBADF', 'close'))
  assert.throws(() => addon.tcpLocalPort(0x7ffffff), expected('EBADF', 'getsockname'))
  const full = openSync('/dev/full', 'w')
  const one = Int32Array.of(0, 4)
  assert.throws(() => addon.pwritev(full, 0, bytes, one, 1), {
    code: 'ENOSPC',
    syscall: 'pwritev',
    errno: -28,
    message: 'ENOSPC: no space left on device, pwritev',
  })
  closeSync(full)
})

test('hints never throw for what the system refuses', { skip }, () => {
  const addon = addonOrThrow()
  const closed = 1_000_000
  addon.fallocateKeepSize(closed, 1 << 20)
  addon.syncFileRange(closed, 0, 4096)
  addon.fadviseDontNeed(closed, 0, 4096)
})

test('pwritev writes the pieces in order, whatever their number', { skip }, () => {
  const addon = addonOrThrow()
  const path = join(directory, 'pieces')
  const fd = openSync(path, 'w+')
  const bytes = new Uint8Array(new SharedArrayBuffer(3_000)).map((_, i) => i)
  for (const count of [0, 1, 2, 1_024, 1_100]) {
    const ranges = new Uint32Array(2 * count)
    for (let i = 0; i < count; i++) ranges.set([3_000 - 2 * i - 2, 1], 2 * i)
    const written = addon.pwritev(fd, 10, bytes, ranges, count)
    assert.equal(written, Math.min(count, 1_024))
    const file = readFileSync(path).subarray(10, 10 + written)
    for (let i = 0; i < written; i++) assert.equal(file[i], (3_000 - 2 * i - 2) & 0xff)
  }
  closeSync(fd)
})

test('tryLockFile is refused while another open file holds the lock', { skip }, async () => {
  const addon = addonOrThrow()
  const path = join(directory, 'lock')
  const [first, second] = [openSync(path, 'w'), openSync(path, 'w')]
  assert.equal(addon.tryLockFile(first), true)
  assert.equal(addon.tryLockFile(first), true)
  assert.equal(addon.tryLockFile(second), false)
  closeSync(first)
  assert.equal(addon.tryLockFile(second), true)
  closeSync(second)
})

test('eventfdWait returns at once when signalled, and false when the time is over', {
  skip,
}, () => {
  const addon = addonOrThrow()
  const fd = addon.eventfdCreate()
  assert.equal(addon.eventfdWait(fd, 0), false)
  addon.eventfdSignal(fd)
  addon.eventfdSignal(fd)
  assert.equal(addon.eventfdWait(fd, 60_000), true)
  assert.equal(addon.eventfdWait(fd, 0), false, 'one wait clears every signal')
  const startedMs = performance.now()
  assert.equal(addon.eventfdWait(fd, 12.5), false)
  assert(performance.now() - startedMs >= 12)
  addon.closeFd(fd)
})

test('threadCpuMicros counts work, and not sleep', { skip }, () => {
  const addon = addonOrThrow()
  const fd = addon.eventfdCreate()
  const before = addon.threadCpuMicros()
  addon.eventfdWait(fd, 60)
  const slept = addon.threadCpuMicros()
  assert(slept - before < 40_000)
  while (addon.threadCpuMicros() - slept < 5_000);
  addon.closeFd(fd)
})

test('setThreadName and pinThread change a thread of their own only', { skip }, async () => {
  // In a process of its own: both would last for the rest of this one.
  const script = `
    const addon = require(process.argv[1])
    addon.setThreadName('shard-12345678901234567890')
    const pinned = addon.pinThread(${availableParallelism() - 1})
    const status = require('node:fs').readFileSync('/proc/thread-self/status', 'utf8')
    const field = (name) => new RegExp('^' + name + ':\\\\s*(.*)$', 'm').exec(status)[1]
    const refused = [addon.pinThread(1023), addon.pinThread(2 ** 31 - 1)]
    console.log(JSON.stringify([pinned, field('Name'), field('Cpus_allowed_list'), refused]))`
  const child = spawn(process.execPath, ['--eval', script, addonPath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await once(child.stdout, 'data')
  const [pinned, name, cores, refused] = JSON.parse(String(output))
  assert.equal(name, 'shard-123456789')
  if (pinned) assert.match(cores, /^\d+$/)
  assert.deepEqual(refused, [false, false])
})

test('uringFlush brings each token back once, with the errno of a failure', { skip }, (t) => {
  const addon = addonOrThrow()
  const eventfd = addon.eventfdCreate()
  const ring = addon.uringOpen(4, eventfd)
  if (ring === null) {
    console.error('WARNING: the kernel refuses io_uring: not tested')
    return t.skip('the kernel refuses io_uring')
  }
  const fd = openSync(join(directory, 'flushed'), 'w')
  const out = new Int32Array(3 * 3)
  const back = new Map<number, number>()
  let started = 0
  const unsyncable = openSync('/dev/null', 'w')
  assert.throws(() => addon.uringFlush(ring, 1_000_000, 0), { code: 'EBADF' })
  while (addon.uringFlush(ring, started === 2 ? unsyncable : fd, started - 1)) started++
  assert.equal(started, 4, 'as many in flight as entries, and no more')
  const deadline = Date.now() + 10_000
  while (back.size < started && Date.now() < deadline) {
    assert.equal(addon.eventfdWait(eventfd, 5_000), true, 'completions signal the eventfd')
    for (let count = 3; count === 3; ) {
      count = addon.uringDrain(ring, out)
      for (let i = 0; i < count; i++) {
        assert.equal(out[3 * i], 0)
        assert(!back.has(out[3 * i + 1]!))
        back.set(out[3 * i + 1]!, out[3 * i + 2]!)
      }
    }
  }
  assert.deepEqual(
    new Map([...back].sort((a, b) => a[0] - b[0])),
    new Map([
      [-1, 0],
      [0, 0],
      [1, -22],
      [2, 0],
    ]),
  )
  assert.equal(addon.uringFlush(ring, fd, 9), true, 'drained entries are free again')
  addon.uringClose(ring)
  assert.throws(() => addon.uringDrain(ring, out), RangeError)
  closeSync(unsyncable)
  addon.closeFd(eventfd)
  closeSync(fd)
})

test('uringRead reads into the range, short at the end, also when its number is used again', {
  skip,
}, (t) => {
  const addon = addonOrThrow()
  const eventfd = addon.eventfdCreate()
  const ring = addon.uringOpen(16, eventfd)
  if (ring === null) return t.skip('the kernel refuses io_uring')
  const path = join(directory, 'read')
  const content = Uint8Array.from({ length: 100_000 }, (_, i) => i * 7)
  writeFileSync(path, content)
  const out = new Int32Array(3 * 16)
  const memory = new Uint8Array(new SharedArrayBuffer(50_000)).fill(0xee)
  const wait = (): number => {
    let count = 0
    while (count === 0) {
      addon.eventfdWait(eventfd, 1_000)
      count = addon.uringDrain(ring, out)
    }
    return count
  }
  for (let round = 0; round < 50; round++) {
    const fd = openSync(path, 'r')
    addon.fadviseDontNeed(fd, 0, content.length)
    assert.equal(addon.uringRead(ring, fd, 20_001, memory, 100, 40_000, -7), true)
    closeSync(fd)
    const other = openSync('/dev/null', 'r')
    assert.equal(other, fd)
    assert.equal(wait(), 1)
    assert.deepEqual([...out.subarray(0, 3)], [1, -7, 40_000])
    closeSync(other)
  }
  assert.deepEqual(memory.subarray(100, 40_100), content.subarray(20_001, 60_001))
  assert.deepEqual([memory[99], memory[40_100]], [0xee, 0xee])
  const fd = openSync(path, 'r')
  addon.uringRead(ring, fd, 99_990, memory, 0, 100, 1)
  wait()
  assert.deepEqual([...out.subarray(0, 3)], [1, 1, 10])
  const writeOnly = openSync(path, 'a')
  addon.uringRead(ring, writeOnly, 0, memory, 0, 100, 2)
  wait()
  assert.deepEqual([...out.subarray(0, 3)], [1, 2, -9], 'minus EBADF')
  addon.uringClose(ring)
  for (const one of [fd, writeOnly]) closeSync(one)
  addon.closeFd(eventfd)
})

test('uringWriteback comes back once, with a kind of its own, and survives the close', {
  skip,
}, (t) => {
  const addon = addonOrThrow()
  const eventfd = addon.eventfdCreate()
  const ring = addon.uringOpen(2, eventfd)
  if (ring === null) return t.skip('the kernel refuses io_uring')
  const before = readdirSync('/proc/self/fd').length
  const fd = openSync(join(directory, 'writeback'), 'w')
  writeSync(fd, new Uint8Array(100_000))
  assert.equal(addon.uringWriteback(ring, fd, 0, 100_000), true)
  assert.equal(addon.uringFlush(ring, fd, 9), true)
  assert.equal(addon.uringWriteback(ring, fd, 0, 1), false, 'the ring is full')
  closeSync(fd)
  const out = new Int32Array(3 * 2)
  const kinds: number[] = []
  while (kinds.length < 2) {
    addon.eventfdWait(eventfd, 1_000)
    const count = addon.uringDrain(ring, out)
    for (let i = 0; i < count; i++) {
      kinds.push(out[3 * i] as number)
      assert.equal(out[3 * i + 2], 0)
      if (out[3 * i] === 0) assert.equal(out[3 * i + 1], 9)
    }
  }
  assert.deepEqual(kinds.toSorted(), [0, 2])
  assert.equal(readdirSync('/proc/self/fd').length, before)
  addon.uringClose(ring)
  addon.closeFd(eventfd)
})

test('uringFlush flushes the file it was given, also when its number is used again', {
  skip,
}, (t) => {
  const addon = addonOrThrow()
  const eventfd = addon.eventfdCreate()
  const ring = addon.uringOpen(64, eventfd)
  if (ring === null) return t.skip('the kernel refuses io_uring')
  const before = readdirSync('/proc/self/fd').length
  const out = new Int32Array(128)
  // An fsync of /dev/null fails: a flush that went to the wrong file shows by its result.
  for (let round = 0; round < 200; round++) {
    const fd = openSync(join(directory, 'reused'), 'w')
    addon.uringFlush(ring, fd, 5)
    closeSync(fd)
    const other = openSync('/dev/null', 'w')
    assert.equal(other, fd)
    while (addon.uringDrain(ring, out) === 0) addon.eventfdWait(eventfd, 1_000)
    assert.deepEqual([...out.subarray(0, 3)], [0, 5, 0])
    closeSync(other)
  }
  const fd = openSync(join(directory, 'reused'), 'w')
  for (let token = 0; token < 20; token++) addon.uringFlush(ring, fd, token)
  closeSync(fd)
  addon.uringClose(ring)
  assert(readdirSync('/proc/self/fd').length <= before, 'no descriptor is left')
  addon.closeFd(eventfd)
})
