/**
 * How a process becomes a broker of its cluster, remains one, and ceases to be one: it registers,
 * tells the controller again and again that it is there, and asks before it stops. Runs on main.
 *
 *   register ──▶ fenced ── caught up ──▶ serving ── stop ──▶ draining ──▶ gone
 */
import { randomUuid, type Uuid } from '../../base/uuid.ts'
import type { BrokerConfig } from '../../config/broker-config.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { Logger } from '../../metrics/logger.ts'
import { ClusterApi, type RequestInit, type ResponseInit } from '../../wire/kafka/api.ts'
import type { ClusterNode } from './cluster-node.ts'
import type { ControllerService } from './controller-service.ts'

export interface BrokerLifecycleParts {
  readonly node: ClusterNode
  readonly controller: ControllerService
  readonly config: BrokerConfig
  readonly directories: readonly Uuid[]
  /** See RegisterBrokerRequest. */
  readonly previousBrokerEpoch: () => number
  /** Writes down under which epoch this process is registered, durably. */
  readonly onRegistered: (brokerEpoch: number) => Promise<void>
  readonly logger: Logger
  /** Another process has taken this one's place. */
  readonly onFailure: (error: unknown) => void
}

export interface ReachedAt {
  /** Of the cluster listener. */
  readonly host: string
  readonly port: number
  readonly endpoints: RequestInit<203>['endpoints']
}

const REQUEST_TIMEOUT_MS = 2000
const RETRY_MS = 50
const COMPLAINT_MS = 5000
/** The session of the process before this one is over by then: another one has the same node id. */
const DUPLICATE_MS_MAX = 20_000
/** A broker that cannot hand over what it leads stops all the same after so long. */
const DRAIN_TIMEOUT_MS = 30_000
/** Without a controller there is nobody to hand over to: the others are stopping, or gone. */
const NO_CONTROLLER_MS = 3000
const DRAIN_LOOK_MS = 10
/** The fewest that a controller misses before it fences a broker whose connection broke. */
const FENCED_AFTER_BEATS = 3
/** Heartbeats that are not answered. */
const BEATS_OPEN_MAX = 4

export class BrokerLifecycle {
  readonly #parts: BrokerLifecycleParts
  readonly #incarnationId = randomUuid()
  #brokerEpoch = -1
  #isWhole = false
  #timer: NodeJS.Timeout | null = null
  #open = 0
  /** Who was told last. */
  #beatsTo: number | null = null
  #wantsShutdown = false
  #isStopped = false
  /** When the controller last answered a heartbeat. */
  #heardMs = Number.NEGATIVE_INFINITY
  /** When the last heartbeat was sent that it has answered, and what it said. */
  #toldMs = Number.NEGATIVE_INFINITY
  #isFenced = true
  #onUnfenced: (() => void) | null = null
  #onMayShutDown: (() => void) | null = null
  /** Asks again before it is time: while this broker stops, or nobody has answered. */
  #again: NodeJS.Timeout | null = null

  constructor(parts: BrokerLifecycleParts) {
    this.#parts = parts
  }

  /** Of this process's registration; −1 before. */
  get brokerEpoch(): number {
    return this.#brokerEpoch
  }

