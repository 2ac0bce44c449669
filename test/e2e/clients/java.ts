/**
 * Kafka's own Java client (`java/src`): default producer (idempotence on), consumer by assignment,
 * admin. One virtual machine serves all requests until `close`, in order: starting it costs a
 * second.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { INSTALL_HINT, type KafkaClient, NO_LIMITS, repositoryRoot } from './client.ts'
import { LineServer, served } from './line-server.ts'

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
  readonly limits = NO_LIMITS
  readonly #machine = new LineServer(NAME, 'java', [
    ...OPTIONS,
    LOG_LEVEL,
    '-cp',
    CLASS_PATH,
    'ClientServer',
  ])
  readonly #served = served(this.#machine)
  readonly produce = this.#served.produce
  readonly consume = this.#served.consume
  readonly createTopic = this.#served.createTopic
  readonly deleteTopic = this.#served.deleteTopic
  readonly listTopics = this.#served.listTopics
  readonly close = this.#served.close

  available(): true | string {
    const compiled = existsSync(join(FOLDER, 'classes', 'ClientServer.class'))
    return compiled || `the Java client is not installed: ${INSTALL_HINT}`
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
}
