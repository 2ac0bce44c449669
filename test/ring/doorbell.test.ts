import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { extname } from 'node:path'
import { test } from 'node:test'
import {
  AtomicsParker,
  AWAKE,
  allocateWaitCell,
  Doorbell,
  EventfdArm,
  EventfdParker,
  PARK_SKIPPED,
  PARK_TIMED_OUT,
  PARK_WOKEN,
  PARKED_ATOMICS,
  PARKED_EVENTFD,
  WAIT_CELL_STATE,
  WaitAsyncParker,
  type WaitCell,
  waitCellWords,
} from '../../src/ring/doorbell.ts'

const always = () => true
const never = () => false

function stateOf(cell: WaitCell): number {
  return waitCellWords(cell)[WAIT_CELL_STATE] as number
}

/** An eventfd without a kernel; `duringWait` runs where the thread would sleep. */
function fakeEventfd(duringWait: () => void = () => {}) {
  const log: string[] = []
  let count = 0
  return {
    log,
    eventfdSignal(fd: number): void {
      log.push(`signal ${fd}`)
      count++
    },
    eventfdWait(fd: number, timeoutMs: number): boolean {
      if (timeoutMs > 0) duringWait()
      log.push(`wait ${fd} ${timeoutMs}`)
      const signalled = count > 0
      count = 0
      return signalled
    },
  }
}

test('Doorbell.ring, wakes nobody, when the consumer is awake', () => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  doorbell.ring()
  assert.equal(doorbell.wakes, 0)
})

test('Doorbell.ring, wakes once a park, for several producers and rings', () => {
  const cell = allocateWaitCell()
  const doorbells = [new Doorbell(cell), new Doorbell(cell), new Doorbell(cell)]
  for (let park = 1; park <= 3; park++) {
    waitCellWords(cell)[WAIT_CELL_STATE] = PARKED_ATOMICS
    for (const doorbell of [...doorbells, ...doorbells]) doorbell.ring()
    const wakes = doorbells.reduce((sum, doorbell) => sum + doorbell.wakes, 0)
    assert.equal(wakes, park)
    assert.equal(stateOf(cell), AWAKE)
  }
})

test('Doorbell.ring, wakes nobody, when another producer swaps first', (t) => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  waitCellWords(cell)[WAIT_CELL_STATE] = PARKED_ATOMICS
  const real = Atomics.compareExchange
  t.mock.method(
    Atomics,
    'compareExchange',
    (words: Int32Array, index: number, from: number, to: number) => {
      words[index] = AWAKE // The other producer was faster.
      return real(words, index, from, to)
    },
  )
  doorbell.ring()
  assert.equal(doorbell.wakes, 0)
})

test('AtomicsParker.park, looks at the lanes after it has stored its state', () => {
  const cell = allocateWaitCell()
  const seen: number[] = []
  const parker = new AtomicsParker(cell, () => {
    seen.push(stateOf(cell))
    return false
  })
  assert.equal(parker.park(10_000), PARK_SKIPPED)
  assert.deepEqual(seen, [PARKED_ATOMICS])
  assert.equal(stateOf(cell), AWAKE)
})

test('AtomicsParker.park, does not sleep, when a producer rings after the look', () => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  const parker = new AtomicsParker(cell, () => {
    doorbell.ring() // Between the state's store and the sleep.
    return true
  })
  assert.equal(parker.park(60_000), PARK_WOKEN)
  assert.equal(doorbell.wakes, 1)
})

test('AtomicsParker.park, ends by itself, when nobody rings', () => {
  const cell = allocateWaitCell()
  assert.equal(new AtomicsParker(cell, always).park(5), PARK_TIMED_OUT)
  assert.equal(stateOf(cell), AWAKE)
  assert.throws(() => new AtomicsParker(cell, always).park(Infinity), /bounded/)
})

test('EventfdParker.park, sleeps on its descriptor and is signalled, when parked', () => {
  const cell = allocateWaitCell()
  const native = fakeEventfd(() => doorbell.ring())
  const doorbell = new Doorbell(cell, native)
  const parker = new EventfdParker(cell, always, { fd: 33, native })
  assert.equal(parker.park(50), PARK_WOKEN)
  assert.deepEqual(native.log, ['signal 33', 'wait 33 50'])
  assert.equal(new EventfdParker(cell, never, { fd: 33, native }).park(50), PARK_SKIPPED)
  assert.equal(native.log.length, 2)
})

test('Doorbell.ring, asserts, when the consumer needs the addon and it is missing', () => {
  const cell = allocateWaitCell()
  new EventfdArm(cell, always, { fd: 3, native: fakeEventfd() }).arm()
  assert.throws(() => new Doorbell(cell).ring(), /addon/)
})