  /** It was registered as one that has lost nothing. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  /** Resolves once this process is registered and has applied that. Throws BrokerError. */
  async register(at: ReachedAt): Promise<void> {
    const { node, config, directories, previousBrokerEpoch, logger } = this.#parts
    const described = {
      brokerId: node.self.id,
      incarnationId: this.#incarnationId,
      host: at.host,
      port: at.port,
      endpoints: at.endpoints,
      rack: config.get('broker.rack'),
      directories,
    }
    const startedMs = performance.now()
    let saidMs = startedMs
    for (;;) {
      this.#mustGoOn()
      // What is known now: logs are being looked at meanwhile.
      const body = { ...described, previousBrokerEpoch: previousBrokerEpoch() }
      const answer = await this.#askToRegister(body)
      if (answer.errorCode === ErrorCode.NONE) {
        this.#brokerEpoch = answer.brokerEpoch
        this.#isWhole = body.previousBrokerEpoch >= 0
        break
      }
      const isTaken = answer.errorCode === ErrorCode.DUPLICATE_BROKER_REGISTRATION
      const isPatient = !isTaken || performance.now() - startedMs < DUPLICATE_MS_MAX
      if (!isTransient(answer.errorCode) || !isPatient) {
        const why = errorInfo(answer.errorCode as ErrorCode).message
        throw new BrokerError(answer.errorCode as ErrorCode, `join the cluster: ${why}`)
      }
      if (performance.now() - saidMs > COMPLAINT_MS) {
        saidMs = performance.now()
        const { name } = errorInfo(answer.errorCode as ErrorCode)
        logger.info({ error: name }, `waiting to be registered with the controller: ${name}`)
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    for (;;) {
      const epoch = node.metadata.image.brokers.get(node.self.id)?.epoch ?? -1
      if (epoch === this.#brokerEpoch) break
      this.#mustGoOn()
      if (epoch > this.#brokerEpoch) throw replaced(node.self.id)
      await node.metadata.whenApplied(node.metadata.appliedOffset + 1)
    }
    await this.#parts.onRegistered(this.#brokerEpoch)
  }

  /**
   * This broker is fenced, or may have been since it heard the controller last: others may lead by
   * now, and it is told of that later.
   */
  get mayBeDeposed(): boolean {
    const { config } = this.#parts
    const beatsMs = FENCED_AFTER_BEATS * config.get('broker.heartbeat.interval.ms')
    const sureMs = Math.min(config.get('broker.session.timeout.ms'), beatsMs)
    return this.#isFenced || performance.now() - this.#toldMs >= sureMs
  }

  /** From here on the controller hears of this broker; resolves once it may lead. */
  async serve(): Promise<void> {
    this.#mustGoOn()
    const everyMs = this.#parts.config.get('broker.heartbeat.interval.ms')
    this.#timer = setInterval(() => this.#beat(), everyMs)
    this.#parts.node.onChanged(() => this.#greet())
    this.#beat()
    await new Promise<void>((resolve) => {
      this.#onUnfenced = resolve
    })
  }

  /** Hands over what this broker leads; resolves once it may stop, or has waited too long. */
  async drain(): Promise<void> {
    if (this.#timer === null) return
    this.#wantsShutdown = true
    const startedMs = performance.now()
    this.#heardMs = startedMs
    let hasHandedOver = false
    this.#onMayShutDown = () => {
      hasHandedOver = true
    }
    this.#beat()
    while (!hasHandedOver) {
      const nowMs = performance.now()
      const isUnheard = nowMs - this.#heardMs > NO_CONTROLLER_MS
      if (isUnheard || nowMs - startedMs > DRAIN_TIMEOUT_MS) {
        const why = isUnheard ? 'there is no controller' : 'nobody takes it over'
        this.#parts.logger.warn({}, `stopping with what this broker leads: ${why}`)
        return
      }
      await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS))
    }
  }

  stop(): void {
    this.#isStopped = true
    if (this.#again !== null) clearTimeout(this.#again)
    this.#again = null
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #mustGoOn(): void {
    if (!this.#isStopped) return
    throw new BrokerError(
      ErrorCode.BROKER_NOT_AVAILABLE,
      'join the cluster: this broker is stopping',
    )
  }

  async #askToRegister(body: RequestInit<203>): Promise<ResponseInit<203>> {
    const { node, controller } = this.#parts
    const { leaderId } = node
    if (leaderId === null) return NOBODY
    if (leaderId === node.self.id) return controller.register(body)
    const link = node.links.to(leaderId, 'change')
    return await orNobody(
      link.request(ClusterApi.REGISTER_BROKER, body, REQUEST_TIMEOUT_MS),
      NOBODY,
    )
  }

  /** A new controller does not know yet who of the brokers lives. */
  #greet(): void {
    const { leaderId } = this.#parts.node
    if (leaderId === this.#beatsTo) return
    this.#beatsTo = leaderId
    this.#beat()
  }

  #beat(): void {
    const { node, controller } = this.#parts
    const { leaderId } = node
    if (leaderId === null || this.#isStopped || this.#open >= BEATS_OPEN_MAX) return
    const body = {
      brokerId: node.self.id,
      brokerEpoch: this.#brokerEpoch,
      metadataOffset: node.metadata.appliedOffset,
      wantsFence: false,
      wantsShutdown: this.#wantsShutdown,
    }
    this.#open++
    const sentMs = performance.now()
    this.#beatsTo = leaderId
    const isHere = leaderId === node.self.id
    const link = isHere ? null : node.links.to(leaderId, 'beat')
    const asked =
      link === null
        ? controller.beat(body)
        : orNobody(link.request(ClusterApi.BROKER_BEAT, body, REQUEST_TIMEOUT_MS), UNHEARD)
    asked.then(
      (answer) => {
        this.#open--
        if (answer.errorCode === ErrorCode.NONE) this.#toldMs = sentMs
        this.#onBeat(answer)
      },
      (error: unknown) => this.#parts.onFailure(error),
    )
  }

  #onBeat({ errorCode, isFenced, mayShutDown }: ResponseInit<204>): void {
    if (this.#isStopped) return
    const { id } = this.#parts.node.self
    if (errorCode === ErrorCode.STALE_BROKER_EPOCH) {
      this.#parts.onFailure(replaced(id))
      return
    }
    if (errorCode === ErrorCode.BROKER_ID_NOT_REGISTERED) {
      const action = `stay in the cluster: node ${id} has been taken out of it`
      this.#parts.onFailure(new BrokerError(ErrorCode.BROKER_ID_NOT_REGISTERED, action))
      return
    }
    if (errorCode !== ErrorCode.NONE) {
      // It leads, and does not act yet; or leads no more, and who does is about to be known.
      this.#beatAgain()
      return
    }
    this.#heardMs = performance.now()
    this.#isFenced = isFenced
    if (!isFenced) {
      this.#onUnfenced?.()
      this.#onUnfenced = null
    }
    if (mayShutDown) this.#onMayShutDown?.()
    else if (this.#wantsShutdown) this.#beatAgain()
  }

  #beatAgain(): void {
    this.#again ??= setTimeout(() => {
      this.#again = null
      this.#beat()
    }, RETRY_MS).unref()
  }
}

function replaced(nodeId: number): BrokerError {
  const action = `stay in the cluster: another process is registered as node ${nodeId}`
  return new BrokerError(ErrorCode.STALE_BROKER_EPOCH, action)
}

const NOBODY = { errorCode: ErrorCode.NOT_CONTROLLER, errorMessage: null, brokerEpoch: -1 }
const UNHEARD = { errorCode: ErrorCode.NOT_CONTROLLER, isFenced: true, mayShutDown: false }

/** The process before this one may still have its session; a leader may be about to be elected. */
function isTransient(errorCode: number): boolean {
  return (
    errorCode === ErrorCode.NOT_CONTROLLER ||
    errorCode === ErrorCode.REQUEST_TIMED_OUT ||
    errorCode === ErrorCode.DUPLICATE_BROKER_REGISTRATION
  )
}

async function orNobody<T>(asked: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof BrokerError) return otherwise
    throw error
  }
}
