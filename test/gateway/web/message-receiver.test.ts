/**
 * The native engine's frames: against the parser of ws with any messages, fragments and cuts, and
 * with bytes that are wrong; and what it holds of the arena meanwhile.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as ws from 'ws'
import { copyOf } from '../../../src/base/bytes.ts'
import type { Random } from '../../../src/base/random.ts'
import type { RequestFrame } from '../../../src/broker/request-frame.ts'
import { ReceiveMemory } from '../../../src/gateway/receive-memory.ts'
import { MessageReceiver } from '../../../src/gateway/web/message-receiver.ts'
import type { MessageSink } from '../../../src/gateway/web/message-sink.ts'
import { unmask } from '../../../src/gateway/web/unmask.ts'
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'
import { testSeed, withSeed } from '../../support/seed.ts'
import { encodeFrame, Opcode } from '../../support/web-socket-client.ts'

const FILE = 'gateway/web/message-receiver'
const MAX = 300_000

/** What either parser says of a stream, in order: kind and payload. */
type Event = readonly [kind: string, payload: string]

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const KINDS: Readonly<Record<number, string>> = { 8: 'close', 9: 'ping', 10: 'pong' }

class Collector implements MessageSink {
  readonly events: Event[] = []
  violation: number | null = null
  /** Frames that are held on to, as a produce does until it is written. */
  readonly held: RequestFrame[] = []
  holds = false
  messages = 0
  /** As the peer's: nothing that follows a close frame is heard. */
  onCloseFrame = (): void => {}

  onMessage(bytes: Uint8Array, frame: RequestFrame | null): void {
    this.messages++
    this.events.push(['message', hex(bytes)])
    if (frame === null || !this.holds) return
    frame.hold()
    this.held.push(frame)
  }

  onControl(opcode: number, payload: Uint8Array): void {
    this.events.push([KINDS[opcode] ?? String(opcode), hex(payload)])
    if (opcode === Opcode.CLOSE) this.onCloseFrame()
  }

  onViolation(code: number): void {
    assert.equal(this.violation, null, 'said once')
    this.violation = code
  }
}

interface Bench {
  readonly arena: Arena
  readonly memory: ReceiveMemory
  readonly sink: Collector
  readonly receiver: MessageReceiver
}

function bench(arenaBytes = 8 * 1024 * 1024, messageBytesMax = MAX): Bench {
  const arena = new Arena(allocateArena(arenaBytes), { poison: true })
  const memory = new ReceiveMemory(arena, () => 0)
  const sink = new Collector()
  const receiver = new MessageReceiver(memory, sink, { messageBytesMax, unmask })
  sink.onCloseFrame = () => receiver.close()
  return { arena, memory, sink, receiver }
}

/** Takes stream[at, at + piece) as a transport would; returns how far it has come. */
function feed({ arena, receiver }: Bench, stream: Buffer, at: number, piece: number): number {
  const end = Math.min(stream.length, at + piece)
  if (receiver.expect()) {
    const count = Math.min(end - at, receiver.headBytes + receiver.directLength)
    const head = stream.subarray(at, at + Math.min(count, receiver.headBytes))
    stream.copy(arena.bytes, receiver.directOffset, at + head.length, at + count)
    const rest = receiver.acceptExpected(head, 0, count)
    if (rest === null) return at + count
    const from = at + count - rest.length
    assert.equal(hex(rest), hex(stream.subarray(from, at + count)), 'offered again as it came')
    return from + receiver.accept(rest, 0, rest.length)
  }
  const direct = Math.min(receiver.directLength, end - at)
  if (direct > 0) {
    stream.copy(arena.bytes, receiver.directOffset, at, at + direct)
    receiver.advance(direct)
  }
  // As the spill: memory that is written again afterwards.
  const spill = copyOf(stream, at + direct, end)
  const taken = receiver.accept(spill, 0, spill.length)
  spill.fill(0xdb)
  return at + direct + taken
}

