import assert from 'node:assert/strict'
import type { Random } from '../../src/base/random.ts'
import type { EncodedRecord } from '../../src/coordinator/effects.ts'
import type { GroupConfig, GroupContext } from '../../src/coordinator/group/group-context.ts'
import { GroupCoordinator } from '../../src/coordinator/group/group-coordinator.ts'
import { decodeGroupRecord, encodeGroupRecord } from '../../src/coordinator/group/record-schema.ts'
import { TopicRegexes } from '../../src/coordinator/group/topic-regexes.ts'
import type { KnownTopic, TopicView } from '../../src/coordinator/group/topic-view.ts'

/**
 * A group coordinator in a world of its own: a clock, a log of encoded records of which a tail may
 * be lost, answers that come when their records are committed, and restarts.
 */
export const CONFIG: GroupConfig = {
  groupMaxSize: 20,
  sessionTimeoutMsMin: 1000,
  sessionTimeoutMsMax: 60_000,
  initialRebalanceDelayMs: 100,
  offsetMetadataBytesMax: 100,
  offsetsRetentionMs: 3_600_000,
  consumer: {
    maxSize: 20,
    timesOf: () => ({ sessionTimeoutMs: 3000, heartbeatIntervalMs: 400 }),
    assignors: ['uniform', 'range'],
    migrationPolicy: 'bidirectional',
  },
}

export const REGEXES = new TopicRegexes()

/** The topics of a world, to be changed at will. An id ends in how often its name was made. */
export class Topics implements TopicView {
  /** Of all worlds, as long as they share what was matched. */
  static #versions = 0
  version = Topics.#versions++
  readonly #byName = new Map<string, KnownTopic>()
  readonly #byId = new Map<string, KnownTopic>()
  #made = 0

  set(name: string, partitions: number): void {
    const id = this.#byName.get(name)?.id ?? topicId(name, this.#made++)
    this.#byName.set(name, { id, name, partitions })
    this.#byId.set(id, { id, name, partitions })
    this.version = Topics.#versions++
  }

  delete(name: string): void {
    this.#byId.delete(this.#byName.get(name)?.id ?? '')
    this.#byName.delete(name)
    this.version = Topics.#versions++
  }

  byName(name: string): KnownTopic | undefined {
    return this.#byName.get(name)
  }

  byId(id: string): KnownTopic | undefined {
    return this.#byId.get(id)
  }

  names(): Iterable<string> {
    return this.#byName.keys()
  }
}

function topicId(name: string, number: number): string {
  return Buffer.from(`${name}-${number}`.padEnd(16).slice(0, 16)).toString('base64url')
}

interface Uncommitted {
  readonly records: readonly EncodedRecord[]
  readonly answers: readonly (() => void)[]
}

export class GroupWorld {
  readonly topics = new Topics()
  coordinator: GroupCoordinator
  nowMs = 1_000_000
  readonly log: EncodedRecord[] = []
  readonly #random: Random
  #uncommitted: Uncommitted[] = []
  #ids = 0
  restarts = 0
  /** Offsets by topic and partition, and the epochs of groups, as the log says. */
  readonly #durable = new Map<string, number>()
  readonly #epochs = new Map<string, number>()

  constructor(random: Random) {
    this.#random = random
    this.coordinator = this.#fresh()
  }

  get now(): { monotonicMs: number; wallMs: number } {
    return { monotonicMs: this.nowMs, wallMs: this.nowMs }
  }

  context(clientId: string, apiVersion = 9): GroupContext {
    return { ...this.now, apiVersion, clientId, clientHost: '/127.0.0.1' }
  }

  #fresh(): GroupCoordinator {
    const newId = (): string => `${this.restarts}-${this.#ids++}`
    return new GroupCoordinator({ config: CONFIG, newId, topics: this.topics, regexes: REGEXES })
  }

  /** Runs a step; what it asks for waits to be committed. */
  step(run: (coordinator: GroupCoordinator) => void): void {
    run(this.coordinator)
    const { records, answers } = this.coordinator.take()
    this.#uncommitted.push({ records: records.map(encodeGroupRecord), answers })
  }

  /** Commits the first `count` of the steps that wait, all of them by default. */
  commit(count = this.#uncommitted.length): void {
    for (const { records, answers } of this.#uncommitted.splice(0, count)) {
      this.#append(records)
      for (const answer of answers) answer()
    }
  }

  commitSome(): void {
    this.commit(this.#random.below(this.#uncommitted.length + 1))
  }

  /** Time passes; the coordinator is called when it asked for it, never much later. */
  pass(ms: number): void {
    const end = this.nowMs + ms
    for (;;) {
      const next = Math.max(this.coordinator.nextDeadlineMs, this.nowMs)
      if (next > end) break
      this.nowMs = next
      this.step((coordinator) => coordinator.onTime(this.now))
    }
    this.nowMs = end
  }

  /** The coordinator dies; what was not committed is lost, or some of it is not. */
  restart(): void {
    const kept = this.#random.below(this.#uncommitted.length + 1)
    for (const { records } of this.#uncommitted.slice(0, kept)) this.#append(records)
    this.#uncommitted = []
    this.restarts++
    this.coordinator = this.#fresh()
    for (const { key, value } of this.log) {
      const record = decodeGroupRecord(key, value)
      assert(record !== null)
      this.coordinator.replay(record, this.now)
    }
    this.coordinator.onLoaded(this.now)
    const { records, answers } = this.coordinator.take()
    assert.deepEqual(answers, [])
    for (const { type, value } of records) {
      assert.deepEqual([type, value], ['offset', null], 'only what topics have left behind goes')
    }
    this.#uncommitted.push({ records: records.map(encodeGroupRecord), answers })
  }

  deleteTopic(name: string): void {
    this.topics.delete(name)
    this.step((coordinator) => coordinator.onTopicsDeleted(new Set([name])))
  }

  /** What the log says of a partition's offset; −1: nothing. */
  durableOffset(partition: number, topic = 't'): number {
    return this.#durable.get(`${topic}/${partition}`) ?? -1
  }

  #append(records: readonly EncodedRecord[]): void {
    for (const each of records) {
      this.log.push(each)
      const record = decodeGroupRecord(each.key, each.value)
      if (record?.type === 'offset') {
        const { topic, partition } = record.key
        grow(this.#durable, `${topic}/${partition}`, record.value?.offset ?? null)
      } else if (record?.type === 'consumer-group') {
        grow(this.#epochs, record.key.group, record.value?.epoch ?? null)
      }
    }
  }
}

/** Null: it is forgotten. */
function grow(values: Map<string, number>, key: string, value: number | null): void {
  if (value === null) {
    values.delete(key)
    return
  }
  const before = values.get(key) ?? -1
  assert(value >= before, `${key} went back from ${before} to ${value}`)
  values.set(key, value)
}
