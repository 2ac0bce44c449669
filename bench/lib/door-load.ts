/**
 * One closed-loop producer connection to either door, as cheap as a client in JavaScript gets: the
 * request is encoded once (for WebSockets masked once as well) and sent again and again. So the
 * broker is what is measured, and both doors get the same batches from the same kind of client.
 */
import { connect, type Socket } from 'node:net'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { ApiKey, encodeRequest } from '../../src/wire/kafka/api.ts'
import { decodeServerMessage, encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import { MESSAGE_COST_BYTES } from '../../src/wire/websocket/messages.ts'

export interface DoorLoadOptions {
  readonly door: 'kafka' | 'websocket'
  readonly port: number
  readonly topic: string
  readonly partitions: number
  readonly connections: number
  readonly eventBytes: number
  readonly eventsPerRequest: number
}

export interface DoorCount {
  requests: number
  bytes: number
  /** From the first byte sent to the answer, microseconds. */
  readonly latencies: number[]
}

const KAFKA_VERSION = 7
const OPCODE_BINARY = 0x82

export class DoorLoad {
  readonly count: DoorCount = { requests: 0, bytes: 0, latencies: [] }
  readonly batchBytes: number
  readonly #options: DoorLoadOptions
  readonly #batch: Uint8Array
  readonly #sockets: Socket[] = []
  #isStopping = false
  #error: Error | null = null

  constructor(options: DoorLoadOptions) {
    this.#options = options
    const builder = new BatchBuilder()
    const value = Uint8Array.from({ length: options.eventBytes }, () => Math.random() * 256)
    for (let i = 0; i < options.eventsPerRequest; i++)
      builder.append(1_700_000_000_000, null, value)
    this.#batch = builder.buildSync()
    this.batchBytes = this.#batch.length
  }

  /** Opens every connection and starts sending. */
  async start(): Promise<void> {
    for (let i = 0; i < this.#options.connections; i++) {
      const partition = i % this.#options.partitions
      this.#sockets.push(
        this.#options.door === 'kafka'
          ? await this.#kafka(partition)
          : await this.#webSocket(partition),
      )
    }
  }

  /** What was answered from now on. */
  reset(): void {
    this.count.requests = 0
    this.count.bytes = 0
    this.count.latencies.length = 0
  }

  stop(): void {
    this.#isStopping = true
    for (const socket of this.#sockets) socket.destroy()
    if (this.#error !== null) throw this.#error
  }

  async #kafka(partition: number): Promise<Socket> {
    const header = { correlationId: 1, clientId: 'door-load' }
    const request = Buffer.concat(
      encodeRequest(ApiKey.PRODUCE, KAFKA_VERSION, header, {
        transactionalId: null,
        acks: 1,
        timeoutMs: 30_000,
        topicData: [
          {
            name: this.#options.topic,
            partitionData: [{ index: partition, records: this.#batch }],
          },
        ],
      }),
    )
    const socket = await open(this.#options.port)
    const next = this.#loop(socket, request)
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const frame = rest.subarray(4, 4 + rest.readInt32BE(0))
        rest = rest.subarray(4 + frame.length)
        // correlation, one topic, its name, one partition, index, error code.
        const code = frame.readInt16BE(4 + 4 + 2 + this.#options.topic.length + 4 + 4)
        next(code)
      }
    })
    next.begin()
    return socket
  }

  async #webSocket(partition: number): Promise<Socket> {
    const envelope = encodeEnvelope({
      type: 'produce',
      id: 1,
      acks: 1,
      partitions: [[this.#options.topic, partition, this.#batch.length]],
    })
    const request = masked(Buffer.concat([envelope, this.#batch]))
    const socket = await open(this.#options.port)
    const next = this.#loop(socket, request)
    const cost = envelope.length + this.#batch.length + MESSAGE_COST_BYTES
    let credits = 0
    let isBegun = false
    let rest: Buffer = await upgrade(socket)
    const take = (): void => {
      for (;;) {
        const message = unframe(rest)
        if (message === null) return
        rest = rest.subarray(message.end)
        const { envelope: said } = decodeServerMessage(message.payload, 1 << 24)
        if (said.type === 'hello') credits += said.credits
        else if (said.type === 'credits') credits += said.bytes
        else if (said.type === 'produced') next(said.partitions[0]?.[0] ?? -1)
        else this.#fail(new Error(JSON.stringify(said)))
        if (!isBegun && credits >= cost) {
          isBegun = true
          next.begin()
        }
      }
    }
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      take()
    })
    const wanted = encodeEnvelope({ type: 'requestCredits', bytes: 2 * cost })
    socket.write(masked(Buffer.from(wanted)))
    take()
    return socket
  }

  /** Called with the error code of each answer; sends the next request. */
  #loop(socket: Socket, request: Buffer): ((code: number) => void) & { begin(): void } {
    let sentMs = 0
    const begin = (): void => {
      sentMs = performance.now()
      socket.write(request)
    }
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => {
      if (!this.#isStopping) this.#fail(new Error('the broker closed a connection'))
    })
    const onAnswer = (code: number): void => {
      if (code !== 0) this.#fail(new Error(`the broker answered error ${code}`))
      this.count.requests++
      this.count.bytes += this.#batch.length
      this.count.latencies.push((performance.now() - sentMs) * 1000)
      if (!this.#isStopping) begin()
    }
    return Object.assign(onAnswer, { begin })
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#isStopping = true
  }
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => resolve(socket))
  })
}

/** Resolves with what came behind the answer to the handshake. */
function upgrade(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let head: Buffer = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.off('data', onData)
      if (head.toString('latin1', 9, 12) === '101') resolve(head.subarray(end + 4))
      else reject(new Error(head.toString()))
    }
    socket.on('data', onData)
    const lines = ['GET /ws HTTP/1.1', 'Host: 127.0.0.1', 'Upgrade: websocket']
    lines.push('Connection: Upgrade', 'Sec-WebSocket-Version: 13')
    lines.push('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Protocol: millrace.v1')
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  })
}

