import { FetchJob, type FetchTarget } from '../../broker/fetch-job.ts'
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
  const limits = {
    bytesMin: Math.min(message.minBytes, bytesMax, Math.max(1, reachable)),
    bytesMax,
    waitMsMax: Math.min(message.maxWaitMs, WAIT_MS_MAX),
  }
  const job = new FetchJob(targets, limits, () => broker.clock.monotonicMs())
  const unsubscribe = session.whenClosed(() => job.cancel())
  const release = (): void => {
    job.release()
    session.endTurn()
    broker.hub.flush()
  }
  const run = async (): Promise<void> => {
    await sendTurns.enter()
    const done = job.run()
    broker.hub.flush()
    await done
    unsubscribe()
    const payload = job.results.flatMap(({ records }) => (records === null ? [] : [records]))
    const partitions = job.results.map(
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

function target(
  session: SessionLink,
  [topic, partition, fetchOffset, bytesMax]: ClientMessages['fetch']['partitions'][number],
): FetchTarget {
  const { broker } = session
  const handle = broker.topicByName(topic)?.handles[partition]
  if (handle === undefined) {
    const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return { handle: -1, shard: null, fetchOffset: -1, bytesMax: 0, errorCode }
  }
  return {
    handle,
    shard: broker.shardOf(handle),
    fetchOffset,
    bytesMax: Math.min(bytesMax, broker.readBytesMax),
    errorCode: ErrorCode.NONE,
  }
}
