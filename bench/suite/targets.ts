/**
 * The programs under load, each in a memory cgroup and a folder of its own. Brokers stay up between
 * runs, as they would in use (and a JVM stays warm); the limit programs know one topic and are
 * started for every run.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startBroker } from '../lib/broker.ts'
import {
  deleteFolder,
  deleteGroup,
  hasEnded,
  ownFolder,
  ownGroup,
  stopProcess,
} from '../lib/children.ts'
import { startKafka } from '../lib/kafka-broker.ts'
import { startLimitServer } from '../lib/limit-server.ts'
import { MemoryGroup } from '../lib/memory-group.ts'
import type { TargetName } from './rows.ts'

export interface TargetSettings {
  /** Of each target's cgroup; null: none. */
  readonly memoryBytes: number | null
  readonly cgroupParent: string | undefined
  /** Where the folders are made and deleted. */
  readonly dataParent: string
  readonly shards: number
  /** `name=value`, of Millrace. */
  readonly settings: readonly string[]
  /** Of Millrace's Node. */
  readonly nodeArgs: readonly string[]
  readonly main: string | undefined
  /** The build that `before` is. */
  readonly beforeMain: string | undefined
  /** Cores of the targets, as taskset takes them. */
  readonly cpus: string | undefined
  /** Kafka's num.network.threads and num.io.threads. */
  readonly kafkaThreads: number
}

export interface RunningTarget {
  readonly name: TargetName
  readonly child: ChildProcess
  readonly pid: number
  /** Of Kafka's protocol. */
  readonly port: number
  readonly httpPort: number | null
  readonly dataDir: string
  readonly group: MemoryGroup | undefined
  readonly logFile: string
  /** Whether topics can be made and deleted. */
  readonly isBroker: boolean
}

/** What every broker of the suite gets, so that nothing is measured that only one of them does. */
const MILLRACE_ARGS = ['--max-semi-space-size=64']
/** A deleted topic's files must be gone before the next run; Kafka waits a minute by default. */
const KAFKA_DELETE = 'log.segment.delete.delay.ms=1000'
/** Prebuilt batches are stamped with a time of long ago: by age they would be deleted at once. */
const KAFKA_AGE = 'log.retention.ms=-1'

export class Targets {
  readonly #settings: TargetSettings
  readonly #running = new Map<TargetName, { target: RunningTarget; folder: string }>()
  #count = 0

  constructor(settings: TargetSettings) {
    this.#settings = settings
  }

  /** The target, started when it is not up. A limit program is always started anew. */
  async get(name: TargetName, partitions: number): Promise<RunningTarget> {
    const up = this.#running.get(name)
    if (up?.target.isBroker === true && !hasEnded(up.target.child)) return up.target
    if (up !== undefined) await this.stop(name)
    const folder = join(this.#settings.dataParent, `millrace-suite-${process.pid}-${this.#count++}`)
    mkdirSync(folder, { recursive: true })
    ownFolder(folder)
    const group = this.#group(`${process.pid}-${this.#count}`)
    try {
      const target = await this.#start(name, folder, group, partitions)
      this.#running.set(name, { target, folder })
      return target
    } catch (error) {
      deleteFolder(folder)
      if (group !== undefined) await deleteGroup(group)
      throw error
    }
  }

  async stop(name: TargetName): Promise<void> {
    const up = this.#running.get(name)
    if (up === undefined) return
    this.#running.delete(name)
    await stopProcess(up.target.child)
    deleteFolder(up.folder)
    if (up.target.group !== undefined) await deleteGroup(up.target.group)
  }

  async stopAll(): Promise<void> {
    for (const name of [...this.#running.keys()]) await this.stop(name)
  }

  #group(suffix: string): MemoryGroup | undefined {
    const { memoryBytes, cgroupParent } = this.#settings
    if (memoryBytes === null) return undefined
    const group = MemoryGroup.create(`millrace-suite-${suffix}`, memoryBytes, cgroupParent)
    if (typeof group === 'string') throw new Error(group)
    ownGroup(group)
    return group
  }

  async #start(
    name: TargetName,
    folder: string,
    group: MemoryGroup | undefined,
    partitions: number,
  ): Promise<RunningTarget> {
    const { cpus } = this.#settings
    if (name === 'kafka') {
      const threads = this.#settings.kafkaThreads
      const settings = [`num.network.threads=${threads}`, `num.io.threads=${threads}`]
      settings.push(KAFKA_DELETE, KAFKA_AGE)
      const { child, pid, kafkaPort, dataDir } = await startKafka({ folder, settings, group, cpus })
      const logFile = join(folder, 'kafka.log')
      const rest = { name, child, pid, dataDir, group, logFile }
      return { ...rest, port: kafkaPort, httpPort: null, isBroker: true }
    }
    const logFile = join(folder, 'target.log')
    const dataDir = join(folder, 'data')
    if (name === 'millrace' || name === 'before') {
      const { main, beforeMain, shards, settings, nodeArgs } = this.#settings
      const broker = await startBroker({
        main: name === 'before' ? beforeMain : main,
        dataDir,
        logFile,
        shards,
        settings,
        nodeArgs: [...MILLRACE_ARGS, ...nodeArgs],
        group,
        cpus,
        readyTimeoutMs: 30_000,
      })
      const { child, pid, kafkaPort, httpPort } = broker
      return {
        name,
        child,
        pid,
        port: kafkaPort,
        httpPort,
        dataDir,
        group,
        logFile,
        isBroker: true,
      }
    }
    const { child, port } = await startLimitServer({
      dataDir,
      logFile,
      partitions,
      secondsMax: LIMIT_SECONDS,
      args: name === 'limit-two-threads' ? ['--writers', '1'] : [],
      group,
      cpus,
    })
    const pid = child.pid as number
    return { name, child, pid, port, httpPort: null, dataDir, group, logFile, isBroker: false }
  }
}

/** Long enough for any cell; the program ends by itself after it. */
const LIMIT_SECONDS = 900
