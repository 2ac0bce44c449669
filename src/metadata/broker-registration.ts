import type { Uuid } from '../base/uuid.ts'
import type { BrokerRegisteredRecord, BrokerStartRecord, Endpoint } from './records.ts'

/** A broker as the cluster knows it. Never changed: another state is another object. */
export interface BrokerRegistration {
  readonly id: number
  readonly epoch: number
  /** Names the process. */
  readonly incarnationId: Uuid
  /** Of the listener for other brokers. */
  readonly host: string
  readonly port: number
  readonly endpoints: readonly Endpoint[]
  readonly rack: string | null
  readonly directories: readonly Uuid[]
  /** Not heard, or not caught up yet: leads nothing and is in no ISR. */
  readonly isFenced: boolean
  /** Stops in order: leads only what nobody else can. */
  readonly isDraining: boolean
}

export function registrationOf(record: BrokerRegisteredRecord): BrokerRegistration {
  const { incarnationId, host, port, endpoints, rack, directories } = record
  const described = { incarnationId, host, port, endpoints, rack, directories }
  const { brokerId: id, brokerEpoch: epoch } = record
  return { id, epoch, ...described, isFenced: true, isDraining: false }
}

/**
 * A broker on its own is the cluster: it is active from its start on, and nobody else has to find
 * it. `incarnationId`: what stands for a process that was given none.
 */
export function localRegistration(
  record: BrokerStartRecord,
  incarnationId: Uuid,
): BrokerRegistration {
  return {
    id: record.brokerId,
    epoch: record.brokerEpoch,
    incarnationId,
    host: '',
    port: 0,
    endpoints: [],
    rack: null,
    directories: [],
    isFenced: false,
    isDraining: false,
  }
}
