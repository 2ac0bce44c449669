/**
 * One group of real clients whose members come, go, crash and pause as a seed says, and what must
 * hold of it:
 *
 * - no two members have a partition at once, as far as they can tell;
 * - every record is read, and by one member once while nobody has crashed or paused;
 * - commits that were acknowledged do not overlap: nobody commits what another one has committed;
 * - what is committed never goes back, and is never less than what was acknowledged.
 */
import assert from 'node:assert/strict'
import type { Random } from '../../../src/base/random.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { ApiKey } from '../../../src/wire/kafka/api.ts'
import type { RawClient } from '../../support/raw-client.ts'
import type { GroupMember, Ownership } from './group-member.ts'
import { canLose, comesBack, type MemberKind, type MemberOptions, startMember } from './members.ts'

/** Until then something that must happen has happened; nothing is asserted of how long it takes. */
const WAIT_MS_MAX = 60_000
const POLL_MS = 50
/** What a coordinator answers before it knows its groups. */
const ASK_AGAIN: readonly number[] = [
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]

export interface GroupPlan extends Omit<MemberOptions, 'group' | 'topic'> {
  /** Of the group and of its topic. */
  readonly name: string
  readonly partitions: number
  /** Members to begin with; who comes later is one of these kinds as well. */
  readonly kinds: readonly MemberKind[]
  readonly random: Random
  readonly load: TopicLoad
}

/** Who writes the topic. */
export interface TopicLoad {
  /** Resolves when nothing is written any more, to the end of each partition. */
  pause(topic: string): Promise<readonly number[]>
  resume(topic: string): void
}

interface Named {
  readonly name: string
  readonly kind: MemberKind
  readonly member: GroupMember
  /** It has left, or was killed. */
  isGone: boolean
}

export class GroupRun {
  readonly name: string
  readonly #plan: GroupPlan
  readonly #all: Named[] = []
  readonly #startedMs = performance.now()
  /** What happened, for who reads of a failure. */
  readonly #history: string[] = []
  /** By partition what was committed when last asked. */
  readonly #committed = new Map<number, number>()

  constructor(plan: GroupPlan) {
    this.name = plan.name
    this.#plan = plan
  }

  /** Members come and go in order: each record is read once. */
  async runQuietly(): Promise<void> {
    const { kinds, random } = this.#plan
    for (const kind of kinds) this.#join(kind)
    await this.#settle('all share')
    for (const comes of random.chance(0.5) ? [true, false] : [false, true]) {
      if (comes) this.#join(random.pick(kinds))
      else await this.#leave()
      await this.#settle(comes ? 'the new member shares' : 'the rest share')
    }
    this.#checkReadOnce()
  }

  /** One crashes, one is paused until it is put out, one more comes. */
  async runRoughly(): Promise<void> {
    const { kinds, random } = this.#plan
    for (const crashes of random.chance(0.5) ? [true, false] : [false, true]) {
      if (crashes) await this.#crash()
      else await this.#pauseOne()
      // Now and then it comes while the others do not know yet that one is gone.
      if (crashes && random.chance(0.5)) await this.#settle('the rest share')
      if (crashes) this.#join(random.pick(kinds))
      await this.#settle('all share again')
    }
  }

  /** Whether its members stay what they are while the broker is away for a moment. */
  get keepsMembers(): boolean {
    return !this.#running().some(({ kind }) => kind === 'kafkajs')
  }

  /** Ends when each member has read something more. */
  async resume(): Promise<void> {
    const running = this.#running().map(({ member }) => ({ member, read: member.places.length }))
    await this.until('all read on', () => {
      return running.every(({ member, read }) => member.places.length > read)
    })
    this.#note('(all read on)')
  }

