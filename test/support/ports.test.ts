import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { freePort, freePorts } from './ports.ts'

const PORTS = 100

test('ports, asked for at once by two owners, are never given twice', async () => {
  const source = `
    import { parentPort } from 'node:worker_threads'
    import { freePort } from '${new URL('./ports.js', import.meta.url)}'
    parentPort.postMessage(await Promise.all(Array.from({ length: ${PORTS} }, freePort)))`
  const other = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`))
  const theirs = new Promise<number[]>((resolve, reject) => {
    other.once('message', resolve)
    other.once('error', reject)
  })
  const ours = await Promise.all(Array.from({ length: PORTS }, freePort))
  assert.equal(new Set([...ours, ...(await theirs)]).size, 2 * PORTS)
  await other.terminate()
})

test('neighbours, are asked for by their number', async () => {
  const first = await freePorts(9)
  const next = await freePorts(1)
  assert.ok(next < first || next >= first + 9)
})