function feedAll(of: Bench, stream: Buffer, pieces: readonly number[]): void {
  for (let at = 0, i = 0; at < stream.length; i++) {
    const next = feed(of, stream, at, pieces[i % pieces.length] as number)
    assert.ok(next > at || of.receiver.stalled)
    assert.ok(!of.receiver.stalled, 'there is memory')
    at = next
  }
}

/** What ws makes of a stream; its error, if there is one, is the last event. */
async function ofWs(
  stream: Buffer,
  maxPayload = MAX,
): Promise<{ events: Event[]; error: boolean }> {
  const events: Event[] = []
  let error = false
  // biome-ignore lint/suspicious/noExplicitAny: its types leave the parser out.
  const receiver = new (ws as any).Receiver({ isServer: true, maxPayload })
  receiver.on('message', (data: Buffer) => events.push(['message', hex(data)]))
  receiver.on('ping', (data: Buffer) => events.push(['ping', hex(data)]))
  receiver.on('pong', (data: Buffer) => events.push(['pong', hex(data)]))
  receiver.on('conclude', (code: number, reason: Buffer) => {
    const head = Buffer.from([code >> 8, code & 0xff])
    events.push(['close', code === 1005 ? '' : hex(Buffer.concat([head, reason]))])
  })
  receiver.on('error', () => {
    error = true
  })
  receiver.write(Buffer.from(stream))
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  return { events, error }
}

const bytesOf = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(126, 65_535, 65_536, 70_000, 100_000), fc.nat(255))
      .map(([length, fill]) => new Uint8Array(length).fill(fill)),
  },
)
const control = fc.record({
  opcode: fc.constantFrom(Opcode.PING, Opcode.PONG),
  payload: fc.uint8Array({ maxLength: 125 }),
})
const message = fc.array(fc.record({ payload: bytesOf, control: fc.option(control) }), {
  minLength: 1,
  maxLength: 4,
})
const cuts = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 70_000 })),
  { minLength: 1, maxLength: 12 },
)

function framesOf(fragments: typeof message extends fc.Arbitrary<infer T> ? T : never): Buffer[] {
  const frames: Buffer[] = []
  let bytes = 0
  for (const [i, { payload, control }] of fragments.entries()) {
    if (bytes + payload.length > MAX) continue
    bytes += payload.length
    const opcode = i === 0 ? Opcode.BINARY : Opcode.CONTINUATION
    frames.push(encodeFrame(opcode, payload, { fin: false }))
    if (control !== null) frames.push(encodeFrame(control.opcode, control.payload))
  }
  const isOne = fragments.length === 1 && frames.length === 1
  if (isOne) return [encodeFrame(Opcode.BINARY, fragments[0]?.payload)]
  return [...frames, encodeFrame(Opcode.CONTINUATION, '')]
}

test('MessageReceiver, any messages in any fragments and cuts, says what ws says', async () => {
  const property = fc.asyncProperty(
    fc.array(message, { minLength: 1, maxLength: 8 }),
    cuts,
    fc.boolean(),
    async (messages, pieces, holds) => {
      const stream = Buffer.concat(messages.flatMap(framesOf))
      const of = bench()
      of.sink.holds = holds
      feedAll(of, stream, pieces)
      const expected = await ofWs(stream)
      assert.equal(expected.error, false)
      assert.deepEqual(of.sink.events, expected.events)
      assert.equal(of.sink.violation, null)
      for (const frame of of.sink.held) frame.release()
      assert.equal(of.arena.bytesInUse, 0, 'an idle connection owns no memory')
    },
  )
  await fc.assert(property, { seed: testSeed(), numRuns: 300 })
})

function wrongFrame(random: Random): Buffer {
  const length = random.chance(0.05) ? random.between(60_000, 80_000) : random.below(200)
  const isOdd = random.chance(0.1)
  const opcodes = isOdd ? [random.below(16)] : [0, 2, 2, 2, 8, 9, 10]
  return encodeFrame(opcodes[random.below(opcodes.length)] as number, random.bytes(length), {
    fin: random.chance(0.6),
    reserved: isOdd ? random.below(8) : 0,
    masked: !isOdd || random.chance(0.5),
    ...(random.chance(0.05) ? { declaredLength: BigInt(random.u32()) ** 2n } : {}),
  })
}