test('EventfdArm, asks for one signal, from arm to acknowledge', () => {
  const cell = allocateWaitCell()
  const native = fakeEventfd()
  const doorbell = new Doorbell(cell, native)
  const arm = new EventfdArm(cell, always, { fd: 9, native })
  doorbell.ring()
  assert.deepEqual(native.log, [])
  assert.equal(arm.arm(), true)
  assert.equal(stateOf(cell), PARKED_EVENTFD)
  doorbell.ring()
  doorbell.ring()
  arm.acknowledge()
  assert.deepEqual(native.log, ['signal 9', 'wait 9 0'])
  arm.arm()
  arm.disarm()
  doorbell.ring()
  assert.equal(native.log.length, 2)
  assert.equal(new EventfdArm(cell, never, { fd: 9, native }).arm(), false)
  assert.equal(stateOf(cell), AWAKE)
})

test('WaitAsyncParker.arm, calls once in a later turn, when a producer rings', async () => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  const parker = new WaitAsyncParker(cell, always)
  for (let round = 1; round <= 50; round++) {
    let calls = 0
    const woken = new Promise<void>((resolve) => {
      const onWake = () => {
        calls++
        resolve()
      }
      assert.ok(parker.arm(onWake))
    })
    doorbell.ring()
    doorbell.ring()
    assert.equal(calls, 0)
    await keepAlive(woken)
    assert.equal(calls, 1)
    assert.equal(doorbell.wakes, round)
    assert.equal(stateOf(cell), AWAKE)
  }
})

test('WaitAsyncParker, holds one promise, however often it is armed and disarmed', async (t) => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  const parker = new WaitAsyncParker(cell, always)
  const waitAsync = t.mock.method(Atomics, 'waitAsync')
  const calls: number[] = []
  for (let i = 0; i < 1000; i++) {
    assert.ok(parker.arm(() => calls.push(i)))
    if (i % 3 === 0) parker.disarm()
  }
  assert.equal(waitAsync.mock.callCount(), 1)
  const woken = new Promise<void>((resolve) => assert.ok(parker.arm(resolve)))
  doorbell.ring()
  await keepAlive(woken)
  assert.deepEqual(calls, [], 'an arm replaces the one before')
  assert.equal(waitAsync.mock.callCount(), 1)
})

test('WaitAsyncParker, loses no wake, when disarmed and armed before the call arrives', async () => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  const parker = new WaitAsyncParker(cell, always)
  parker.arm(() => assert.fail('taken back'))
  doorbell.ring() // The promise is settled, its reaction not yet run.
  parker.disarm()
  const woken = new Promise<void>((resolve) => assert.ok(parker.arm(resolve)))
  doorbell.ring() // Nobody stands on the word any more: the reaction under way must serve.
  await keepAlive(woken)
})

test('WaitAsyncParker.arm, answers false, when a message or a ring is there already', () => {
  const cell = allocateWaitCell()
  const doorbell = new Doorbell(cell)
  assert.equal(new WaitAsyncParker(cell, never).arm(assert.fail), false)
  assert.equal(stateOf(cell), AWAKE)
  const racing = () => {
    doorbell.ring()
    return true
  }
  assert.equal(new WaitAsyncParker(cell, racing).arm(assert.fail), false)
  assert.equal(doorbell.wakes, 1)
})

test('WaitAsyncParker, keeps no process alive, while armed', () => {
  const module = new URL(
    `../../src/ring/doorbell${extname(import.meta.url)}`,
    import.meta.url,
  ).toString()
  const script = `
    const { WaitAsyncParker, allocateWaitCell } = await import(${JSON.stringify(module)})
    const parker = new WaitAsyncParker(allocateWaitCell(), () => true)
    console.log(parker.arm(() => console.log('woken')))`
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 10_000,
    encoding: 'utf8',
  })
  assert.equal(child.stdout, 'true\n', child.stderr)
  assert.equal(child.status, 0)
})

test('WaitAsyncParker.close, settles the pending promise without a call', async () => {
  const cell = allocateWaitCell()
  const parker = new WaitAsyncParker(cell, always)
  parker.arm(() => assert.fail('closed'))
  parker.close()
  assert.equal(Atomics.notify(waitCellWords(cell), WAIT_CELL_STATE), 0)
  await new Promise((resolve) => setTimeout(resolve, 5))
})

/** Awaits while holding the event loop, which a waiter alone does not. */
async function keepAlive(promise: Promise<void>): Promise<void> {
  const timer = setInterval(() => {}, 1000)
  try {
    await promise
  } finally {
    clearInterval(timer)
  }
}
