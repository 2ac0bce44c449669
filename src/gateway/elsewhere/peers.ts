import type { Broker } from '../../broker/broker.ts'
import type {
  AppendedElsewhere,
  Elsewhere,
  FetchElsewhere,
  FetchedElsewhere,
  OffsetElsewhere,
} from '../../broker/elsewhere.ts'
import { ConnectionError, type MillraceError, ServerError } from '../../client/errors.ts'
import { Link } from '../../client/link.ts'
import { nodePlatform } from '../../client/platform-node.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ServerMessage } from '../../wire/websocket/messages.ts'
import { urlOf } from '../websocket/leaders.ts'
import { PeerAppends } from './peer-appends.ts'

/**
 * This broker as a client of the others, for its own clients that know no other broker: one
 * WebSocket to each, opened when it is needed. A broker that is asked so answers for what it leads
 * and passes nothing on: what goes wrong goes wrong after one step. Runs on main.
 */
const PEER_OPTIONS = {
  requestTimeoutMs: 40_000,
  creditWindowBytes: 4 * 1024 * 1024,
  reconnect: { minMs: 50, maxMs: 2000 },
} as const

/** For a connection that is not there. */
const CONNECT_MS = 5000
/** A refusal for somebody else's sake is over when the metadata has come here as well. */
const RETRY_MS = 100
const RETRIES_MAX = 50

interface Peer {
  readonly url: string
  readonly link: Link
  readonly appends: PeerAppends
}

interface Place {
  readonly topic: string
  readonly partition: number
  readonly node: number
}

export class Peers implements Elsewhere {
  readonly #broker: Broker
  readonly #peers = new Map<number, Peer>()

  constructor(broker: Broker) {
    this.#broker = broker
  }

  close(): void {
    for (const { link, appends } of this.#peers.values()) {
      appends.close()
      link.close()
    }
    this.#peers.clear()
  }

  /** A link of its own, for who closes it; null for a broker that is not there. */
  openLink(node: number): Link | null {
    const url = urlOf(this.#broker, node)
    return url === '' ? null : linkTo(url, this.#broker.nodeId)
  }

  async appendOnce(handle: number, bytes: Uint8Array, acks: number): Promise<AppendedElsewhere> {
    const place = this.#placeOf(handle)
    const peer = place === null ? null : this.#peerOf(place.node)
    if (place === null || peer === null) {
      const errorCode = ErrorCode.LEADER_NOT_AVAILABLE
      return { errorCode, baseOffset: -1, appendTimeMs: -1, logStartOffset: -1 }
    }
    const { topic, partition } = place
    return peer.appends.append({ topic, partition, bytes, acks: acks as 0 | 1 | -1 })
  }

  async append(handle: number, bytes: Uint8Array, acks: number): Promise<AppendedElsewhere> {
    for (let tries = 0; ; tries++) {
      const outcome = await this.appendOnce(handle, bytes, acks)
      const isGone = !this.#broker.image.partitions.has(handle)
      if (isGone || !isMoving(outcome.errorCode) || tries >= RETRIES_MAX) return outcome
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  /** Waits in slices: a wait that nobody waits for any more is over over there as well, soon. */
  async fetch(handle: number, asked: FetchElsewhere): Promise<FetchedElsewhere> {
    const { clock } = this.#broker
    const endMs = clock.monotonicMs() + Math.min(asked.waitMs, WAIT_MS_MAX)
    for (;;) {
      const leftMs = Math.max(0, endMs - clock.monotonicMs())
      const got = await this.#fetchOnce(handle, { ...asked, waitMs: Math.min(leftMs, SLICE_MS) })
      const isNothing = got.records === null && got.errorCode === ErrorCode.NONE
      const goesOn = isNothing && leftMs > SLICE_MS && asked.signal?.aborted !== true
      if (!goesOn) return got
    }
  }

  async #fetchOnce(handle: number, asked: FetchElsewhere): Promise<FetchedElsewhere> {
    const { offset, bytesMax, waitMs, signal } = asked
    const { topic, partition } = this.#placeOf(handle) ?? NOWHERE
    const most = Math.max(1, Math.floor(bytesMax))
    const places: [string, number, number, number][] = [[topic, partition, offset, most]]
    const limits = { maxBytes: most, minBytes: 1, maxWaitMs: Math.ceil(waitMs) }
    const nothing = { highWatermark: -1, logStartOffset: -1, records: null }
    const got = await this.#ask(handle, { type: 'fetch', ...limits, partitions: places }, signal)
    if (typeof got === 'number') return { errorCode: got, ...nothing }
    if (got === null) return { errorCode: ErrorCode.NONE, ...nothing }
    const result = got.message.type === 'fetched' ? got.message.partitions[0] : undefined
    if (result === undefined) return { errorCode: ErrorCode.UNKNOWN_SERVER_ERROR, ...nothing }
    const [errorCode, highWatermark, logStartOffset, length] = result
    const records = length === 0 ? null : got.payload.subarray(0, length)
    return { errorCode, highWatermark, logStartOffset, records }
  }

  async offsetAt(handle: number, timestamp: number): Promise<OffsetElsewhere> {
    const { topic, partition } = this.#placeOf(handle) ?? NOWHERE
    const got = await this.#ask(handle, {
      type: 'listOffsets',
      partitions: [[topic, partition, timestamp]],
    })
    if (typeof got === 'number') return { errorCode: got, offset: -1, timestamp: -1 }
    const result = got?.message.type === 'offsets' ? got.message.partitions[0] : undefined
    const [errorCode, offset, found] = result ?? [ErrorCode.UNKNOWN_SERVER_ERROR, -1, -1]
    return { errorCode, offset, timestamp: found }
  }

  async deleteRecords(handle: number, offset: number): Promise<OffsetElsewhere> {
    const { topic, partition } = this.#placeOf(handle) ?? NOWHERE
    const got = await this.#ask(handle, { type: 'deleteRecords', topic, partition, offset })
    if (typeof got === 'number') return { errorCode: got, offset: -1, timestamp: -1 }
    if (got?.message.type !== 'deleted') {
      return { errorCode: ErrorCode.UNKNOWN_SERVER_ERROR, offset: -1, timestamp: -1 }
    }
    return { errorCode: ErrorCode.NONE, offset: got.message.logStartOffset, timestamp: -1 }
  }

  // —— inside ——

  /** Null for a partition that is none, or that nobody leads. */
  #placeOf(handle: number): Place | null {
    const { partitions } = this.#broker.image
    const topic = partitions.topicName(handle)
    const node = partitions.leader(handle)
    if (topic === null || node < 0) return null
    return { topic, partition: partitions.partitionNumber(handle), node }
  }

