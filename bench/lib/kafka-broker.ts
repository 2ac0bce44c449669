/**
 * An Apache Kafka broker as a process: the released jars of `bench/peers/kafka`, KRaft with broker
 * and controller in one process, in a folder of its own. Its defaults, except what stands in
 * `kafkaSettings`.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../test/support/ports.ts'
import { projectFolder } from './broker.ts'
import { accepts, hasEnded, sleep, startProcess, stopProcess, tailOf } from './children.ts'
import type { MemoryGroup } from './memory-group.ts'

/** The options of the JVM that Kafka's own start script gives. */
export const KAFKA_JVM = [
  '-Xmx1G',
  '-Xms1G',
  '-server',
  '-XX:+UseG1GC',
  '-XX:MaxGCPauseMillis=20',
  '-XX:InitiatingHeapOccupancyPercent=35',
  '-XX:+ExplicitGCInvokesConcurrent',
  '-Djava.awt.headless=true',
]

const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qk'
const READY_TIMEOUT_MS = 60_000

export interface KafkaOptions {
  /** Holds its log, its settings and its data. Exists and is empty. */
  readonly folder: string
  /** More `name=value` lines; they win. */
  readonly settings: readonly string[]
  /** Left out: alone, on free ports. */
  readonly node?: KafkaNode | undefined
  readonly group?: MemoryGroup | undefined
  readonly cpus?: string | undefined
}

/** A node of several. */
export interface KafkaNode {
  readonly id: number
  readonly port: number
  readonly controllerPort: number
  /** ID@HOST:PORT, comma-separated. */
  readonly voters: string
}

export interface RunningKafka {
  readonly child: ChildProcess
  readonly pid: number
  readonly kafkaPort: number
  readonly dataDir: string
  readonly readyMs: number
}

/** Where the jars are. Installs them when they are missing or other ones. */
export function installKafka(): void {
  const script = join(projectFolder(), 'scripts', 'install-peers.sh')
  const { status, error } = spawnSync('bash', [script, 'kafka'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error !== undefined) throw new Error('cannot run scripts/install-peers.sh', { cause: error })
  if (status !== 0) throw new Error('scripts/install-peers.sh could not install Apache Kafka')
}

function jarFolder(): string {
  return join(projectFolder(), '.cache', 'peers', 'kafka', 'lib')
}

export function kafkaClassPath(): string {
  return join(jarFolder(), '*')
}

/** Of the jars, such as `4.4.0`. */
export function kafkaVersion(): string {
  if (!existsSync(jarFolder())) return 'not installed'
  for (const name of readdirSync(jarFolder())) {
    const match = /^kafka_2\.13-(.+)\.jar$/.exec(name)
    if (match?.[1] !== undefined) return match[1]
  }
  return 'unknown'
}

/** What differs from Kafka's defaults: addresses, one replica, and threads for `cores` cores. */
export function kafkaSettings(at: KafkaNode & { dataDir: string }) {
  return [
    'process.roles=broker,controller',
    `node.id=${at.id}`,
    `controller.quorum.voters=${at.voters}`,
    `listeners=PLAINTEXT://127.0.0.1:${at.port},CONTROLLER://127.0.0.1:${at.controllerPort}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${at.port}`,
    'controller.listener.names=CONTROLLER',
    'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    `log.dirs=${at.dataDir}`,
    'offsets.topic.replication.factor=1',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
  ]
}

async function loneNode(): Promise<KafkaNode> {
  const controllerPort = await freePort()
  const voters = `1@127.0.0.1:${controllerPort}`
  return { id: 1, port: await freePort(), controllerPort, voters }
}

export async function startKafka(options: KafkaOptions): Promise<RunningKafka> {
  const node = options.node ?? (await loneNode())
  const { port } = node
  const dataDir = join(options.folder, 'data')
  mkdirSync(dataDir, { recursive: true })
  const file = join(options.folder, 'server.properties')
  const lines = [...kafkaSettings({ ...node, dataDir }), ...options.settings]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const classPath = kafkaClassPath()
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'
  const format = ['-cp', classPath, quiet, 'kafka.tools.StorageTool', 'format']
  format.push('-t', CLUSTER_ID, '-c', file, '--ignore-formatted')
  const formatted = spawnSync('java', format, { encoding: 'utf8' })
  if (formatted.error !== undefined) {
    throw new Error('Apache Kafka needs Java 17 or newer', { cause: formatted.error })
  }
  if (formatted.status !== 0) throw new Error(`Kafka could not format:\n${formatted.stderr}`)
  const startedMs = performance.now()
  const logFile = join(options.folder, 'kafka.log')
  const { group, cpus } = options
  const args = [...KAFKA_JVM, quiet, '-cp', classPath, 'kafka.Kafka', file]
  const child = startProcess({ command: 'java', args, logFile, group, cpus })
  const deadlineMs = startedMs + READY_TIMEOUT_MS
  // Kafka opens its clients' listener when it can serve them.
  while (!(await accepts(port))) {
    if (hasEnded(child) || performance.now() > deadlineMs) {
      await stopProcess(child, 1000)
      throw new Error(`Apache Kafka did not start; its last lines:\n${tailOf(logFile)}`)
    }
    await sleep(20)
  }
  const readyMs = performance.now() - startedMs
  return { child, pid: child.pid as number, kafkaPort: port, dataDir, readyMs }
}
