/**
 * One broker of a cluster as a real process in a namespace of its own, on a disk of its own. What
 * it says goes to a file; an end that nobody asked for is told to whoever watches.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { brokerMain } from '../support/broker.ts'
import { Network } from './network.ts'

export const KAFKA_PORT = 9092
const CLUSTER_PORT = 9190
const HTTP_PORT = 8080
const START_MS_MAX = 90_000
const STOP_MS_MAX = 60_000
const POLL_MS = 50
const ASK_MS_MAX = 1000

export interface NodeOptions {
  readonly id: number
  readonly nodes: number
  readonly network: Network
  /** `data` in it is the broker's. */
  readonly directory: string
  readonly logPath: string
  readonly secret: string
  readonly set: Readonly<Record<string, string>>
  readonly onEnd: (why: string) => void
}

export class Node {
  readonly id: number
  readonly address: string
  readonly #options: NodeOptions
  #child: ChildProcess | null = null
  #ended: Promise<unknown> = Promise.resolve()
  #isExpectedToEnd = false
  #boot = 0

  constructor(options: NodeOptions) {
    this.id = options.id
    this.address = Network.addressOf(options.id)
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  /** The machine below it has been without power: what was not on the disk is gone. */
  rebootMachine(): void {
    this.#boot++
  }

  /** Resolves once the process runs, not once it serves. */
  start(): void {
    const { network, logPath, secret, onEnd } = this.#options
    const log = openSync(logPath, 'a')
    const [command, ...prefix] = network.inside(this.id)
    const child = spawn(
      command as string,
      [...prefix, process.execPath, brokerMain(), ...this.#args()],
      {
        stdio: ['ignore', log, log],
        env: {
          ...process.env,
          MILLRACE_CLUSTER_SECRET: secret,
          MILLRACE_CHECK_MEMORY: '1',
          MILLRACE_TEST_BOOT_ID: `boot-${this.id}-${this.#boot}`,
        },
      },
    )
    closeSync(log)
    this.#child = child
    this.#isExpectedToEnd = false
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      this.#child = null
      if (!this.#isExpectedToEnd) onEnd(`node ${this.id} ended by itself (${code ?? signal})`)
    })
  }

  /** Resolves once the broker serves. Throws when it ends before, or takes too long. */
  async whenReady(): Promise<void> {
    const deadlineMs = performance.now() + START_MS_MAX
    while (!(await this.isReady())) {
      if (this.#child === null) throw new Error(`node ${this.id} ended while it started`)
      if (performance.now() > deadlineMs) {
        throw new Error(`node ${this.id} does not serve after ${START_MS_MAX} ms`)
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async isReady(): Promise<boolean> {
    const url = `http://${this.address}:${HTTP_PORT}/health/ready`
    const signal = AbortSignal.timeout(ASK_MS_MAX)
    const response = await fetch(url, { signal }).catch(() => null)
    await response?.body?.cancel().catch(() => {})
    return response?.status === 200
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    this.expectEnd()
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** It may end by itself from now on: its disk fails. */
  expectEnd(): void {
    this.#isExpectedToEnd = true
  }

  /** Throws when it takes too long; it is killed then. */
  async stop(): Promise<void> {
    this.expectEnd()
    const child = this.#child
    if (child === null) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    await this.#ended
    clearTimeout(timer)
    if (child.signalCode !== null || child.exitCode !== 0) {
      throw new Error(`node ${this.id} stopped with ${child.signalCode ?? child.exitCode}`)
    }
  }

  #args(): string[] {
    const { id, nodes, directory, set } = this.#options
    const controllers = Array.from({ length: Math.min(nodes, 5) }, (_, index) => {
      return `${index + 1}@${Network.addressOf(index + 1)}:${CLUSTER_PORT}`
    })
    return [
      'start',
      '--insecure',
      ...['--node-id', String(id)],
      ...['--controllers', controllers.join()],
      ...['--kafka', `${this.address}:${KAFKA_PORT}`],
      ...['--http', `${this.address}:${HTTP_PORT}`],
      ...['--data-dir', join(directory, 'data')],
      ...['--shards', '1'],
      ...Object.entries(set).flatMap(([name, value]) => ['--set', `${name}=${value}`]),
    ]
  }
}