test('MessageReceiver, bytes that are wrong, says no more than ws and refuses what ws refuses', async () => {
  await withSeed(FILE, async (random) => {
    for (let round = 0; round < 1500; round++) {
      const frames = Array.from({ length: random.between(1, 8) }, () => wrongFrame(random))
      const stream = Buffer.concat(frames)
      for (let i = random.below(3); i > 0; i--) stream[random.below(stream.length)] = random.u32()
      const of = bench()
      const pieces = Array.from({ length: 5 }, () => random.between(1, 3000))
      for (let at = 0, i = 0; at < stream.length && of.sink.violation === null; i++) {
        at = feed(of, stream, at, pieces[i % 5] as number)
      }
      const expected = await ofWs(stream)
      const isClosed = of.sink.events.at(-1)?.[0] === 'close'
      const said = isClosed ? of.sink.events.slice(0, -1) : of.sink.events
      assert.deepEqual(said, expected.events.slice(0, said.length))
      // The codes and reasons of close frames are judged by the peer.
      if (expected.error) assert.ok(of.sink.violation !== null || isClosed, 'as strict as ws')
      else if (of.sink.violation === null) assert.deepEqual(of.sink.events, expected.events)
      of.receiver.close()
      assert.equal(of.arena.bytesInUse, 0)
    }
  })
})

test('MessageReceiver, each violation of a start, is seen by its first two bytes', () => {
  const starts: [number, number, number][] = [
    [0xc2, 0x81, 1002], // Reserved bits.
    [0xa2, 0x81, 1002],
    [0x92, 0x81, 1002],
    [0x83, 0x81, 1002], // Opcodes that are none.
    [0x87, 0x81, 1002],
    [0x8b, 0x81, 1002],
    [0x8f, 0x81, 1002],
    [0x82, 0x01, 1002], // No mask.
    [0x88, 0x00, 1002],
    [0x80, 0x81, 1002], // Continues nothing.
    [0x09, 0x81, 1002], // Control frames in fragments, and too long.
    [0x08, 0x80, 1002],
    [0x89, 0xfe, 1002],
    [0x8a, 0xff, 1002],
    [0x81, 0x81, 1003], // Text.
    [0x01, 0x81, 1003],
  ]
  for (const [first, second, code] of starts) {
    const of = bench()
    const bytes = Uint8Array.of(first, second, 1, 2)
    assert.equal(of.receiver.accept(bytes, 0, 2), 2)
    assert.equal(of.sink.violation, code, `${first.toString(16)} ${second.toString(16)}`)
    assert.equal(of.receiver.accept(bytes, 2, 4), 4, 'the rest is dropped')
    assert.deepEqual(of.sink.events, [])
  }
  for (const opcode of [Opcode.BINARY, Opcode.TEXT]) {
    const of = bench()
    feedAll(of, encodeFrame(Opcode.BINARY, 'x', { fin: false }), [100])
    feedAll(of, encodeFrame(opcode, 'y'), [100])
    assert.equal(of.sink.violation, 1002, 'a message inside a message')
    assert.equal(of.arena.bytesInUse, 0)
  }
})

test('MessageReceiver, a length wider than it needs, is refused, and the least wide one taken', () => {
  for (const [length, lengthBits, isTaken] of [
    [125, 16, false],
    [126, 16, true],
    [126, 64, false],
    [65_535, 64, false],
    [65_536, 64, true],
  ] as const) {
    const of = bench()
    feedAll(of, encodeFrame(Opcode.BINARY, Buffer.alloc(length), { lengthBits }), [100_000])
    assert.equal(of.sink.violation, isTaken ? null : 1002, `${length} in ${lengthBits} bits`)
    assert.equal(of.sink.messages, isTaken ? 1 : 0)
  }
})

