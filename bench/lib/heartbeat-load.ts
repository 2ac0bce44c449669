/**
 * Heartbeats at a fixed rate: frames made before, each sent once an interval, all spread evenly
 * over it; latency from the intended time. Answers are read only as far as their error code.
 */
import { connect, type Socket } from 'node:net'
import { Latency } from '../../src/load/latency.ts'
import type { LatencySummary } from '../../src/load/latency-summary.ts'
import { FRAME_SIZE_BYTES } from '../../src/wire/kafka/framing.ts'

/** Behind the correlation id, no tags and the throttle time: alike in both protocols. */
const ERROR_CODE_AT = FRAME_SIZE_BYTES + 4 + 1 + 4
const TICK_MS = 2
/** How long answers that are missing at the end are waited for. */
const DRAIN_MS = 10_000

export interface HeartbeatResult {
  readonly seconds: number
  readonly offeredPerSecond: number
  /** Of the intended times inside the measurement: answered before its end. */
  readonly answeredPerSecond: number
  readonly errors: number
  readonly latencyMs: LatencySummary
}

export interface HeartbeatOptions {
  readonly port: number
  readonly connections: number
  readonly frames: readonly Uint8Array[]
  readonly intervalMs: number
  readonly warmUpSeconds: number
  readonly seconds: number
  readonly onMeasure: (at: 'start' | 'end') => void
}

/** The chunks of a message, with their length in front. A copy. */
export function frameOf(chunks: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(chunks))
}

/** A connection, and the intended times of what it has sent and not seen answered. */
class Lane {
  readonly #socket: Socket
  readonly #onAnswer: (intendedMs: number, errorCode: number) => void
  readonly #intendedMs: number[] = []
  #rest: Buffer | null = null
  failure: Error | null = null

  constructor(socket: Socket, onAnswer: (intendedMs: number, errorCode: number) => void) {
    this.#socket = socket
    this.#onAnswer = onAnswer
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', (error) => {
      this.failure ??= error
    })
    socket.on('close', () => {
      this.failure ??= new Error('the broker closed a connection')
    })
  }

  get waiting(): number {
    return this.#intendedMs.length
  }

  send(frame: Uint8Array, intendedMs: number): void {
    this.#intendedMs.push(intendedMs)
    this.#socket.write(frame)
  }

  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    let bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length >= FRAME_SIZE_BYTES) {
      const end = FRAME_SIZE_BYTES + bytes.readInt32BE(0)
      if (bytes.length < end) break
      this.#onAnswer(this.#intendedMs.shift() as number, bytes.readInt16BE(ERROR_CODE_AT))
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes.length === 0 ? null : bytes
  }
}

function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function runHeartbeats(options: HeartbeatOptions): Promise<HeartbeatResult> {
  const { port, frames, intervalMs } = options
  const latency = new Latency()
  let errors = 0
  let answered = 0
  let [fromMs, toMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  const onAnswer = (intendedMs: number, errorCode: number): void => {
    if (errorCode !== 0) errors++
    if (intendedMs < fromMs || intendedMs >= toMs) return
    const nowMs = performance.now()
    latency.record(nowMs - intendedMs)
    if (nowMs < toMs) answered++
  }
  const lanes: Lane[] = []
  for (let i = 0; i < options.connections; i++) {
    lanes.push(new Lane(await openSocket(port), onAnswer))
  }
  const stepMs = intervalMs / frames.length
  const startedMs = performance.now()
  fromMs = startedMs + options.warmUpSeconds * 1000
  toMs = fromMs + options.seconds * 1000
  let isMeasuring = false
  for (let next = 0; ; ) {
    const nowMs = performance.now()
    if (!isMeasuring && nowMs >= fromMs) {
      isMeasuring = true
      options.onMeasure('start')
    }
    if (nowMs >= toMs) break
    for (; startedMs + next * stepMs <= nowMs; next++) {
      // Members of one interval after the other; each has its connection for good.
      const member = next % frames.length
      const lane = lanes[member % lanes.length] as Lane
      lane.send(frames[member] as Uint8Array, startedMs + next * stepMs)
    }
    await sleep(TICK_MS)
    const failure = lanes.find((lane) => lane.failure !== null)?.failure
    if (failure !== undefined) throw failure
  }
  options.onMeasure('end')
  const untilMs = performance.now() + DRAIN_MS
  while (lanes.some((lane) => lane.waiting > 0) && performance.now() < untilMs) await sleep(10)
  for (const lane of lanes) lane.close()
  return {
    seconds: options.seconds,
    offeredPerSecond: 1000 / stepMs,
    answeredPerSecond: answered / options.seconds,
    errors,
    latencyMs: latency.summary(),
  }
}
