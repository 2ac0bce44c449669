/**
 * A thread that loads the addon, opens one of everything that its end must clean up, and stays in
 * its event loop until it is told to end, or is terminated.
 */
import { parentPort } from 'node:worker_threads'
import { addonOrThrow } from './support.ts'

const addon = addonOrThrow()
const eventfd = addon.eventfdCreate()
const ring = addon.uringOpen(8, eventfd)
const doorbell = addon.eventfdCreate()
let rings = 0
const poller = addon.pollerOpen(() => {
  const ready = new Int32Array(8)
  addon.pollerWait(poller, ready)
  addon.eventfdWait(doorbell, 0)
  rings++
  parentPort?.postMessage({ rang: rings, id: ready[0] })
})
addon.pollerAdd(poller, doorbell, 41, false)
if (ring !== null) addon.uringFlush(ring, doorbell, 1)
const crc = addon.crc32c(new TextEncoder().encode('123456789'), 0, 9)
parentPort?.postMessage({ crc, doorbell })

parentPort?.on('message', (how: 'close' | 'throw' | 'exit') => {
  if (how === 'throw') {
    // An exception in `onReady` must end the thread like any other uncaught one.
    const failing = addon.pollerOpen(() => {
      throw new Error('planted in onReady')
    })
    addon.eventfdSignal(doorbell)
    addon.pollerAdd(failing, doorbell, 1, false)
    return
  }
  if (how === 'close') addon.pollerClose(poller)
  if (how === 'exit') process.exit(0)
  parentPort?.close()
})
