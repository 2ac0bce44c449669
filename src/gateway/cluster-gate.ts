import type { Broker } from '../broker/broker.ts'
import type { ClusterGate } from '../broker/cluster/cluster-gate.ts'
import type { Handler } from '../broker/request.ts'
import type { Complaints } from './complaints.ts'
import { KafkaListener, type Listen } from './kafka-listener.ts'
import type { ReceiveMemory } from './receive-memory.ts'
import { openReplicaLink } from './replica-link.ts'
import type { Connect } from './transport.ts'

/**
 * The sockets between brokers: the listener where the others connect, and connections to leaders.
 * Runs on main.
 */
export class ClusterSockets implements ClusterGate {
  readonly #memory: ReceiveMemory
  readonly #complaints: Complaints
  readonly #listen: Listen
  readonly #connect: Connect
  #listener: KafkaListener | null = null

  constructor(parts: {
    memory: ReceiveMemory
    complaints: Complaints
    listen: Listen
    connect: Connect
  }) {
    this.#memory = parts.memory
    this.#complaints = parts.complaints
    this.#listen = parts.listen
    this.#connect = parts.connect
  }

  async listen(
    broker: Broker,
    handlers: ReadonlyMap<number, Handler>,
    at: { readonly host: string; readonly port: number },
  ): Promise<number> {
    this.#listener = new KafkaListener(broker, this.#memory, this.#complaints, handlers)
    const { port } = await this.#listener.listen(this.#listen, { name: 'CLUSTER', ...at })
    return port
  }

  readonly openReplicaLink: ClusterGate['openReplicaLink'] = (at, sink) =>
    openReplicaLink({ memory: this.#memory, connect: this.#connect }, at, sink)

  async close(): Promise<void> {
    await this.#listener?.close()
  }
}
