/** One connection of the fake server: a pair of ends with latency, requests, credits, pushes. */
import type { ClientSocket, SocketEvents } from '../../src/client/platform.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { GroupMembers } from '../../src/gateway/websocket/group-members.ts'
import { decodeClientMessage, encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import {
  type ClientMessage,
  type ClientMessages,
  MESSAGE_COST_BYTES,
  type ServerMessage,
} from '../../src/wire/websocket/messages.ts'
import { errorFields, type FakePeer, type FakeWorld } from './fake-world.ts'

const LATENCY_MAX_MS = 3
/** A connection that is cut is noticed by then. */
const IDLE_MS = 2000
const ENVELOPE_BYTES_MAX = 64 * 1024
const RETRIABLE = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_ENOUGH_REPLICAS,
] as const

interface Subscription {
  readonly topic: string
  readonly partition: number
  readonly maxBytes: number
  offset: number
  credits: number
  granted: number
}

export class FakeConnection implements FakePeer {
  readonly #server: FakeWorld
  readonly #events: SocketEvents
  /** The client's end still hears us. */
  #isOpen = true
  /** We still work on what the client sent. */
  #isServed = true
  #credits: number
  #window: number
  #underWay = 0
  /** Times at which the last message of each direction arrives: none overtakes another. */
  #upMs = 0
  #downMs = 0
  readonly #subscriptions = new Map<number, Subscription>()
  readonly #members: GroupMembers

