/** The reserve of a log directory while several requests live on its room. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DirectoryStates } from '../../src/broker/directory-states.ts'
import { DiskReserve } from '../../src/broker/disk-reserve.ts'
import { MemoryFiles } from '../storage/support/memory-files.ts'

const PATH = '/data'
const QUIET = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

function start(): { states: DirectoryStates; lies: () => boolean; fills: () => number } {
  const files = new MemoryFiles()
  files.makeDirectory(PATH)
  let fills = 0
  files.onOperation = (kind) => {
    if (kind === 'create') fills++
  }
  const states = new DirectoryStates(QUIET, () => 0)
  states.add(PATH, new DiskReserve(files, PATH))
  states.tend()
  return { states, lies: () => files.exists(`${PATH}/.reserve`), fills: () => fills }
}

test('withReserve, gives the room back until the last of those who need it is done', async () => {
  const { states, lies, fills } = start()
  assert.deepEqual([lies(), fills()], [true, 1])
  const ends: (() => void)[] = []
  const steps = [0, 1, 2].map(() =>
    states.withReserve(PATH, () => new Promise<void>((resolve) => ends.push(resolve))),
  )
  assert.equal(lies(), false)
  states.tend()
  assert.equal(lies(), false, 'the room is in use')
  ends[0]?.()
  ends[1]?.()
  await Promise.all(steps.slice(0, 2))
  assert.equal(lies(), false, 'one of them is not done')
  ends[2]?.()
  await steps[2]
  assert.deepEqual([lies(), fills()], [true, 2])
})

test('withReserve, takes the room again after a failure, and leaves what is offline alone', async () => {
  const { states, lies, fills } = start()
  await assert.rejects(states.withReserve(PATH, () => Promise.reject(new Error('no'))))
  assert.deepEqual([lies(), fills()], [true, 2])
  states.fail(PATH, 'EIO')
  assert.equal(await states.withReserve(PATH, async () => lies()), true)
  assert.equal(fills(), 2)
})
