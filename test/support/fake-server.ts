/**
 * A server of `millrace.v1` in memory, written from its page: what a client of ours is tested
 * against. It holds clients to the rules (credits, limits; `violations`) and plays seeded faults on
 * them. Time and chance are arguments, so that a seed gives the same run every time.
 */
import type { Random } from '../../src/base/random.ts'
import type { ClientSocket, Platform, SocketEvents } from '../../src/client/platform.ts'
import { type ErrorCode, errorInfo } from '../../src/errors/error-code.ts'
import { compressSync, decompressSync } from '../../src/record/compression.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { FakeConnection } from './fake-connection.ts'
import { FakePartition } from './fake-log.ts'
import type { VirtualTimers } from './virtual-timers.ts'

/** Chances, each in [0, 1), for every produce unless said otherwise. */
export interface Faults {
  /** The connection ends before the append. */
  readonly dropBefore?: number
  /** The connection ends after the append, before the answer. */
  readonly dropAfter?: number
  /** The client's end is gone, but what it had sent is still worked on, later. */
  readonly cut?: number
  /** There is never an answer. */
  readonly loseAnswer?: number
  /** A retriable refusal; nothing is appended. */
  readonly refuse?: number
  /** An append, and an answer that it may not have been. */
  readonly doubt?: number
  /** Longest delay of an answer: with it they come in another order. */
  readonly answerDelayMs?: number
  /** Of a push: the connection ends instead. */
  readonly dropPush?: number
  /** Of an answer: the server asks for credits back. */
  readonly recall?: number
  /** An opening fails. */
  readonly refuseConnection?: number
}

export interface FakeServerOptions {
  readonly timers: VirtualTimers
  readonly random: Random
  readonly credits?: number
  /** The window that `requestCredits` can grow to; 0: there is never an answer. */
  readonly creditsMax?: number
  readonly requests?: number
  readonly pushBytes?: number
  readonly messageBytes?: number
  readonly pingIntervalMs?: number
}

export class FakeServer {
  readonly timers: VirtualTimers
  readonly random: Random
  readonly options: FakeServerOptions
  readonly topics = new Map<string, FakePartition[]>()
  readonly connections = new Set<FakeConnection>()
  /** What a client did that the protocol forbids. */
  readonly violations: string[] = []
  faults: Faults = {}
  /** Partitions of a topic that `metadata` creates; 0: it creates none. */
  autoCreate = 0
  opened = 0
  nextProducerId = 1000
  isDown = false

  constructor(options: FakeServerOptions) {
    this.options = options
    this.timers = options.timers
    this.random = options.random
  }

  /** What a client takes for its world. */
  get platform(): Platform {
    return {
      openSocket: (_url, _protocol, events) => this.#open(events),
      timers: this.timers,
      random: () => this.random.fraction(),
      crc32c,
      compress: (code, bytes) => compressSync(code, bytes),
      decompress: (code, bytes, bytesMax) => decompressSync(code, bytes, bytesMax),
      events: null,
    }
  }

  createTopic(name: string, partitionsCount: number): FakePartition[] {
    const partitions = this.topics.get(name) ?? []
    while (partitions.length < partitionsCount) partitions.push(new FakePartition())
    this.topics.set(name, partitions)
    return partitions
  }

  partition(topic: string, partition: number): FakePartition | undefined {
    return this.topics.get(topic)?.[partition]
  }

  chance(probability: number | undefined): boolean {
    return probability !== undefined && this.random.chance(probability)
  }

  violated(what: string): void {
    this.violations.push(`${this.timers.monotonicMs()} ms: ${what}`)
  }

  /** There are new batches: subscriptions go on. */
  appended(): void {
    for (const connection of this.connections) connection.push()
  }

  /** Ends every connection. */
  dropAll(code = 1001): void {
    for (const connection of [...this.connections]) connection.end(code, 'dropped')
  }

  #open(events: SocketEvents): ClientSocket {
    if (this.isDown || this.chance(this.faults.refuseConnection)) {
      this.timers.after(1, () => events.closed(1006, 'refused'))
      return { send: () => {}, close: () => {} }
    }
    this.opened++
    const connection = new FakeConnection(this, events)
    this.connections.add(connection)
    return connection.clientSide
  }
}

/** The fields of an `error` for a code. */
export function errorFields(code: ErrorCode, message = errorInfo(code).message) {
  const { name, retriable } = errorInfo(code)
  return { code, name, message, retriable }
}
