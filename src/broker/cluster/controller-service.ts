/**
 * The active controller, on the node that leads the quorum: brings requests and time to the pure
 * core (`metadata/controller.ts`) and proposes what it decides. Runs on main.
 */
import type { Clock } from '../../base/clock.ts'
import type { BrokerConfig } from '../../config/broker-config.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { Controller } from '../../metadata/controller.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { Logger } from '../../metrics/logger.ts'
import type { RequestInit, RequestOf, ResponseInit } from '../../wire/kafka/api.ts'
import type { ClusterNode } from './cluster-node.ts'

export interface ControllerServiceParts {
  readonly node: ClusterNode
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly onFailure: (error: unknown) => void
}

type Answer<K extends 203 | 204 | 206> = ResponseInit<K>

const NOT_CONTROLLER = 'another node leads the quorum; ask it'

export class ControllerService {
  readonly #parts: ControllerServiceParts
  #controller: Controller | null = null
  /** In which this node leads as `#controller`. */
  #epoch = -1
  /** Who led before, and when a connection of it broke last. */
  #leaderBefore: { readonly id: number; lostMs: number | null } | null = null
  #timer: NodeJS.Timeout | null = null
  #isTimeTaken = false

  constructor(parts: ControllerServiceParts) {
    this.#parts = parts
    parts.node.onChanged(() => this.#look())
    parts.node.metadata.onApplied(() => this.#look())
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#controller = null
  }

  async register(request: RequestOf<203> | RequestInit<203>): Promise<Answer<203>> {
    const { clusterId } = this.#parts.node
    const outcome = await this.#change((controller, nowMs) => {
      const registered = controller.register({ ...request, clusterId }, nowMs)
      return { records: registered.records, result: registered }
    })
    if (outcome === null) {
      return {
        errorCode: ErrorCode.NOT_CONTROLLER,
        errorMessage: NOT_CONTROLLER,
        brokerEpoch: -1,
      }
    }
    const { errorCode, brokerEpoch } = outcome
    if (errorCode === ErrorCode.NONE) {
      const { brokerId, host, port } = request
      const fields = { node: brokerId, brokerEpoch, host, port }
      this.#parts.logger.info(fields, `broker ${brokerId} is registered`)
    }
    return { errorCode, errorMessage: null, brokerEpoch }
  }

