/**
 * Random traffic: frames that are right, wrong, cut, joined and split in any way. Whatever comes,
 * the server goes on, whoever behaves is served, and a handler hears of each end once.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../../src/base/random.ts'
import { withSeed } from '../../support/seed.ts'
import { encodeFrame, type FrameOptions, WebSocketClient } from '../../support/web-socket-client.ts'
import { MESSAGE_BYTES_MAX, onEveryEngine, type Recorder, withServer } from './engines.ts'

const ROUNDS = 60
const LENGTHS = [0, 1, 2, 3, 124, 125, 126, 127, 1000, 65_535, 65_536, MESSAGE_BYTES_MAX]

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)))
}

function randomFrame(random: Random): Buffer {
  const length = random.below(4) === 0 ? LENGTHS[random.below(LENGTHS.length)]! : random.below(200)
  const isOdd = random.below(8) === 0
  const options: FrameOptions = {
    fin: random.below(3) > 0,
    reserved: isOdd ? random.below(8) : 0,
    masked: !isOdd || random.below(2) === 0,
    ...(random.below(16) === 0 ? { declaredLength: BigInt(random.u32()) ** 2n } : {}),
  }
  const opcodes = isOdd ? [random.below(16)] : [0, 2, 2, 2, 8, 9, 10]
  const payload = randomBytes(random, Math.min(length, 70_000))
  return encodeFrame(opcodes[random.below(opcodes.length)]!, payload, options)
}

/** Frames, sometimes with bytes changed, in pieces that have nothing to do with frames. */
function randomPieces(random: Random): Buffer[] {
  const bytes = Buffer.concat(
    Array.from({ length: random.between(1, 12) }, () => randomFrame(random)),
  )
  for (let i = random.below(4); i > 0; i--) bytes[random.below(bytes.length)] = random.below(256)
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(random.below(2) === 0 ? 20 : 40_000)
    pieces.push(bytes.subarray(at, end))
    at = end
  }
  return pieces
}

onEveryEngine('hostile clients', (engine) => {
  test('end one by one, while whoever behaves is served', () =>
    withSeed('gateway/web/hostile', async (random) => {
      await withServer(engine, {}, async ({ port, nextPeer, errors }) => {
        const good = await WebSocketClient.open(port)
        const served = await nextPeer()
        for (let round = 0; round < ROUNDS; round++) {
          const client = await WebSocketClient.open(port)
          const recorder: Recorder = await nextPeer()
          for (const piece of randomPieces(random)) {
            client.write(piece)
            if (random.below(3) === 0) await new Promise(setImmediate)
          }
          if (random.below(2) === 0) client.socket.end()
          else client.destroy()
          await recorder.closed
          good.send(2, `${round}`)
          await served.until(() => served.messages.length > round)
          assert.equal(String(served.messages[round]), `${round}`)
          assert.equal(recorder.closes.length, 1)
          for (const { length } of recorder.messages) assert.ok(length <= MESSAGE_BYTES_MAX)
          assert.equal(recorder.peer.send([Buffer.from('x')]), false)
        }
        assert.deepEqual(served.closes, [])
        assert.deepEqual(errors, [])
        good.destroy()
      })
    }))
})
