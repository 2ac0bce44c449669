/**
 * Connections to the brokers of a cluster, by address: the one that was given, and others once
 * something has to be asked where it is.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { ApiKey } from '../wire/kafka/api.ts'
import { type ConnectOptions, KafkaConnection } from './kafka-connection.ts'

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

export class KafkaBrokers {
  /** The one that was given: any broker. */
  readonly first: KafkaConnection
  readonly options: ConnectOptions
  /** By address; closed with this. */
  readonly #others = new Map<string, KafkaConnection>()

  constructor(options: ConnectOptions, first: KafkaConnection) {
    this.options = options
    this.first = first
  }

  close(): void {
    for (const connection of this.#others.values()) connection.close()
    this.#others.clear()
    this.first.close()
  }

  /** Throws a ConnectionError when the broker cannot be reached. */
  async at({ host, port }: BrokerAddress): Promise<KafkaConnection> {
    if (host === this.options.host && port === this.options.port) return this.first
    const address = `${host}:${port}`
    const known = this.#others.get(address)
    if (known?.isOpen === true) return known
    const connection = await KafkaConnection.open({ ...this.options, host, port })
    this.#others.set(address, connection)
    return connection
  }

  /** Leaders of a topic's partitions, by partition; those without one are missing. */
  async leadersOf(topic: string): Promise<Map<number, BrokerAddress>> {
    const answer = await this.first.request(ApiKey.METADATA, () => ({
      topics: [{ name: topic }],
      allowAutoTopicCreation: false,
    }))
    const brokers = new Map(answer.brokers.map((broker) => [broker.nodeId, broker]))
    const leaders = new Map<number, BrokerAddress>()
    for (const { partitionIndex, leaderId, errorCode } of answer.topics[0]?.partitions ?? []) {
      const leader = errorCode === ErrorCode.NONE ? brokers.get(leaderId) : undefined
      if (leader !== undefined) leaders.set(partitionIndex, leader)
    }
    return leaders
  }

  /** Runs `ask` once for each broker that leads some of the partitions, with those. */
  async atLeaders<T>(
    topic: string,
    partitions: readonly number[],
    ask: (connection: KafkaConnection, partitions: readonly number[]) => Promise<T>,
  ): Promise<T[]> {
    const leaders = await this.leadersOf(topic)
    const groups = new Map<string, { at: BrokerAddress; partitions: number[] }>()
    for (const partition of partitions) {
      // Whoever is asked says what is wrong with one that nobody leads.
      const at = leaders.get(partition) ?? this.options
      const key = `${at.host}:${at.port}`
      const group = groups.get(key) ?? { at, partitions: [] }
      groups.set(key, group)
      group.partitions.push(partition)
    }
    const answers: T[] = []
    for (const group of groups.values()) {
      answers.push(await ask(await this.at(group.at), group.partitions))
    }
    return answers
  }
}
