/** A client as a process of its own: started, counted, ended in order. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DEBIAN_PYTHON, repositoryRoot } from '../e2e/clients/client.ts'
import type { ClientSpec } from './clients/client-spec.ts'

export type ClientLibrary = 'kafkajs' | 'librdkafka'

const PROGRAMS: Readonly<Record<ClientLibrary, readonly string[]>> = {
  kafkajs: [
    process.execPath,
    join(dirname(fileURLToPath(import.meta.url)), 'clients/kafkajs-client.js'),
  ],
  // Another Python has another librdkafka.
  librdkafka: [
    process.env.CHAOS_PYTHON ?? DEBIAN_PYTHON,
    join(repositoryRoot, 'test/chaos/clients/librdkafka_client.py'),
  ],
}

export class ClientProcess {
  readonly name: string
  readonly role: ClientSpec['role']
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #done = 0
  #isStopping = false

  constructor(library: ClientLibrary, spec: ClientSpec) {
    this.name = spec.name
    this.role = spec.role
    const [program, script] = PROGRAMS[library] as readonly [string, string]
    const log = openSync(join(spec.directory, `${spec.name}.log`), 'a')
    const child = spawn(program, [script, JSON.stringify(spec)], { stdio: ['pipe', 'pipe', log] })
    closeSync(log)
    this.#child = child
    this.#ended = once(child, 'exit')
    child.stdin?.on('error', () => {}) // It has ended: its exit says so.
    createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on(
      'line',
      (line) => {
        this.#done = (JSON.parse(line) as { done: number }).done
      },
    )
  }

  /** Events acknowledged, or read, about a second ago. */
  get done(): number {
    return this.#done
  }

  /** It has ended, and nobody asked for that. */
  get hasFailed(): boolean {
    const { exitCode, signalCode } = this.#child
    return !this.#isStopping && (exitCode !== null || signalCode !== null)
  }

  /** Says what is wrong, null when nothing is. One that takes too long is killed. */
  async stop(msMax: number): Promise<string | null> {
    if (this.hasFailed) return `client ${this.name} ended too early: see ${this.name}.log`
    this.#isStopping = true
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), msMax)
    await this.#ended
    clearTimeout(timer)
    const { exitCode, signalCode } = this.#child
    return exitCode === 0 ? null : `client ${this.name} ended with ${signalCode ?? exitCode}`
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}
