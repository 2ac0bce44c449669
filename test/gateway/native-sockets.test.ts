import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NativeAddon } from '../../src/base/native.ts'
import { READABLE } from '../../src/gateway/native-events.ts'
import { NativeSockets } from '../../src/gateway/native-sockets.ts'

const EMFILE = 24
const EAGAIN = 11
const LISTENER = 7

test('NativeSockets, out of descriptors, leaves the listener alone for a while', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let onReady = (): void => {}
  let watchedId = -1
  let errno = EMFILE
  let accepts = 0
  const interests: boolean[] = []
  const addon = {
    pollerOpen: (callback: () => void) => {
      onReady = callback
      return 1
    },
    pollerAdd: (_poller: number, _fd: number, id: number) => {
      watchedId = id
    },
    pollerModify: (_poller: number, _fd: number, _id: number, readable: boolean) => {
      interests.push(readable)
    },
    pollerRemove: () => {},
    pollerWait: (_poller: number, events: Int32Array) => {
      events[0] = watchedId
      events[1] = READABLE
      return 1
    },
    closeFd: () => {},
    tcpListen: () => LISTENER,
    tcpLocalPort: () => 9092,
    tcpAccept: () => {
      accepts++
      return -errno
    },
  } as unknown as NativeAddon
  const failures: number[] = []
  const sockets = new NativeSockets(addon, (failure) => failures.push(failure))
  const listener = await sockets.listen('127.0.0.1', 9092, () => null)
  onReady()
  assert.deepEqual(interests, [false])
  assert.deepEqual(failures, [EMFILE])
  t.mock.timers.tick(99)
  assert.deepEqual(interests, [false])
  t.mock.timers.tick(1)
  assert.deepEqual(interests, [false, true])
  errno = EAGAIN
  onReady()
  assert.equal(accepts, 2)
  assert.deepEqual(interests, [false, true], 'nothing to accept is no shortage')
  errno = EMFILE
  onReady()
  await listener.close()
  t.mock.timers.tick(1000)
  assert.deepEqual(interests, [false, true, false], 'a closed listener is not watched again')
})

test('NativeSockets, a peer that is gone before it is asked for its address, is passed over', async () => {
  let onReady = (): void => {}
  let watchedId = -1
  const closed: number[] = []
  const waiting = [20, 21]
  const addon = {
    pollerOpen: (callback: () => void) => {
      onReady = callback
      return 1
    },
    pollerAdd: (_poller: number, fd: number, id: number) => {
      if (fd === LISTENER) watchedId = id
    },
    pollerRemove: () => {},
    pollerWait: (_poller: number, events: Int32Array) => {
      events[0] = watchedId
      events[1] = READABLE
      return 1
    },
    closeFd: (fd: number) => closed.push(fd),
    tcpListen: () => LISTENER,
    tcpLocalPort: () => 9092,
    tcpAccept: () => waiting.shift() ?? -EAGAIN,
    tcpPeerAddress: (fd: number) => {
      if (fd === 20) throw Object.assign(new Error('gone'), { code: 'ENOTCONN' })
      return '127.0.0.1:50000'
    },
  } as unknown as NativeAddon
  const sockets = new NativeSockets(addon, () => {})
  const addresses: string[] = []
  await sockets.listen('127.0.0.1', 9092, ({ remoteAddress }) => {
    addresses.push(remoteAddress)
    return null
  })
  onReady()
  assert.deepEqual(addresses, ['127.0.0.1'])
  assert.deepEqual(closed, [20, 21])
})