  constructor(server: FakeWorld, events: SocketEvents) {
    this.#server = server
    this.#events = events
    const { options } = server
    const link = {
      remoteAddress: '127.0.0.1',
      subscriptionPlaces: { take: () => true, leave: () => {} },
      send: (message: ServerMessage) => this.#deliver(message),
      answer: (message: ServerMessage) => this.#answer(message),
      fail: (id: number, code: number) => this.#error(id, code as ErrorCode),
      redirect: (id: number, code: number) => this.#error(id, code as ErrorCode),
    }
    this.#members = new GroupMembers(link, () => server.groups.calls({ isCut: false }))
    this.#credits = options.credits ?? 256 * 1024
    this.#window = this.#credits
    this.#later('down', () => {
      if (!this.#isOpen) return
      events.opened()
      this.#deliver({
        type: 'hello',
        versions: [1, 1],
        server: 'fake',
        node: 1,
        cluster: 'fake',
        limits: {
          messageBytes: options.messageBytes ?? 4 * 1024 * 1024,
          envelopeBytes: ENVELOPE_BYTES_MAX,
          batchBytes: 1024 * 1024,
          requests: options.requests ?? 64,
          requestBytes: 1024 * 1024,
          subscriptions: 100,
          pushBytes: options.pushBytes ?? 8 * 1024 * 1024,
        },
        credits: this.#credits,
        pingIntervalMs: options.pingIntervalMs ?? 15_000,
        idleTimeoutMs: 30_000,
      })
    })
  }

  get subscriptionsCount(): number {
    return this.#subscriptions.size
  }

  get clientSide(): ClientSocket {
    return {
      send: (pieces) => {
        const bytes = new Uint8Array(Buffer.concat(pieces))
        this.#later('up', () => this.#receive(bytes))
      },
      close: (code) => this.#later('up', () => this.end(code, 'closed by the client')),
    }
  }

  /** Ends it, from this side or by the network. */
  end(code: number, reason: string): void {
    this.#server.connections.delete(this)
    this.#isServed = false
    this.#members.close()
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#later('down', () => this.#events.closed(code, reason))
  }

  /** The client's end is gone; what it sent is worked on, much later than usual. */
  #cut(): void {
    this.#isOpen = false
    this.#server.timers.after(IDLE_MS, () => this.#members.close())
    this.#upMs += this.#server.random.below(2000)
    this.#server.timers.after(0, () => this.#events.closed(1006, 'cut'))
  }

  #later(direction: 'up' | 'down', callback: () => void): void {
    const { timers, random } = this.#server
    const atMs = timers.monotonicMs() + random.fraction() * LATENCY_MAX_MS
    if (direction === 'up') this.#upMs = Math.max(this.#upMs, atMs)
    else this.#downMs = Math.max(this.#downMs, atMs)
    const dueMs = direction === 'up' ? this.#upMs : this.#downMs
    timers.after(dueMs - timers.monotonicMs(), callback)
  }

  #deliver(message: ServerMessage, payload: Uint8Array = new Uint8Array(0)): void {
    const bytes = new Uint8Array(Buffer.concat([encodeEnvelope(message), payload]))
    this.#later('down', () => {
      if (this.#isOpen) this.#events.message(bytes)
    })
  }

  /** An answer, after a delay of its own. */
  #answer(message: ServerMessage, cost = 0, payload?: Uint8Array): void {
    const server = this.#server
    const { faults, random, timers } = server
    timers.after(random.fraction() * (faults.answerDelayMs ?? 0), () => {
      if (!this.#isOpen) return
      this.#underWay--
      const kept = server.chance(faults.keepCredits) ? random.below(cost + 1) : 0
      this.#credits += cost - kept
      this.#window -= kept
      this.#deliver(kept === 0 ? message : ({ ...message, kept } as ServerMessage), payload)
      if (this.#server.chance(faults.recall)) {
        this.#deliver({ type: 'recall', bytes: random.below(100_000) })
      }
    })
  }

  // —— requests ——

  #receive(bytes: Uint8Array): void {
    if (!this.#isServed) return
    const { envelope, payloadStart } = decodeClientMessage(bytes, ENVELOPE_BYTES_MAX)
    if ('id' in envelope) {
      this.#underWay++
      if (this.#underWay > (this.#server.options.requests ?? 64)) {
        this.#server.violated('more requests under way than allowed')
      }
    }
    if (envelope.type === 'produce') this.#charge(envelope, bytes, payloadStart)
    else this.#handle(envelope)
  }

  #charge(message: ClientMessages['produce'], bytes: Uint8Array, payloadStart: number): void {
    const cost = bytes.length + MESSAGE_COST_BYTES
    if (cost > this.#credits) this.#server.violated(`${cost} bytes with ${this.#credits} credits`)
    this.#credits -= cost
    const { faults } = this.#server
    if (this.#server.chance(faults.cut)) this.#cut()
    if (this.#server.chance(faults.dropBefore)) {
      this.end(1006, 'dropped before')
      return
    }
    this.#produce(message, bytes.subarray(payloadStart), cost)
  }

  #produce(message: ClientMessages['produce'], payload: Uint8Array, cost: number): void {
    const server = this.#server
    const seen = new Set<string>()
    let at = 0
    const partitions = message.partitions.map(
      ([topic, number, size]): [number, number, number, number, string | null] => {
        const name = `${topic}-${number}`
        if (seen.has(name)) server.violated(`two batches for ${name}`)
        seen.add(name)
        const batch = payload.subarray(at, at + size)
        at += size
        const partition = server.partition(topic, number)
        if (partition === undefined) {
          return [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1, null]
        }
        if (server.chance(server.faults.refuse)) {
          return [server.random.pick(RETRIABLE), -1, -1, -1, null]
        }
        const { code, baseOffset } = partition.append(batch)
        if (server.chance(server.faults.doubt)) {
          return [ErrorCode.REQUEST_TIMED_OUT, -1, -1, -1, null]
        }
        return [code, baseOffset, -1, partition.logStartOffset, null]
      },
    )
    if (at !== payload.length) server.violated('a payload that is not what the envelope says')
    server.appended()
    if (server.chance(server.faults.dropAfter)) {
      this.end(1006, 'dropped after')
      return
    }
    if (message.acks === 0) {
      this.#underWay--
      this.#credits += cost
      this.#deliver({ type: 'credits', bytes: cost })
      return
    }
    if (server.chance(server.faults.loseAnswer)) return
    this.#answer({ type: 'produced', id: message.id, partitions }, cost)
  }

  #handle(message: ClientMessage): void {
    switch (message.type) {
      case 'requestCredits':
        this.#grow(message.bytes)
        return
      case 'yieldCredits':
        if (message.bytes > this.#credits) this.#server.violated('yields what it does not have')
        this.#credits -= message.bytes
        this.#window -= message.bytes
        return
      case 'initProducer': {
        const producerId = this.#server.nextProducerId++
        this.#answer({ type: 'producer', id: message.id, producerId, producerEpoch: 0 })
        return
      }
      case 'subscribe':
        this.#subscribe(message)
        return
      case 'flow':
        this.#flow(message)
        return
      case 'unsubscribe':
        this.#subscriptions.delete(message.subscription)
        this.#answer({ type: 'done', id: message.id })
        return
      case 'metadata':
        this.#metadata(message)
        return
      case 'listOffsets':
        this.#listOffsets(message)
        return
      case 'joinGroup':
      case 'commitOffsets':
      case 'leaveGroup':
        this.#members.serve(message)
        return
      case 'released':
        this.#members.released(message.member)
        return
      case 'ping':
        this.#answer({ type: 'pong', id: message.id })
        return
      case 'createTopic':
        this.#server.createTopic(message.name, Math.max(1, message.partitions))
        this.#answer({ type: 'done', id: message.id })
        return
      case 'createPartitions':
        this.#server.createTopic(message.name, message.count)
        this.#answer({ type: 'done', id: message.id })
        return
      case 'deleteTopic':
        this.#deleteTopic(message)
        return
      case 'deleteRecords':
        this.#deleteRecords(message)
        return
      case 'describeTopic': {
        const configs: [string, string | null, boolean][] = [['retention.ms', '1', false]]
        this.#answer({ type: 'topicConfig', id: message.id, configs })
        return
      }
      default:
        this.#server.violated(`the fake does not know ${message.type}`)
    }
  }

  #error(id: number, code: ErrorCode): void {
    this.#answer({ type: 'error', id, ...errorFields(code) })
  }

  #grow(bytes: number): void {
    const window = Math.min(bytes, this.#server.options.creditsMax ?? 1024 * 1024)
    const more = window - this.#window
    if (more <= 0) return
    this.#window += more
    this.#credits += more
    this.#deliver({ type: 'credits', bytes: more })
  }

  #metadata(message: ClientMessages['metadata']): void {
    const server = this.#server
    const names = message.topics ?? [...server.topics.keys()]
    const topics = names.map((name) => {
      if (message.create && server.autoCreate > 0 && !server.topics.has(name)) {
        server.createTopic(name, server.autoCreate)
      }
      const known = server.topics.get(name)
      const partitions = (known ?? []).map((_, index): [number, number, number, number] => {
        return [0, index, 1, 0]
      })
      const errorCode = known === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : 0
      return { name, topicId: `id-of-${name}`, errorCode, internal: false, partitions }
    })
    this.#answer({
      type: 'metadata',
      id: message.id,
      cluster: 'fake',
      controller: 1,
      nodes: [[1, 'localhost', 9092]],
      topics,
    })
  }

  #listOffsets(message: ClientMessages['listOffsets']): void {
    const partitions = message.partitions.map(([topic, number, timestamp]) => {
      const partition = this.#server.partition(topic, number)
      if (partition === undefined) return [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1]
      if (timestamp === -1) return [0, partition.logEndOffset, -1]
      if (timestamp === -2) return [0, partition.logStartOffset, -1]
      const found = partition.records().find((record) => record.timestamp >= timestamp)
      return found === undefined ? [0, -1, -1] : [0, found.offset, found.timestamp]
    }) as [number, number, number][]
    this.#answer({ type: 'offsets', id: message.id, partitions })
  }

  #deleteTopic(message: ClientMessages['deleteTopic']): void {
    if (!this.#server.topics.delete(message.name)) {
      this.#error(message.id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return
    }
    this.#answer({ type: 'done', id: message.id })
    this.#server.appended()
  }

  #deleteRecords(message: ClientMessages['deleteRecords']): void {
    const partition = this.#server.partition(message.topic, message.partition)
    if (partition === undefined) {
      this.#error(message.id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return
    }
    partition.logStartOffset = message.offset < 0 ? partition.logEndOffset : message.offset
    const { logStartOffset } = partition
    this.#answer({ type: 'deleted', id: message.id, logStartOffset })
  }

  // —— subscriptions ——

  #subscribe(message: ClientMessages['subscribe']): void {
    const { id, subscription, topic, credits } = message
    const server = this.#server
    if (this.#subscriptions.has(subscription)) server.violated('a subscription number in use')
    const partition = server.partition(topic, message.partition)
    if (partition === undefined) {
      this.#error(id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return
    }
    const { logStartOffset, logEndOffset: highWatermark } = partition
    let { offset } = message
    if (offset === -1) offset = highWatermark
    if (offset === -2) offset = logStartOffset
    if (offset < logStartOffset || offset > highWatermark) {
      this.#error(id, ErrorCode.OFFSET_OUT_OF_RANGE)
      return
    }
    // Answered before it pushes.
    this.#underWay--
    this.#deliver({ type: 'subscribed', id, subscription, offset, logStartOffset, highWatermark })
    const maxBytes = message.maxBytes ?? 1024 * 1024
    const place = { topic, partition: message.partition, maxBytes, offset }
    this.#subscriptions.set(subscription, { ...place, credits, granted: credits })
    let total = 0
    for (const one of this.#subscriptions.values()) total += Math.max(0, one.credits)
    if (total > (server.options.pushBytes ?? 8 * 1024 * 1024)) server.violated('push credits')
    this.push()
  }

  #flow(message: ClientMessages['flow']): void {
    const subscription = this.#subscriptions.get(message.subscription)
    if (subscription === undefined) return
    subscription.credits += message.credits
    this.push()
  }

  /** Pushes what there is to every subscription that has credits. */
  push(): void {
    for (const [number, subscription] of this.#subscriptions) {
      while (this.#isOpen && subscription.credits > 0) {
        if (!this.#pushOnce(number, subscription)) break
      }
    }
  }

  #pushOnce(number: number, subscription: Subscription): boolean {
    const server = this.#server
    const partition = server.partition(subscription.topic, subscription.partition)
    if (partition === undefined || subscription.offset < partition.logStartOffset) {
      const code =
        partition === undefined
          ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
          : ErrorCode.OFFSET_OUT_OF_RANGE
      this.#subscriptions.delete(number)
      this.#deliver({ type: 'ended', subscription: number, ...errorFields(code) })
      return false
    }
    const room = Math.min(subscription.maxBytes, subscription.credits)
    const { bytes, nextOffset } = partition.read(subscription.offset, room)
    if (bytes.length === 0) return false
    if (server.chance(server.faults.dropPush)) {
      this.end(1006, 'dropped instead of a push')
      return false
    }
    subscription.offset = nextOffset
    subscription.credits -= bytes.length
    const { logEndOffset: highWatermark, logStartOffset } = partition
    const head = { type: 'batches', subscription: number, bytes: bytes.length } as const
    this.#deliver({ ...head, highWatermark, logStartOffset }, bytes)
    return true
  }
}