test('MessageReceiver, a message that is too large, is refused by its head', () => {
  for (const declaredLength of [BigInt(MAX + 1), 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    const of = bench()
    feedAll(of, encodeFrame(Opcode.BINARY, '', { declaredLength }), [3])
    assert.equal(of.sink.violation, 1009)
    assert.equal(of.arena.bytesInUse, 0)
  }
  const of = bench()
  feedAll(of, encodeFrame(Opcode.BINARY, Buffer.alloc(MAX), { fin: false }), [10_000])
  feedAll(of, encodeFrame(Opcode.CONTINUATION, '', { fin: false }), [100])
  assert.equal(of.sink.violation, null, 'exactly as large as it may be')
  feedAll(of, encodeFrame(Opcode.CONTINUATION, 'x'), [100])
  assert.equal(of.sink.violation, 1009)
  assert.equal(of.arena.bytesInUse, 0)
})

test('MessageReceiver, a declared length, takes memory for what has arrived only', () => {
  const messageBytesMax = 4 * 1024 * 1024
  const of = bench(64 * 1024 * 1024, messageBytesMax)
  const stream = encodeFrame(Opcode.BINARY, Buffer.alloc(messageBytesMax))
  assert.equal(of.receiver.accept(stream, 0, 14), 14)
  assert.equal(of.arena.bytesInUse, 0, 'a head alone takes nothing')
  for (let at = 14; at < stream.length; ) {
    at = feed(of, stream, at, 1000)
    const most = Math.max(16 * 1024, 2 * at)
    assert.ok(of.arena.bytesInUse <= most, `${of.arena.bytesInUse} bytes for ${at}`)
  }
  assert.equal(of.sink.messages, 1)
  // Who has proved such a size is trusted with it, and owns nothing while he is idle.
  assert.equal(of.arena.bytesInUse, 0)
  assert.equal(of.receiver.accept(stream, 0, 20), 20)
  assert.equal(of.receiver.heldBytes, messageBytesMax)
  of.receiver.close()
  assert.equal(of.arena.bytesInUse, 0)
})

test('MessageReceiver, an exhausted arena, stalls without losing a byte and goes on after a free', () => {
  const of = bench(64 * 1024)
  const { arena, receiver, sink } = of
  const blocker = arena.allocate(64 * 1024)
  const payload = Buffer.alloc(20_000, 7)
  const stream = Buffer.concat([
    encodeFrame(Opcode.PING, 'before'),
    encodeFrame(Opcode.BINARY, payload),
    encodeFrame(Opcode.PING, 'behind'),
  ])
  const taken = receiver.accept(Buffer.from(stream.subarray(0, 10_000)), 0, 10_000)
  assert.equal(receiver.stalled, true)
  assert.equal(receiver.retry(), false)
  assert.equal(receiver.directLength, 0)
  assert.deepEqual(sink.events, [['ping', hex(Buffer.from('before'))]])
  arena.free(blocker, arena.generationOf(blocker))
  assert.equal(receiver.retry(), true)
  assert.equal(receiver.accept(stream, taken, stream.length), stream.length)
  assert.deepEqual(sink.events.slice(1), [
    ['message', hex(payload)],
    ['ping', hex(Buffer.from('behind'))],
  ])
})

test('MessageReceiver, large messages whose heads differ in width, are expected all the same', () => {
  const of = bench()
  const sizes = [70_000, 40_000, 70_000, 33_000, 65_535, 65_536, 100_000, 40_000]
  const payloads = sizes.map((size, i) => Buffer.alloc(size, i + 1))
  for (const [i, payload] of payloads.entries()) {
    const stream = encodeFrame(Opcode.BINARY, payload)
    assert.equal(of.receiver.sendsLargeFrames, i > 0)
    for (let at = 0; at < stream.length; ) at = feed(of, stream, at, 1_000_000)
  }
  assert.deepEqual(
    of.sink.events.map(([, payload]) => payload),
    payloads.map(hex),
  )
  assert.equal(of.arena.bytesInUse, 0)
})