  /** The ids of its members, and with KIP-848 its epoch. */
  async members(client: RawClient): Promise<unknown> {
    const ids = { groupIds: [this.name] }
    const authorized = { includeAuthorizedOperations: false }
    const body = { ...ids, ...authorized }
    const { groups } = await client.request(ApiKey.CONSUMER_GROUP_DESCRIBE, 1, body)
    const { errorCode, groupEpoch, members } = groups[0]!
    if (errorCode === ErrorCode.NONE)
      return [groupEpoch, ...members.map(({ memberId }) => memberId).sort()]
    const classic = await client.request(ApiKey.DESCRIBE_GROUPS, 5, {
      groups: [this.name],
      ...authorized,
    })
    return classic.groups[0]!.members.map(({ memberId }) => memberId).sort()
  }

  /** Ends when all records below `ends` (by partition) are read and committed; then all leave. */
  async finish(client: RawClient, ends: readonly number[]): Promise<void> {
    const missing = (): string[] => this.#missing(ends)
    await this.until(
      'all is read',
      () => missing().length === 0,
      () => `missing: ${missing()}`,
    )
    await this.until('all is committed', async () => {
      await this.checkCommitted(client)
      return ends.every((end, partition) => end === 0 || this.#committed.get(partition) === end)
    })
    await this.#settle('all still share')
    const last = this.#running()
    for (const each of last) each.isGone = true
    await Promise.all(last.map(({ member }) => member.leave()))
    this.#checkOwners()
    this.#checkCommits()
  }

  /** Asks for what is committed, and compares with what it was and with what was acknowledged. */
  async checkCommitted(client: RawClient): Promise<void> {
    const acknowledged = new Map<number, number>()
    for (const { member } of this.#all) {
      for (const { partition, to } of member.commits) {
        acknowledged.set(partition, Math.max(to, acknowledged.get(partition) ?? 0))
      }
    }
    const before = new Map(this.#committed)
    const request = { groupId: this.name, topics: null }
    const { errorCode, topics } = await client.request(ApiKey.OFFSET_FETCH, 7, request)
    if (errorCode !== ErrorCode.NONE) {
      assert(ASK_AGAIN.includes(errorCode), this.#explain(`OffsetFetch is answered ${errorCode}`))
      return
    }
    for (const { partitionIndex, committedOffset } of topics[0]?.partitions ?? []) {
      this.#committed.set(partitionIndex, committedOffset)
    }
    for (const known of [before, acknowledged]) {
      for (const [partition, offset] of known) {
        const now = this.#committed.get(partition) ?? -1
        const source = known === before ? 'was fetched' : 'was acknowledged'
        const what = `partition ${partition} went back to ${now}: ${offset} ${source}`
        const last = this.#all.map(({ name, member }) => {
          const own = member.commits.filter((each) => each.partition === partition)
          return `${name}: ${own.slice(-5).map(({ from, to }) => `${from}–${to}`)}`
        })
        assert(now >= offset, this.#explain(`${what} (${last.join('; ')})`))
      }
    }
  }

  async kill(): Promise<void> {
    for (const { member } of this.#all) if (member.isRunning) await member.kill()
  }

  async until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    more = (): string => '',
  ): Promise<void> {
    const end = performance.now() + WAIT_MS_MAX
    while (!(await holds())) {
      const ended = this.#all.find(({ member, isGone }) => !member.isRunning && !isGone)
      assert(ended === undefined, this.#explain(`${ended?.name} ended by itself`))
      assert(performance.now() < end, this.#explain(`did not happen: ${what} ${more()}`))
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  #join(kind: MemberKind): void {
    const { name, bootstrap, sessionMs, roundRobin } = this.#plan
    const options = { bootstrap, sessionMs, roundRobin }
    const member = startMember(kind, { ...options, group: name, topic: name })
    const named = { name: `${kind}#${this.#all.length}`, kind, member, isGone: false }
    this.#all.push(named)
    this.#note(`${named.name} joins`)
  }

  #running(): Named[] {
    return this.#all.filter(({ member }) => member.isRunning)
  }

  async #leave(): Promise<void> {
    const leaving = this.#plan.random.pick(this.#running())
    this.#note(`${leaving.name} leaves`)
    leaving.isGone = true
    const { load, name } = this.#plan
    const ends = canLose(leaving.kind) ? await load.pause(name) : []
    await this.#awaitRead(ends)
    await leaving.member.leave()
    load.resume(name)
  }

  async #crash(): Promise<void> {
    const crashing = this.#plan.random.pick(this.#running())
    this.#note(`${crashing.name} crashes`)
    crashing.isGone = true
    await crashing.member.kill()
  }

  #note(what: string): void {
    const seconds = Math.round((performance.now() - this.#startedMs) / 1000)
    this.#history.push(`${seconds} s: ${what}`)
  }

  async #pauseOne(): Promise<void> {
    const able = this.#running().filter(({ kind }) => comesBack(kind))
    if (able.length === 0) return
    const { name, member } = this.#plan.random.pick(able)
    this.#note(`${name} pauses`)
    await member.pause()
    await this.#settle('the others share')
    this.#note(`${name} goes on`)
    member.resume()
  }

  /** Waits until each partition is somebody's, and each member that is awake has some. */
  async #settle(what: string): Promise<void> {
    await this.until(what, () => {
      const awake = this.#running().filter(({ member }) => !member.isPaused)
      const all = awake.flatMap(({ member }) => member.assigned)
      const isComplete = all.length === this.#plan.partitions && new Set(all).size === all.length
      return isComplete && awake.every(({ member }) => member.assigned.length > 0)
    })
    this.#note(`(${what})`)
  }

  async #awaitRead(ends: readonly number[]): Promise<void> {
    const missing = (): string[] => this.#missing(ends)
    await this.until(
      'all is read',
      () => missing().length === 0,
      () => `missing: ${missing()}`,
    )
  }

