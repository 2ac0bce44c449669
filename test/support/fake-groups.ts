/** A real coordinator of groups in a world of virtual time, for members that a test plays. */

import { ZERO_UUID } from '../../src/base/uuid.ts'
import { type Joined, type MemberCalls, toCommit } from '../../src/broker/member-calls.ts'
import type { Timers } from '../../src/client/platform.ts'
import { GroupCoordinator } from '../../src/coordinator/group/group-coordinator.ts'
import type { ReadGroupRecord } from '../../src/coordinator/group/record-schema.ts'
import type { KnownTopic, TopicView } from '../../src/coordinator/group/topic-view.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { CONFIG, REGEXES } from '../coordinator/group-world.ts'

/** One coordinator, whose records are durable at once, and time that only tests move. */
export class FakeGroups {
  readonly timers: Timers
  readonly counts = new Map<string, number>()
  readonly log: ReadGroupRecord[] = []
  coordinator: GroupCoordinator
  isLoading = false
  readonly #asking = new Set<() => void>()
  #ids = 0
  readonly #count: (topic: string) => number | undefined

  constructor(timers: Timers, count?: (topic: string) => number | undefined) {
    this.#count = count ?? ((topic) => this.counts.get(topic))
    this.timers = timers
    this.coordinator = this.#fresh()
  }

  #fresh(): GroupCoordinator {
    const newId = (): string => String(this.#ids++)
    const topics = this.#topics()
    return new GroupCoordinator({ config: CONFIG, newId, topics, regexes: REGEXES })
  }

  #topics(): TopicView {
    const byName = (name: string): KnownTopic | undefined => {
      const partitions = this.#count(name)
      return partitions === undefined ? undefined : { id: ZERO_UUID, name, partitions }
    }
    return { version: 0, byName, byId: () => undefined, names: () => [] }
  }

  get now() {
    return { monotonicMs: this.timers.monotonicMs(), wallMs: this.timers.wallMs() }
  }

  step<T>(
    run: (coordinator: GroupCoordinator, reply: (answer: T) => void) => void,
    failure: (code: ErrorCode) => T,
  ): Promise<T> {
    if (this.isLoading) return Promise.resolve(failure(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
    return new Promise((resolve) => {
      const fail = (): void => resolve(failure(ErrorCode.COORDINATOR_NOT_AVAILABLE))
      this.#asking.add(fail)
      run(this.coordinator, (answer) => {
        this.#asking.delete(fail)
        resolve(answer)
      })
      this.#collect()
    })
  }

  #collect(): void {
    const { records, answers } = this.coordinator.take()
    this.log.push(...(records as ReadGroupRecord[]))
    for (const answer of answers) answer()
    const { nextDeadlineMs } = this.coordinator
    if (nextDeadlineMs === Infinity) return
    const machine = this.coordinator
    this.timers.after(Math.max(1, nextDeadlineMs - this.now.monotonicMs), () => {
      if (machine !== this.coordinator || this.isLoading) return
      machine.onTime(this.now)
      this.#collect()
    })
  }

  /** Those that wait are told to come back, and for a while there is only the log. */
  restart(loadingMs: number): void {
    this.isLoading = true
    const asking = [...this.#asking]
    this.#asking.clear()
    for (const fail of asking) fail()
    this.timers.after(loadingMs, () => {
      this.isLoading = false
      this.coordinator = this.#fresh()
      for (const record of this.log) this.coordinator.replay(record, this.now)
      this.coordinator.onLoaded(this.now)
      this.#collect()
    })
  }

  /** `isCut` true: nothing of it arrives any more. */
  calls(cut: { isCut: boolean }): MemberCalls {
    const never = <T>(): Promise<T> => new Promise(() => {})
    const ask = <T>(
      run: (coordinator: GroupCoordinator, reply: (answer: T) => void) => void,
      failure: (code: ErrorCode) => T,
    ): Promise<T> => (cut.isCut ? never() : this.step(run, failure))
    return {
      prepare: async () => ErrorCode.NONE,
      join: (request, client) =>
        ask<Joined>(
          (coordinator, reply) =>
            coordinator.join(request, { ...this.now, apiVersion: 9, ...client }, (answer) =>
              reply(answer as Joined),
            ),
          (errorCode) =>
            ({ errorCode, memberId: request.memberId, leader: '', members: [] }) as never,
        ),
      sync: (request) =>
        ask(
          (coordinator, reply) => coordinator.sync(request, this.now, reply),
          (errorCode) => ({ errorCode, assignment: new Uint8Array(0) }),
        ),
      heartbeat: (request) =>
        ask<ErrorCode>(
          (coordinator, reply) => coordinator.heartbeat(request, this.now, reply),
          (code) => code,
        ),
      leave: (groupId, memberId) =>
        ask<ErrorCode>(
          (coordinator, reply) => {
            const members = [{ memberId, instanceId: null }]
            coordinator.leave({ groupId, members }, this.now, ([code]) => reply(code!))
          },
          (code) => code,
        ),
      commit: (member, offsets) =>
        ask<readonly ErrorCode[]>(
          (coordinator, reply) => {
            const all = {
              ...member,
              instanceId: null,
              retentionMs: -1,
              offsets: offsets.map(toCommit),
            }
            coordinator.commit(all, this.now, reply)
          },
          (code) => offsets.map(() => code),
        ),
      committed: (groupId, partitions) =>
        ask<number[] | null>(
          (coordinator, reply) =>
            coordinator.fetch(
              (offsets) =>
                partitions.map((at) => offsets.get(groupId, at.topic, at.partition)?.offset ?? -1),
              reply,
            ),
          () => null,
        ),
      partitionsCount: (topic) => this.#count(topic),
      after: (delayMs, callback) =>
        this.timers.after(delayMs, () => {
          if (!cut.isCut) callback()
        }),
    }
  }
}
