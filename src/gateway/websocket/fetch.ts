import { type Elsewhere, elsewhere } from '../../broker/elsewhere.ts'
import {
  FetchJob,
  type FetchResult,
  type FetchTarget,
  refusedTarget,
} from '../../broker/fetch-job.ts'
import { FROM_LEADER, fetchTarget } from '../../broker/fetch-target.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ClientMessages } from '../../wire/websocket/messages.ts'
import type { SessionLink } from './session-link.ts'

/** `fetch`: the pull form of consuming, with Kafka's long poll. Runs on main. */
const WAIT_MS_MAX = 5 * 60 * 1000
/** A client that does not read its answer costs that much, as its subscriptions do. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024

export function fetch(session: SessionLink, message: ClientMessages['fetch']): void {
  const { broker, sendTurns } = session
  const targets = message.partitions.map((partition) => target(session, partition))
  const wanted = Math.min(Math.max(message.maxBytes, 1), ANSWER_BYTES_MAX)
  const bytesMax = Math.min(wanted, broker.fetchBytesMax)
  const reachable = targets.reduce((sum, one) => sum + one.bytesMax, 0)
  const waitMs = Math.min(message.maxWaitMs, WAIT_MS_MAX)
  const limits = {
    bytesMin: Math.min(message.minBytes, bytesMax, Math.max(1, reachable)),
    bytesMax,
    waitMsMax: waitMs,
  }
  const others = targets.flatMap(({ handle }, index): Other[] => {
    const leader = session.relays === null || handle < 0 ? null : elsewhere(broker, handle)
    const [, , offset, most] = message.partitions[index]!
    return leader === null ? [] : [{ leader, handle, index, offset, bytesMax: most }]
  })
  // What others lead is no error: it must not end the wait for the rest.
  if (others.length > 0) {
    const share = Math.max(1, Math.floor(bytesMax / targets.length))
    for (const other of others) {
      other.bytesMax = Math.min(other.bytesMax, share)
      targets[other.index] = { ...targets[other.index]!, errorCode: ErrorCode.NONE }
    }
  }
  // What others send lies in this process's memory: no more than one answer of it at a time.
  const turns = others.length === 0 ? sendTurns : null
  const job = new FetchJob(targets, limits, () => broker.clock.monotonicMs(), turns)
  const unsubscribe = session.whenClosed(() => job.cancel())
  const release = (): void => {
    job.release()
    if (job.hasTurn) session.endTurn()
    broker.hub.flush()
  }
  const run = async (): Promise<void> => {
    await sendTurns.enter()
    const ran = job.run()
    broker.hub.flush()
    const results =
      others.length === 0
        ? await ran.then(() => job.results)
        : await join(job, ran, { others, waitMs })
    unsubscribe()
    const payload = results.flatMap(({ records }) => (records === null ? [] : [records]))
    const partitions = results.map(
      ({ errorCode, highWatermark, logStartOffset, records }): [number, number, number, number] => [
        errorCode,
        highWatermark,
        logStartOffset,
        records?.length ?? 0,
      ],
    )
    session.answer({ type: 'fetched', id: message.id, partitions }, payload, release)
  }
  void run()
}

/** A partition that another broker leads, for a client that knows this one only. */
interface Other {
  readonly leader: Elsewhere
  readonly handle: number
  readonly index: number
  readonly offset: number
  bytesMax: number
}

/** Whoever has something first ends the wait of all; of the others there is nothing then. */
async function join(
  job: FetchJob,
  ran: Promise<void>,
  { others, waitMs }: { readonly others: readonly Other[]; readonly waitMs: number },
): Promise<Result[]> {
  const over = new AbortController()
  const { signal } = over
  const there = others.map(async ({ leader, handle, offset, bytesMax }) => {
    const got = await leader.fetch(handle, { offset, bytesMax, waitMs, signal })
    over.abort()
    job.cancel()
    return got
  })
  await ran
  over.abort()
  const results: Result[] = [...job.results]
  const got = await Promise.all(there)
  for (const [i, { index }] of others.entries()) results[index] = got[i] as Result
  return results
}

type Result = Pick<FetchResult, 'errorCode' | 'highWatermark' | 'logStartOffset' | 'records'>

function target(
  session: SessionLink,
  [topic, partition, fetchOffset, bytesMax]: ClientMessages['fetch']['partitions'][number],
): FetchTarget {
  const { broker } = session
  const handle = broker.topicByName(topic)?.handles[partition]
  if (handle === undefined) return refusedTarget(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  return fetchTarget(broker, handle, { ...FROM_LEADER, fetchOffset, bytesMax })
}