  /** As 'partition:offset'. */
  #missing(ends: readonly number[]): string[] {
    const read = new Set(this.#all.flatMap(({ member }) => member.places.map(placeName)))
    const all = ends.flatMap((end, partition) =>
      Array.from({ length: end }, (_, offset) => placeName({ partition, offset })),
    )
    return all.filter((place) => !read.has(place))
  }

  #checkReadOnce(): void {
    const readers = new Map<string, string>()
    for (const { name, member } of this.#all) {
      for (const place of member.places.map(placeName)) {
        const other = readers.get(place)
        assert(other === undefined, this.#explain(`${place} is read by ${other} and ${name}`))
        readers.set(place, name)
      }
    }
  }

  #checkOwners(): void {
    const all: (Ownership & { readonly name: string })[] = this.#all
      .flatMap(({ name, member }) => member.owned.map((owned) => ({ name, ...owned })))
      .sort((a, b) => a.fromUs - b.fromUs)
    const last = new Map<string, (typeof all)[number]>()
    for (const owned of all) {
      const before = last.get(owned.partition)
      const isFree = before === undefined || before.untilUs <= owned.fromUs
      const what = `${owned.partition} is owned by ${before?.name} until ${before?.untilUs}, and`
      assert(isFree, this.#explain(`${what} by ${owned.name} since ${owned.fromUs}`))
      last.set(owned.partition, owned)
    }
  }

  #checkCommits(): void {
    const all = this.#all
      .flatMap(({ name, member }) => member.commits.map((range) => ({ name, ...range })))
      .sort((a, b) => a.partition - b.partition || a.from - b.from)
    for (const [index, range] of all.entries()) {
      const before = all[index - 1]
      if (before === undefined || before.partition !== range.partition) continue
      const what = `${before.name} committed ${before.from}–${before.to} of ${range.partition}, and`
      const other = `${range.name} ${range.from}–${range.to}`
      assert(before.to <= range.from, this.#explain(`${what} ${other}`))
    }
  }

  #explain(what: string): string {
    const members = this.#all.map(({ name, member }) => {
      const { isRunning, assigned, places, commits, errors, stderr } = member
      const last = errors.slice(-5).join(', ')
      const counts = `${places.length} read, ${commits.length} commits, errors: ${last}`
      return `${name} (${isRunning ? 'runs' : 'ended'}): [${assigned}], ${counts}\n${stderr}`
    })
    return [`group ${this.name}: ${what}`, this.#history.join(', '), ...members].join('\n')
  }
}

function placeName({ partition, offset }: { partition: number; offset: number }): string {
  return `${partition}:${offset}`
}
