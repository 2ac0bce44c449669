/**
 * Kafka's command-line tools (kafka-topics, kafka-configs, …), each by its class, all in one
 * virtual machine (`kafka-tools/ToolServer.java`, compiled when it starts).
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { INSTALL_HINT, repositoryRoot } from './client.ts'

const TOOLS = join(repositoryRoot, '.cache/java/tools-lib')
const SERVER = join(repositoryRoot, 'test/e2e/clients/kafka-tools/ToolServer.java')
const OPTIONS = [
  '-Xmx256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
]
const CLASSES = {
  'kafka-topics': 'org.apache.kafka.tools.TopicCommand',
  'kafka-configs': 'kafka.admin.ConfigCommand',
  'kafka-get-offsets': 'org.apache.kafka.tools.GetOffsetShell',
  'kafka-log-dirs': 'org.apache.kafka.tools.LogDirsCommand',
  'kafka-delete-records': 'org.apache.kafka.tools.DeleteRecordsCommand',
  'kafka-consumer-groups': 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand',
  'kafka-client-metrics': 'org.apache.kafka.tools.ClientMetricsCommand',
} as const
export type KafkaTool = keyof typeof CLASSES

export function kafkaToolsAvailable(): true | string {
  return existsSync(TOOLS) || `Kafka's tools are not installed: ${INSTALL_HINT}`
}

export interface ToolOutcome {
  readonly status: number
  /** Standard output and standard error. */
  readonly output: string
}

/** One tool runs at a time. Close it. */
export class KafkaTools {
  readonly #bootstrap: string
  readonly #machine: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>

  constructor(bootstrap: string) {
    this.#bootstrap = bootstrap
    const args = [...OPTIONS, '-cp', join(TOOLS, '*'), SERVER]
    this.#machine = spawn('java', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#machine.stdin.on('error', () => {}) // The missing answer tells.
    this.#answers = createInterface({ input: this.#machine.stdout })[Symbol.asyncIterator]()
  }

  async run(tool: KafkaTool, args: readonly string[]): Promise<ToolOutcome> {
    const words = [CLASSES[tool], '--bootstrap-server', this.#bootstrap, ...args]
    const line = words.map((word) => Buffer.from(word).toString('base64')).join(' ')
    this.#machine.stdin.write(`${line}\n`)
    const { done, value } = await this.#answers.next()
    if (done === true) throw new Error('the virtual machine of the tools has ended')
    const [status, output = ''] = (value as string).split(' ')
    return { status: Number(status), output: Buffer.from(output, 'base64').toString() }
  }

  async close(): Promise<void> {
    const ended = once(this.#machine, 'close')
    this.#machine.stdin.end()
    await ended
  }
}