  /** Null for a broker that is not there. */
  #peerOf(node: number): Peer | null {
    const url = urlOf(this.#broker, node)
    const known = this.#peers.get(node)
    if (known !== undefined && (known.url === url || url === '')) return known
    if (known !== undefined) {
      known.appends.close()
      known.link.close()
    }
    if (url === '') return null
    const link = linkTo(url, this.#broker.nodeId)
    const peer = { url, link, appends: new PeerAppends(link) }
    this.#peers.set(node, peer)
    return peer
  }

  /**
   * Asks the leader; again, for a few seconds, while it refuses because it does not lead. An error
   * code, the answer, or null once `signal` says that nobody waits for one.
   */
  async #ask(
    handle: number,
    message: Parameters<Link['request']>[0],
    signal: AbortSignal | null = null,
  ): Promise<Answered | number | null> {
    for (let tries = 0; ; tries++) {
      if (!this.#broker.image.partitions.has(handle)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      const node = this.#placeOf(handle)?.node ?? -1
      const peer = node < 0 ? null : this.#peerOf(node)
      const answer =
        peer === null ? ErrorCode.LEADER_NOT_AVAILABLE : await askOnce(peer.link, message, signal)
      const code = answer === null ? ErrorCode.NONE : codeOf(answer)
      if (!isMoving(code) || tries >= RETRIES_MAX || signal?.aborted === true) return answer
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
}

/** Certainly nothing was done: somebody is about to lead, or leads and is about to know it all. */
const MOVING: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.OFFSET_NOT_AVAILABLE,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
])

function isMoving(code: number): boolean {
  return MOVING.has(code)
}

interface Answered {
  readonly message: ServerMessage
  readonly payload: Uint8Array
}

/** Nobody listens to a broker's own clients. */
const QUIET = { ...nodePlatform, events: null }
function linkTo(url: string, nodeId: number): Link {
  return new Link({ url, clientId: `broker ${nodeId}`, ...PEER_OPTIONS }, QUIET)
}

const NOWHERE = { topic: '', partition: -1 }
const WAIT_MS_MAX = 30_000
/** Of one request. */
const SLICE_MS = 1000

async function askOnce(
  link: Link,
  message: Parameters<Link['request']>[0],
  signal: AbortSignal | null,
): Promise<Answered | number | null> {
  try {
    const connection = await link.connect({ signal: AbortSignal.timeout(CONNECT_MS) })
    return await new Promise<Answered | number | null>((resolve) => {
      const over = (): void => resolve(null)
      signal?.addEventListener('abort', over, { once: true })
      if (signal?.aborted === true) over()
      const done = (answer: Answered | number): void => {
        signal?.removeEventListener('abort', over)
        resolve(answer)
      }
      connection.send(message, {
        answered: (answer, payload) => done({ message: answer, payload }),
        failed: (error) => done(codeOfError(error)),
      })
    })
  } catch {
    return ErrorCode.LEADER_NOT_AVAILABLE
  }
}

function codeOfError(error: MillraceError): number {
  if (error instanceof ServerError) return error.code
  return error instanceof ConnectionError
    ? ErrorCode.NETWORK_EXCEPTION
    : ErrorCode.UNKNOWN_SERVER_ERROR
}

/** Of an answer about one partition. */
function codeOf(answer: Answered | number): number {
  if (typeof answer === 'number') return answer
  const { message } = answer
  if (message.type === 'fetched' || message.type === 'offsets') {
    return message.partitions[0]?.[0] ?? ErrorCode.NONE
  }
  return ErrorCode.NONE
}