/** A client's frame. One mask for all: what counts here is what the server has to undo. */
function masked(payload: Buffer): Buffer {
  const head = Buffer.alloc(14)
  head[0] = OPCODE_BINARY
  head[1] = 0x80 | 127
  head.writeBigUInt64BE(BigInt(payload.length), 2)
  const mask = [0x37, 0xfa, 0x21, 0x3d]
  head.set(mask, 10)
  const body = Buffer.from(payload)
  for (let i = 0; i < body.length; i++) body[i] = (body[i] as number) ^ (mask[i & 3] as number)
  // Short forms are demanded where they fit.
  if (payload.length < 126) {
    return Buffer.concat([Buffer.of(OPCODE_BINARY, 0x80 | payload.length, ...mask), body])
  }
  if (payload.length < 65_536) {
    const size = Buffer.of(payload.length >> 8, payload.length & 0xff)
    return Buffer.concat([Buffer.of(OPCODE_BINARY, 0x80 | 126), size, Buffer.from(mask), body])
  }
  return Buffer.concat([head, body])
}

/** The first whole message of a server's bytes, fragments joined; control frames are skipped. */
function unframe(bytes: Buffer): { payload: Buffer; end: number } | null {
  const pieces: Buffer[] = []
  let at = 0
  for (;;) {
    if (bytes.length < at + 2) return null
    const first = bytes[at] as number
    let length = (bytes[at + 1] as number) & 0x7f
    let start = at + 2
    if (length === 126) {
      if (bytes.length < at + 4) return null
      length = bytes.readUInt16BE(at + 2)
      start = at + 4
    } else if (length === 127) {
      if (bytes.length < at + 10) return null
      length = Number(bytes.readBigUInt64BE(at + 2))
      start = at + 10
    }
    at = start + length
    if (bytes.length < at) return null
    if ((first & 0x0f) >= 8) continue
    pieces.push(bytes.subarray(start, at))
    if ((first & 0x80) !== 0) return { payload: Buffer.concat(pieces), end: at }
  }
}
