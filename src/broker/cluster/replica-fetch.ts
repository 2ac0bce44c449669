import type { FetchRequest } from '../../wire/kafka/schema/01-fetch.ts'
import type { Broker } from '../broker.ts'
import type { HandlerResult, RequestContext } from '../request.ts'
import { ReplicaSession } from './replica-session.ts'
import type { CopyThrottle } from './replication-throttle.ts'

/** Fetch, of followers: each connection has a session, which ends with it. */
export class ReplicaFetches {
  readonly #broker: Broker
  readonly #throttle: CopyThrottle
  /** By connection. */
  readonly #sessions = new Map<number, ReplicaSession>()

  constructor(broker: Broker, throttle: CopyThrottle) {
    this.#broker = broker
    this.#throttle = throttle
  }

  /** Its requests are answered one by one: a follower waits for an answer before it asks again. */
  fetch(body: FetchRequest, context: RequestContext): HandlerResult {
    return this.#sessionOf(body, context).fetch(body)
  }

  #sessionOf(body: FetchRequest, context: RequestContext): ReplicaSession {
    const { connectionId } = context
    const known = this.#sessions.get(connectionId)
    if (known !== undefined) return known
    const broker = this.#broker
    const session = new ReplicaSession(
      {
        handleOf: (topicId, partition) => broker.topicById(topicId)?.handles[partition],
        shardOf: (handle) => broker.shardOf(handle),
        countSent: (handle, bytes) => broker.shardOf(handle).countSent(handle, bytes),
        flush: () => broker.hub.flush(),
        throttle: this.#throttle,
        readBytesMax: broker.readBytesMax,
        bytesMax: broker.fetchBytesMax,
        nowMs: () => broker.clock.monotonicMs(),
      },
      body.replicaState,
    )
    this.#sessions.set(connectionId, session)
    context.onClose(() => {
      this.#sessions.delete(connectionId)
      session.close()
    })
    return session
  }
}
