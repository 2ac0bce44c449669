/** Kafka's command-line tools (kafka-topics, kafka-configs, …), run by the class that each is. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { INSTALL_HINT, repositoryRoot, runProgram } from './client.ts'

const TOOLS = join(repositoryRoot, '.cache/java/tools-lib')
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

export function kafkaToolsAvailable(): true | string {
  return existsSync(TOOLS) || `Kafka's tools are not installed: ${INSTALL_HINT}`
}

export interface ToolOutcome {
  readonly status: number | null
  /** Standard output, then standard error. */
  readonly output: string
}

export async function kafkaTool(
  tool: keyof typeof CLASSES,
  bootstrap: string,
  args: readonly string[],
): Promise<ToolOutcome> {
  const { status, stdout, stderr } = await runProgram('java', [
    ...OPTIONS,
    '-cp',
    join(TOOLS, '*'),
    CLASSES[tool],
    '--bootstrap-server',
    bootstrap,
    ...args,
  ])
  return { status, output: stdout.toString() + stderr }
}
