/**
 * A member of a group that runs Kafka's Java client in a process of its own
 * (`java/src/GroupMember.java`): it can be killed.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { INSTALL_HINT, repositoryRoot } from './client.ts'

const FOLDER = join(repositoryRoot, '.cache/java')
const CLASS_PATH = [join(FOLDER, 'classes'), join(FOLDER, 'lib', '*')].join(delimiter)
const OPTIONS = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const LOG_LEVEL = `-Dorg.slf4j.simpleLogger.defaultLogLevel=${process.env.JAVA_LOG ?? 'error'}`

export function javaMemberAvailable(): true | string {
  const compiled = existsSync(join(FOLDER, 'classes', 'GroupMember.class'))
  return compiled || `the Java client is not installed: ${INSTALL_HINT}`
}

export interface JavaMemberOptions {
  readonly bootstrap: string
  readonly group: string
  readonly subscribe: { readonly topic: string } | { readonly regex: string }
  readonly settings?: Readonly<Record<string, string>>
}

export class JavaMember {
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #ended: Promise<unknown>
  /** As 'topic-partition'. */
  assigned: readonly string[] = []
  readonly seen: string[] = []
  stderr = ''

  constructor({ bootstrap, group, subscribe, settings }: JavaMemberOptions) {
    const [kind, what] = Object.entries(subscribe)[0] as [string, string]
    const properties = {
      'bootstrap.servers': bootstrap,
      'group.id': group,
      'group.protocol': 'consumer',
      ...settings,
    }
    const args = Object.entries(properties).map(([name, value]) => `${name}=${value}`)
    this.#process = spawn(
      'java',
      [...OPTIONS, LOG_LEVEL, '-cp', CLASS_PATH, 'GroupMember', kind, what, ...args],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    )
    this.#ended = once(this.#process, 'close')
    this.#process.stdin.on('error', () => {}) // 'close' tells.
    this.#process.stderr.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk).slice(-10_000)
    })
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as { value?: string; assigned?: string[] }
      if (said.value !== undefined) this.seen.push(said.value)
      if (said.assigned !== undefined) this.assigned = said.assigned
    })
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** It leaves the group and ends. */
  async leave(): Promise<void> {
    this.#process.stdin.end()
    await this.#ended
    this.assigned = []
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#ended
    this.assigned = []
  }
}
