/**
 * A client whose group commits once and is not heard of for hours: its offset stays for as long as
 * it was promised to, and is gone some time later. Then it commits again.
 */
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { ApiKey } from '../../../src/wire/kafka/api.ts'
import { require_ } from '../violation.ts'
import type { Place, SimClient, Workload } from './sim-client.ts'

const MINUTE_MS = 60_000
/** Between two looks. */
const LOOK_MS = 15 * MINUTE_MS
const RETRY_MS = 1000
/** What wall clocks of two brokers may be apart by, and then some. */
export const CLOCKS_MS_MAX = 105 * MINUTE_MS
/** Offsets are looked through for old ones every ten minutes, by whoever coordinates then. */
const EXPIRY_MS = 30 * MINUTE_MS
const OFFSETS_VERSION = 9
const COORDINATOR_VERSION = 3

export class SimVisitor {
  readonly #client: SimClient
  readonly #work: Workload
  readonly #groupId: string
  readonly #retentionMs: number

  constructor(client: SimClient, work: Workload, number: number) {
    this.#client = client
    this.#work = work
    this.#groupId = `visitor ${number}`
    this.#retentionMs = work.plan.endurance?.offsetsRetentionMs ?? Number.POSITIVE_INFINITY
  }

  async run(): Promise<void> {
    for (let offset = 1; !this.#work.isOver(); offset++) {
      const beforeMs = performance.now()
      await this.#untilDone((node) => this.#commit(node, offset))
      const afterMs = performance.now()
      for (let isThere = true; isThere && !this.#work.isOver(); ) {
        await this.#client.sleep(LOOK_MS)
        isThere = await this.#isThere(offset, { beforeMs, afterMs })
      }
    }
  }

  async #isThere(
    offset: number,
    { beforeMs, afterMs }: { readonly beforeMs: number; readonly afterMs: number },
  ): Promise<boolean> {
    const sentMs = performance.now()
    const found = await this.#untilDone((node) => this.#fetch(node))
    const what = (): string => `${this.#groupId} has ${found} instead of ${offset}`
    if (found === offset) {
      const ageMs = sentMs - afterMs
      const isNew = ageMs < this.#retentionMs + CLOCKS_MS_MAX + EXPIRY_MS
      require_(isNew, 'offsets of a group that is gone expire', what)
      return true
    }
    const isOld = performance.now() - beforeMs > this.#retentionMs - CLOCKS_MS_MAX
    require_(found < 0 && isOld, 'offsets stay as long as was promised', what)
    this.#work.checker.count('states: offsets of a group expired')
    return false
  }

  /** Asks whoever coordinates the group until there is an answer. */
  async #untilDone<T>(ask: (node: number) => Promise<T | null>): Promise<T> {
    for (;;) {
      const node = await this.#coordinator()
      const done = node === null ? null : await ask(node)
      if (done !== null) return done
      await this.#client.sleep(RETRY_MS)
    }
  }

  async #commit(node: number, committedOffset: number): Promise<true | null> {
    const { topic: name, partition: partitionIndex } = this.#place
    const answer = await this.#client.ask(
      node,
      ApiKey.OFFSET_COMMIT,
      {
        groupId: this.#groupId,
        memberId: '',
        topics: [
          { name, partitions: [{ partitionIndex, committedOffset, committedMetadata: null }] },
        ],
      },
      OFFSETS_VERSION,
    )
    return answer?.body.topics[0]?.partitions[0]?.errorCode === ErrorCode.NONE ? true : null
  }

  /** −1: there is none. */
  async #fetch(node: number): Promise<number | null> {
    const body = { groups: [{ groupId: this.#groupId, topics: null }] }
    const answer = await this.#client.ask(node, ApiKey.OFFSET_FETCH, body, OFFSETS_VERSION)
    const group = answer?.body.groups[0]
    if (group === undefined || group.errorCode !== ErrorCode.NONE) return null
    const told = group.topics[0]?.partitions[0]
    if (told === undefined) return -1
    return told.errorCode === ErrorCode.NONE ? Number(told.committedOffset) : null
  }

  async #coordinator(): Promise<number | null> {
    const answer = await this.#client.ask(
      this.#client.anyNode(),
      ApiKey.FIND_COORDINATOR,
      { key: this.#groupId, keyType: 0 },
      COORDINATOR_VERSION,
    )
    return answer?.body.errorCode === ErrorCode.NONE ? answer.body.nodeId : null
  }

  get #place(): Place {
    return this.#work.places[0] as Place
  }
}
