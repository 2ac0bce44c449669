/**
 * The brokers of a local cluster as child processes: started, heard, reported when they end, and
 * stopped all at the same time, so that none waits for another that is about to go as well.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface NodeProcess {
  readonly name: string
  readonly arguments: readonly string[]
  readonly readyUrl: string
}

export interface ProcessesParts {
  /** Beside those of this process. */
  readonly environment: Readonly<Record<string, string>>
  readonly restarts: boolean
  readonly line: (name: string, text: string) => void
  /** A node has ended that nobody has stopped. */
  readonly onEnded: (name: string, how: string) => void
}

const LOOK_MS = 100
const RESTART_MS = 1000
const RESTART_MS_MAX = 15_000
/** Who has run for so long has started well: the next restart is quick again. */
const STEADY_MS = 60_000

interface Running {
  readonly node: NodeProcess
  child: ChildProcess
  startedMs: number
  restartMs: number
  timer: NodeJS.Timeout | null
}

export class NodeProcesses {
  readonly #parts: ProcessesParts
  readonly #running: Running[] = []
  #isStopping = false
  #onAllEnded: () => void = () => {}
  /** Every child has ended and none is started again. */
  readonly ended: Promise<void>

  constructor(parts: ProcessesParts) {
    this.#parts = parts
    this.ended = new Promise((resolve) => {
      this.#onAllEnded = resolve
    })
  }

  start(nodes: readonly NodeProcess[]): void {
    for (const node of nodes) {
      const running = { node, startedMs: 0, restartMs: RESTART_MS, timer: null }
      this.#running.push(this.#spawn(running))
    }
  }

  /** Process ids by name, of those that run. */
  get pids(): Map<string, number> {
    const alive = this.#running.filter(({ child }) => isAlive(child))
    return new Map(alive.map(({ node, child }) => [node.name, child.pid as number]))
  }

  /** Resolves once the node answers that it serves, or with false when it has ended. */
  async whenReady(name: string): Promise<boolean> {
    const running = this.#running.find(({ node }) => node.name === name) as Running
    for (;;) {
      const response = await fetch(running.node.readyUrl).catch(() => null)
      await response?.body?.cancel().catch(() => {})
      if (response?.status === 200 && isAlive(running.child)) return true
      if (this.#isStopping || (!isAlive(running.child) && !this.#parts.restarts)) return false
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }

  stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): void {
    this.#isStopping = true
    for (const running of this.#running) {
      if (running.timer !== null) clearTimeout(running.timer)
      running.timer = null
      if (isAlive(running.child)) running.child.kill(signal)
    }
    this.#lookWhetherAllEnded()
  }

  #spawn(running: Omit<Running, 'child'> & { child?: ChildProcess }): Running {
    const { node } = running
    const { environment, line } = this.#parts
    const main = process.argv[1] as string
    const child = spawn(process.execPath, [...process.execArgv, main, ...node.arguments], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
      // A group of its own: Ctrl-C is for the parent, which stops them.
      detached: true,
    })
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (text) => line(node.name, text))
    }
    const started = Object.assign(running, { child, startedMs: performance.now() }) as Running
    // 'close' comes after the last line; a program that cannot be run has an 'error' and no exit.
    child.once('error', (error) => line(node.name, error.message))
    child.once('close', (code, signal) => this.#onClose(started, signal ?? `code ${code}`))
    return started
  }

  #onClose(running: Running, how: string): void {
    if (!this.#isStopping) {
      this.#parts.onEnded(running.node.name, how)
      if (this.#parts.restarts) this.#restart(running)
    }
    this.#lookWhetherAllEnded()
  }

  #restart(running: Running): void {
    const wasSteady = performance.now() - running.startedMs > STEADY_MS
    const afterMs = wasSteady ? RESTART_MS : running.restartMs
    running.restartMs = Math.min(2 * afterMs, RESTART_MS_MAX)
    running.timer = setTimeout(() => {
      running.timer = null
      this.#spawn(running)
    }, afterMs)
  }

  #lookWhetherAllEnded(): void {
    const isOver = this.#running.every(({ child, timer }) => !isAlive(child) && timer === null)
    if (isOver) this.#onAllEnded()
  }
}

function isAlive({ exitCode, signalCode, pid }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null
}
