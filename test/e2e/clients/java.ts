/**
 * Kafka's own Java client (`java/src`): default producer (idempotence on), consumer by assignment,
 * admin. One virtual machine serves all requests until `close`, in order: starting it costs a
 * second.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import {
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  type ConsumeRequest,
  type CreateTopicRequest,
  decodeRecords,
  encodeRecord,
  INSTALL_HINT,
  type KafkaClient,
  type ProduceRequest,
  type ReceivedRecord,
  repositoryRoot,
  type SentRecord,
} from './client.ts'
import { LineServer } from './line-server.ts'

const NAME = 'java'
const FOLDER = join(repositoryRoot, '.cache/java')
const CLASS_PATH = [join(FOLDER, 'classes'), join(FOLDER, 'lib', '*')].join(delimiter)
const OPTIONS = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const LOG_LEVEL = `-Dorg.slf4j.simpleLogger.defaultLogLevel=${process.env.JAVA_LOG ?? 'error'}`

export interface TopicDescription {
  readonly name: string
  readonly topicId: string
  readonly internal: boolean
  readonly partitions: readonly {
    readonly partition: number
    readonly leader: number
    readonly replicas: readonly number[]
    readonly inSyncReplicas: readonly number[]
  }[]
}

export interface ConfigValue {
  readonly value: string | null
  readonly source: string
  readonly type: string
  readonly isReadOnly: boolean
}

export interface ClusterDescription {
  readonly clusterId: string
  readonly controller: number
  readonly nodes: readonly { readonly id: number; readonly host: string; readonly port: number }[]
}

interface PartitionRequest {
  readonly bootstrap: string
  readonly topic: string
  readonly partition: number
}

/** A virtual machine of its own for whoever makes one: close it. */
export class JavaClient implements KafkaClient {
  readonly name = NAME
  readonly limits = {
    compressions: COMPRESSIONS,
    timestamps: true,
    nullHeaders: true,
    binaryHeaders: true,
    nullRecords: true,
    mixedEmpties: true,
    headerOrder: true,
    acknowledges: true,
  }
  readonly #machine = new LineServer(NAME, 'java', [
    ...OPTIONS,
    LOG_LEVEL,
    '-cp',
    CLASS_PATH,
    'ClientServer',
  ])

  available(): true | string {
    const compiled = existsSync(join(FOLDER, 'classes', 'ClientServer.class'))
    return compiled || `the Java client is not installed: ${INSTALL_HINT}`
  }

  async produce({ records, ...request }: ProduceRequest): Promise<readonly SentRecord[]> {
    const encoded = { ...request, records: records.map(encodeRecord) }
    return (await this.#machine.call('produce', encoded)) as SentRecord[]
  }

  async consume(request: ConsumeRequest): Promise<readonly ReceivedRecord[]> {
    const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
    return decodeRecords(await this.#machine.call('consume', { ...request, timeoutMs }))
  }

  async createTopic(request: CreateTopicRequest): Promise<void> {
    await this.#machine.call('createTopic', { configs: {}, ...request })
  }

  async deleteTopic(bootstrap: string, topic: string): Promise<void> {
    await this.#machine.call('deleteTopic', { bootstrap, topic })
  }

  async listTopics(bootstrap: string): Promise<readonly string[]> {
    return (await this.#machine.call('listTopics', { bootstrap })) as string[]
  }

  async describeTopic(bootstrap: string, topic: string): Promise<TopicDescription> {
    return (await this.#machine.call('describeTopic', { bootstrap, topic })) as TopicDescription
  }

  /** Grows a topic to `total` partitions. */
  async createPartitions(bootstrap: string, topic: string, total: number): Promise<void> {
    await this.#machine.call('createPartitions', { bootstrap, topic, total })
  }

  /** By name. `name` is a topic's name or a broker's id. */
  async describeConfigs(request: {
    readonly bootstrap: string
    readonly type: 'topic' | 'broker'
    readonly name: string
  }): Promise<Readonly<Record<string, ConfigValue>>> {
    return (await this.#machine.call('describeConfigs', request)) as Record<string, ConfigValue>
  }

  async describeCluster(bootstrap: string): Promise<ClusterDescription> {
    return (await this.#machine.call('describeCluster', { bootstrap })) as ClusterDescription
  }

  /** Returns the new log start offset. */
  async deleteRecords(
    request: PartitionRequest & { readonly beforeOffset: number },
  ): Promise<number> {
    return (await this.#machine.call('deleteRecords', request)) as number
  }

  /** `at`: a time in milliseconds, or a place. −1 and −1 when there is no such record. */
  async listOffset(
    request: PartitionRequest & { readonly at: 'earliest' | 'latest' | 'maxTimestamp' | number },
  ): Promise<{ readonly offset: number; readonly timestamp: number }> {
    return (await this.#machine.call('listOffset', request)) as {
      offset: number
      timestamp: number
    }
  }

  close(): Promise<void> {
    return this.#machine.close()
  }
}
