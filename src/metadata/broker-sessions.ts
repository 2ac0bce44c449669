/**
 * When the brokers were heard, as the active controller keeps it: in memory only, begun anew by
 * each new controller. Pure; time comes as an argument.
 *
 * A session that is over is a guess that the broker is dead. Wrong guesses are safe: leader epochs
 * and in-sync replicas see to it that a broker which still lives can do nothing any more. They cost
 * a change of leaders and no record, so they may be quick, but must not be many:
 *
 *   - A connection that broke is no proof. It shortens what is left of the session to the time in
 *     which one that lives connects anew and is heard; being heard makes it whole again.
 *   - Time in which the controller itself stood still (a pause of its machine) counts for nobody:
 *     what was sent to it meanwhile has yet to be read.
 */
import type { BrokerRegistration } from './broker-registration.ts'

export interface SessionOptions {
  /** A broker that is not heard for so long is fenced. */
  readonly sessionTimeoutMs: number
  /** How often brokers are heard. */
  readonly heartbeatIntervalMs: number
}

/**
 * Kafka's are 9000 and 2000. A dead broker's partitions are to take writes again within 1.5 s: of
 * these the session takes 0.8 to 1 s (the last heartbeat lies up to one interval before the death),
 * and what is left is for a commit, the new leaders and clients that look again. Four heartbeats
 * may get lost before a fifth comes too late, and 5 small requests a second cost a broker nothing.
 */
export const DEFAULT_SESSION_OPTIONS: SessionOptions = {
  sessionTimeoutMs: 1000,
  heartbeatIntervalMs: 200,
}

/** Since the last heartbeat, and since the connection broke. */
const HEARTBEATS_MISSED_MAX = 3
const HEARTBEATS_TO_RECONNECT = 2

type Registered = Pick<BrokerRegistration, 'id' | 'epoch'>

export interface BrokerSession {
  /** Of the registration that it belongs to. */
  readonly epoch: number
  heardMs: number
  /** When its connection broke; null since it was heard again. */
  brokenMs: number | null
  /** How much of the metadata it has applied, exclusive; −1 when it was not heard yet. */
  metadataOffset: number
  /** What it must have applied to be unfenced, exclusive; null until it is heard while fenced. */
  catchUpOffset: number | null
  /** From where on others know that it leads nothing more that they can; null: it does. */
  drainedOffset: number | null
}

export class BrokerSessions {
  readonly options: SessionOptions
  readonly #sessions = new Map<number, BrokerSession>()
  #nowMs: number

  constructor(options: SessionOptions, nowMs: number) {
    this.options = options
    this.#nowMs = nowMs
  }

  /** To be called before anything is decided. */
  advance(nowMs: number): void {
    const stoodStillMs = nowMs - this.#nowMs - 2 * this.options.heartbeatIntervalMs
    this.#nowMs = nowMs
    if (stoodStillMs <= 0) return
    for (const session of this.#sessions.values()) {
      session.heardMs += stoodStillMs
      if (session.brokenMs !== null) session.brokenMs += stoodStillMs
    }
  }

  get({ id, epoch }: Registered): BrokerSession | undefined {
    const session = this.#sessions.get(id)
    return session?.epoch === epoch ? session : undefined
  }

  /** The session of a registration: a whole one from now on, if it has none. */
  of({ id, epoch }: Registered): BrokerSession {
    const known = this.get({ id, epoch })
    if (known !== undefined) return known
    const session: BrokerSession = {
      epoch,
      heardMs: this.#nowMs,
      brokenMs: null,
      metadataOffset: -1,
      catchUpOffset: null,
      drainedOffset: null,
    }
    this.#sessions.set(id, session)
    return session
  }

  heard(session: BrokerSession, metadataOffset: number): void {
    session.heardMs = this.#nowMs
    session.brokenMs = null
    session.metadataOffset = Math.max(session.metadataOffset, metadataOffset)
  }

  connectionLost(broker: Registered): void {
    const session = this.get(broker)
    if (session !== undefined) session.brokenMs ??= this.#nowMs
  }

  /**
   * It led the quorum before: what it said as the leader counts as heartbeats, and its connection
   * broke at `lostMs`. If it lives it has yet to learn who leads now, which is one heartbeat more.
   */
  succeeds(broker: Registered, heardMs: number, lostMs: number): void {
    const session = this.get(broker)
    if (session === undefined) return
    const { heartbeatIntervalMs, sessionTimeoutMs } = this.options
    const nowMs = this.#nowMs
    session.brokenMs = nowMs
    // Nobody led for long: others were lost as well, and it is no more suspect than they are.
    if (nowMs - heardMs >= sessionTimeoutMs) return
    session.brokenMs = Math.max(lostMs, nowMs - heartbeatIntervalMs)
    const onceMoreMs = nowMs + heartbeatIntervalMs - sessionTimeoutMs
    session.heardMs = Math.min(session.heardMs, Math.max(heardMs, onceMoreMs))
  }

  isOver(session: BrokerSession): boolean {
    return this.#nowMs >= this.deadlineMs(session)
  }

  deadlineMs({ heardMs, brokenMs }: BrokerSession): number {
    const { sessionTimeoutMs, heartbeatIntervalMs } = this.options
    const whole = heardMs + sessionTimeoutMs
    if (brokenMs === null) return whole
    const missed = heardMs + HEARTBEATS_MISSED_MAX * heartbeatIntervalMs
    const reconnected = brokenMs + HEARTBEATS_TO_RECONNECT * heartbeatIntervalMs
    return Math.min(whole, Math.max(missed, reconnected))
  }
}
