/** Replicas of a quorum in one process: logs in memory, messages and time that the test passes. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { Quorum, type QuorumSnapshots } from '../../src/cluster/quorum.ts'
import { leaderChangeEntry, recordsEntry, votersEntry } from '../../src/cluster/quorum-entries.ts'
import type { FoundLog, QuorumLog } from '../../src/cluster/quorum-log.ts'
import type { SavedQuorum } from '../../src/cluster/quorum-state-file.ts'
import type { Entry } from '../../src/raft/entry.ts'
import type { RaftMessage } from '../../src/raft/messages.ts'
import { RAFT_DEFAULTS } from '../../src/raft/options.ts'
import { keyOf, settled } from './fixture.ts'

const STEP_MS = 5

/** Of a quorum whose log is never cut at its beginning. */
export const NO_SNAPSHOTS: QuorumSnapshots = {
  newest: () => null,
  read: () => Promise.reject(new Error('there is no snapshot')),
  store: () => Promise.reject(new Error('no snapshot is sent')),
  install: () => undefined,
}

/** Complains about what a log must not be asked for. */
export class MemoryLog implements QuorumLog {
  entries: Entry[] = []
  truncations: number[] = []
  /** Operations wait here while it is set. */
  held: (() => void)[] | null = null
  failure: Error | null = null

  get endOffset(): number {
    return this.entries.at(-1)?.endOffset ?? 0
  }

  append(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries) {
      assert.equal(entry.baseOffset, this.endOffset, 'appends are in order')
      this.entries.push(entry)
    }
    return this.#done()
  }

  truncate(offset: number): Promise<void> {
    this.truncations.push(offset)
    this.entries = this.entries.filter(({ endOffset }) => endOffset <= offset)
    assert.equal(this.endOffset, offset, 'a log is cut between entries')
    return this.#done()
  }

  reset(): Promise<void> {
    assert.fail('there are no snapshots')
  }

  read(offset: number): Promise<readonly Entry[]> {
    return Promise.resolve(this.entries.filter(({ baseOffset }) => baseOffset >= offset))
  }

  release(): void {
    const { held } = this
    this.held = null
    for (const go of held ?? []) go()
  }

  get found(): FoundLog {
    const epochs: { epoch: number; startOffset: number }[] = []
    for (const { epoch, baseOffset } of this.entries) {
      if (epochs.at(-1)?.epoch !== epoch) epochs.push({ epoch, startOffset: baseOffset })
    }
    const snapshot = { endOffset: 0, epoch: 0 }
    const { endOffset, entries } = this
    return { snapshot, epochs, endOffset, voters: null, entries: [...entries] }
  }

  #done(): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure)
    const { held } = this
    return held === null ? Promise.resolve() : new Promise((resolve) => held.push(resolve))
  }
}

export class TestReplica {
  readonly id: number
  readonly log: MemoryLog
  saved: SavedQuorum
  /** Saves wait here while it is set. */
  heldSaves: (() => void)[] | null = null
  sent: RaftMessage[] = []
  readonly committed: Entry[] = []
  readonly failures: unknown[] = []
  /** Who has said what cannot be. */
  readonly distrusted: string[] = []
  changes = 0
  readonly quorum: Quorum

  constructor(
    parts: { id: number; nowMs: () => number },
    before: { readonly log: MemoryLog; readonly saved: SavedQuorum },
  ) {
    this.id = parts.id
    this.log = before.log
    this.saved = before.saved
    this.quorum = new Quorum({
      self: keyOf(parts.id),
      options: RAFT_DEFAULTS,
      random: new Random(parts.id),
      nowMs: parts.nowMs,
      log: this.log,
      found: this.log.found,
      saved: this.saved,
      save: (state) => this.#save(state),
      snapshots: NO_SNAPSHOTS,
      makeVotersEntry: ({ epoch, baseOffset, voters, isLeaderChange }) => {
        const place = { epoch, baseOffset }
        if (isLeaderChange) return leaderChangeEntry(place, parts.id, voters, 0)
        return votersEntry(place, voters, 0)
      },
      send: (messages) => {
        this.sent.push(...messages)
      },
      onCommitted: (entries) => {
        for (const entry of entries) {
          const end = this.committed.at(-1)?.endOffset ?? 0
          assert.equal(entry.baseOffset, end, 'entries are handed out in order, each once')
          this.committed.push(entry)
        }
      },
      onChanged: () => {
        this.changes++
      },
      onPeerError: ({ id }, { message }) => this.distrusted.push(`${id}: ${message}`),
      onFailure: (error) => this.failures.push(error),
    })
  }

  propose(text: string): number | string {
    return this.quorum.propose((place) => recordsEntry(place, [Buffer.from(text)], 0))
  }

  releaseSaves(): void {
    const held = this.heldSaves
    this.heldSaves = null
    for (const go of held ?? []) go()
  }

  #save(state: SavedQuorum): Promise<void> {
    const { heldSaves } = this
    if (heldSaves === null) {
      this.saved = state
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      heldSaves.push(() => {
        this.saved = state
        resolve()
      })
    })
  }
}

export class TestQuorum {
  nowMs = 0
  readonly replicas = new Map<number, TestReplica>()
  /** Nothing reaches them, and they reach nobody. */
  readonly cut = new Set<number>()
  readonly #t: TestContext

  constructor(t: TestContext, count: number) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const firstVoters = Array.from({ length: count }, (_, i) => keyOf(i + 1))
    for (const { id } of firstVoters) {
      const saved = { epoch: 0, votedFor: null, firstVoters }
      this.#start(id, { log: new MemoryLog(), saved })
    }
    t.after(() => {
      for (const { quorum } of this.replicas.values()) quorum.close()
    })
  }

  at(id: number): TestReplica {
    return this.replicas.get(id) as TestReplica
  }

  get leaders(): TestReplica[] {
    return [...this.replicas.values()].filter(({ quorum }) => quorum.isLeader)
  }

  /** The process dies and begins again with what was durable. */
  restart(id: number): TestReplica {
    const before = this.at(id)
    before.quorum.close()
    return this.#start(id, before)
  }

  /** Delivers what was sent until nobody sends anything more. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; quiet++) {
      await settled()
      for (const replica of this.replicas.values()) {
        const { sent, id } = replica
        if (sent.length > 0) quiet = 0
        replica.sent = []
        if (this.cut.has(id)) continue
        for (const message of sent) {
          const to = message.to.id
          if (!this.cut.has(to)) this.replicas.get(to)?.quorum.receive([message])
        }
      }
    }
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.nowMs += STEP_MS
      this.#t.mock.timers.tick(STEP_MS)
      await this.settle()
    }
  }

  /** Until one of them leads and all that are not cut off know it. */
  async untilLed(): Promise<TestReplica> {
    for (let waited = 0; waited < 10_000; waited += STEP_MS) {
      await this.pass(STEP_MS)
      const reached = [...this.replicas.values()].filter(({ id }) => !this.cut.has(id))
      const leader = reached.find(({ quorum }) => quorum.isLeader)
      if (leader === undefined) continue
      if (reached.every(({ quorum }) => quorum.leader?.id === leader.id)) return leader
    }
    throw new Error('nobody leads')
  }

  #start(id: number, before: { log: MemoryLog; saved: SavedQuorum }): TestReplica {
    const parts = { id, nowMs: () => this.nowMs }
    const replica = new TestReplica(parts, { log: before.log, saved: before.saved })
    this.replicas.set(id, replica)
    replica.quorum.start()
    return replica
  }
}