  async beat(request: RequestOf<204> | RequestInit<204>): Promise<Answer<204>> {
    const controller = this.#controller
    if (controller === null) return refusedBeat(ErrorCode.NOT_CONTROLLER)
    const now = controller.heartbeat(request, this.#parts.clock.monotonicMs())
    if (now.records.length === 0) return beatAnswer(now)
    const outcome = await this.#change((current, nowMs) => {
      const answer = current.heartbeat(request, nowMs)
      return { records: answer.records, result: answer }
    })
    return outcome === null ? refusedBeat(ErrorCode.NOT_CONTROLLER) : beatAnswer(outcome)
  }

  async alterPartitions(request: RequestOf<206> | RequestInit<206>): Promise<Answer<206>> {
    const outcome = await this.#change((controller) => {
      const { errorCode, records, results } = controller.alterPartitions(request)
      return { records, result: { errorCode, partitions: results } }
    })
    if (outcome === null) return { errorCode: ErrorCode.NOT_CONTROLLER, partitions: [] }
    const { errorCode, partitions } = outcome
    return { errorCode, partitions: partitions.map((one) => ({ errorCode: one.errorCode })) }
  }

  /** Runs a decision of the controller; null when this node is not, or may not have been, it. */
  change<T>(
    decide: (controller: Controller, nowMs: number) => { records: MetadataRecord[]; result: T },
  ): Promise<T | null> {
    return this.#change(decide)
  }

  /** A connection from the broker broke. */
  connectionLost(brokerId: number): void {
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#leaderBefore?.id === brokerId) this.#leaderBefore.lostMs = nowMs
    this.#controller?.brokerConnectionLost(brokerId, nowMs)
    this.#schedule()
  }

  // —— inside ——

  async #change<T>(
    decide: (
      controller: Controller,
      nowMs: number,
    ) => { readonly records: readonly MetadataRecord[]; readonly result: T },
  ): Promise<T | null> {
    const { node, clock } = this.#parts
    try {
      return await node.metadata.change<T | null>(() => {
        const controller = this.#controller
        if (controller === null) return { records: [], result: null }
        return decide(controller, clock.monotonicMs())
      })
    } catch (error) {
      if (error instanceof BrokerError) return null
      throw error
    }
  }

  /** Whether this node is the controller may have changed. */
  #look(): void {
    const { node, config, clock, logger } = this.#parts
    const { leaderId } = node
    if (!node.isController) {
      if (this.#controller !== null) logger.info({}, 'this node is not the controller any more')
      this.#controller = null
      const isOther = leaderId !== null && leaderId !== this.#leaderBefore?.id
      if (isOther && leaderId !== node.self.id) this.#leaderBefore = { id: leaderId, lostMs: null }
      return
    }
    const { epoch } = node.quorum
    if (this.#controller !== null && this.#epoch === epoch) {
      this.#schedule()
      return
    }
    this.#epoch = epoch
    const nowMs = clock.monotonicMs()
    this.#controller = new Controller({
      image: node.metadata.image,
      clusterId: node.clusterId,
      committedOffset: () => node.metadata.appliedOffset,
      options: {
        sessionTimeoutMs: config.get('broker.session.timeout.ms'),
        heartbeatIntervalMs: config.get('broker.heartbeat.interval.ms'),
      },
      nowMs,
    })
    logger.info({ epoch }, `this node is the controller, in epoch ${epoch}`)
    this.#succeed(this.#controller, nowMs)
    this.#leaderBefore = null
    this.#schedule()
  }

  /** One that was taken out of the quorum resigned, and has yet to find out who leads. */
  #succeed(controller: Controller, nowMs: number): void {
    const { quorum } = this.#parts.node
    const before = this.#leaderBefore
    if (before === null || !quorum.voters.some(({ id }) => id === before.id)) return
    const { leaderHeardMs } = quorum
    // Connections come and go while it leads: one that broke since it was heard says something.
    const isLost = before.lostMs !== null && before.lostMs >= leaderHeardMs
    controller.succeeds(before.id, leaderHeardMs, isLost ? (before.lostMs as number) : nowMs)
  }

  #schedule(): void {
    const controller = this.#controller
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (controller === null) return
    const ms = Math.max(1, Math.ceil(controller.nextDeadlineMs() - this.#parts.clock.monotonicMs()))
    this.#timer = setTimeout(() => {
      // Heartbeats that have arrived while this process was late count.
      setImmediate(() => this.#onTime())
    }, ms)
  }

  #onTime(): void {
    const controller = this.#controller
    if (controller === null || this.#isTimeTaken) return
    const records = controller.onTime(this.#parts.clock.monotonicMs())
    if (records.length === 0) {
      this.#schedule()
      return
    }
    this.#isTimeTaken = true
    const decide = (current: Controller, nowMs: number) => {
      const due = current.onTime(nowMs)
      return { records: due, result: due }
    }
    this.#change(decide).then(
      (done) => {
        this.#isTimeTaken = false
        for (const record of done ?? []) {
          if (record.type !== 'broker-fenced') continue
          const { brokerId } = record
          this.#parts.logger.warn({ node: brokerId }, `broker ${brokerId} is not heard: fenced`)
        }
        this.#schedule()
      },
      (error: unknown) => this.#parts.onFailure(error),
    )
  }
}

function refusedBeat(errorCode: ErrorCode): Answer<204> {
  return { errorCode, isFenced: true, mayShutDown: false }
}

function beatAnswer(answer: {
  readonly errorCode: ErrorCode
  readonly isFenced: boolean
  readonly mayShutDown: boolean
}): Answer<204> {
  const { errorCode, isFenced, mayShutDown } = answer
  return { errorCode, isFenced, mayShutDown }
}
