/** What the connections of the fake server share: logs, faults, what clients did wrong. */
import type { Random } from '../../src/base/random.ts'
import type { Timers } from '../../src/client/platform.ts'
import { type ErrorCode, errorInfo } from '../../src/errors/error-code.ts'
import { FakeGroups } from './fake-groups.ts'
import { FakePartition } from './fake-log.ts'

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
  /** Of a produce's answer: not all of its cost comes back. */
  readonly keepCredits?: number
  /** An opening fails. */
  readonly refuseConnection?: number
}

export interface FakeServerOptions {
  readonly timers: Timers
  readonly random: Random
  readonly credits?: number
  /** The window that `requestCredits` can grow to; 0: there is never an answer. */
  readonly creditsMax?: number
  readonly requests?: number
  readonly pushBytes?: number
  readonly messageBytes?: number
  readonly pingIntervalMs?: number
}

/** A connection, as much as the world needs of it. */
export interface FakePeer {
  readonly subscriptionsCount: number
  /** Pushes what there is. */
  push(): void
  end(code: number, reason: string): void
}

export class FakeWorld {
  readonly timers: Timers
  readonly random: Random
  readonly options: FakeServerOptions
  readonly topics = new Map<string, FakePartition[]>()
  readonly connections = new Set<FakePeer>()
  /** What a client did that the protocol forbids. */
  readonly violations: string[] = []
  readonly groups: FakeGroups
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
    this.groups = new FakeGroups(options.timers, (topic) => this.topics.get(topic)?.length)
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
}

/** The fields of an `error` for a code. */
export function errorFields(code: ErrorCode, message = errorInfo(code).message) {
  const { name, retriable } = errorInfo(code)
  return { code, name, message, retriable }
}
