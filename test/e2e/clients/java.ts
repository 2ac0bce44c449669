/**
 * Kafka's own Java client (`java/src`): default producer (idempotence on), consumer by assignment,
 * admin. One virtual machine serves all requests until `close`, in order: starting it costs a
 * second.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import {
  answerOf,
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

type Machine = ChildProcessByStdio<Writable, Readable, Readable>

interface Waiting {
  readonly resolve: (line: string) => void
  readonly reject: (error: Error) => void
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
  #machine: Machine | null = null
  /** Answers come in the order of the requests. */
  readonly #waiting: Waiting[] = []

  available(): true | string {
    const compiled = existsSync(join(FOLDER, 'classes', 'ClientServer.class'))
    return compiled || `the Java client is not installed: ${INSTALL_HINT}`
  }

  async produce({ records, ...request }: ProduceRequest): Promise<readonly SentRecord[]> {
    const encoded = { ...request, records: records.map(encodeRecord) }
    return (await this.#call('produce', encoded)) as SentRecord[]
  }

  async consume(request: ConsumeRequest): Promise<readonly ReceivedRecord[]> {
    const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
    return decodeRecords(await this.#call('consume', { ...request, timeoutMs }))
  }

  async createTopic(request: CreateTopicRequest): Promise<void> {
    await this.#call('createTopic', { configs: {}, ...request })
  }

  async deleteTopic(bootstrap: string, topic: string): Promise<void> {
    await this.#call('deleteTopic', { bootstrap, topic })
  }

  async listTopics(bootstrap: string): Promise<readonly string[]> {
    return (await this.#call('listTopics', { bootstrap })) as string[]
  }

  async describeTopic(bootstrap: string, topic: string): Promise<TopicDescription> {
    return (await this.#call('describeTopic', { bootstrap, topic })) as TopicDescription
  }

  /** Grows a topic to `total` partitions. */
  async createPartitions(bootstrap: string, topic: string, total: number): Promise<void> {
    await this.#call('createPartitions', { bootstrap, topic, total })
  }

  /** By name. `name` is a topic's name or a broker's id. */
  async describeConfigs(request: {
    readonly bootstrap: string
    readonly type: 'topic' | 'broker'
    readonly name: string
  }): Promise<Readonly<Record<string, ConfigValue>>> {
    return (await this.#call('describeConfigs', request)) as Record<string, ConfigValue>
  }

  async describeCluster(bootstrap: string): Promise<ClusterDescription> {
    return (await this.#call('describeCluster', { bootstrap })) as ClusterDescription
  }

  /** Returns the new log start offset. */
  async deleteRecords(
    request: PartitionRequest & { readonly beforeOffset: number },
  ): Promise<number> {
    return (await this.#call('deleteRecords', request)) as number
  }

  /** `at`: a time in milliseconds, or a place. −1 and −1 when there is no such record. */
  async listOffset(
    request: PartitionRequest & { readonly at: 'earliest' | 'latest' | 'maxTimestamp' | number },
  ): Promise<{ readonly offset: number; readonly timestamp: number }> {
    return (await this.#call('listOffset', request)) as { offset: number; timestamp: number }
  }

  async close(): Promise<void> {
    const machine = this.#machine
    if (machine === null) return
    const closed = new Promise((resolve) => machine.once('close', resolve))
    machine.stdin.end()
    await closed
  }

  async #call(operation: string, request: object): Promise<unknown> {
    this.#machine ??= this.#start()
    const machine = this.#machine
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      machine.stdin.write(`${JSON.stringify({ ...request, operation })}\n`)
    })
    return answerOf(NAME, line)
  }

  #start(): Machine {
    const options = [...OPTIONS, LOG_LEVEL, '-cp', CLASS_PATH, 'ClientServer']
    const machine = spawn('java', options, { stdio: ['pipe', 'pipe', 'pipe'] })
    let stderr = ''
    machine.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk).slice(-10_000)
    })
    machine.stdin.on('error', () => {}) // 'close' tells.
    createInterface({ input: machine.stdout }).on('line', (line) => {
      this.#waiting.shift()?.resolve(line)
    })
    const fail = (reason: string): void => {
      this.#machine = null
      for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error(reason))
    }
    machine.on('error', (error) => fail(`java did not start: ${error.message}`))
    machine.on('close', (status) => fail(`java ended with ${status}: ${stderr}`))
    return machine
  }
}
