/** Kafka's Java producer with its default options, a process: `java/SteadyProducer.java`. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { projectFolder } from './broker.ts'
import { track } from './children.ts'

/** What has reached the producer's callback. */
export interface Delivered {
  readonly acknowledged: number
  /** From `send` to the callback. */
  readonly slowestMs: number
  /** By class. */
  readonly errors: Readonly<Record<string, number>>
}

export function addDelivered(one: Delivered, other: Delivered): Delivered {
  const errors: Record<string, number> = { ...one.errors }
  for (const [name, n] of Object.entries(other.errors)) errors[name] = (errors[name] ?? 0) + n
  return {
    acknowledged: one.acknowledged + other.acknowledged,
    slowestMs: Math.max(one.slowestMs, other.slowestMs),
    errors,
  }
}

export interface SteadyOptions {
  readonly bootstrap: string
  readonly topic: string
  readonly partitions: number
  readonly eventsPerSecond: number
}

const OPTIONS = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

export class SteadyProducer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>

  /** Throws when the client is not installed. */
  constructor({ bootstrap, topic, partitions, eventsPerSecond }: SteadyOptions) {
    const jars = join(projectFolder(), '.cache', 'java', 'lib')
    if (!existsSync(jars)) throw new Error('run scripts/install-test-clients.sh: no Java client')
    const source = join(projectFolder(), 'bench', 'lib', 'java', 'SteadyProducer.java')
    const log = '-Dorg.slf4j.simpleLogger.defaultLogLevel=off'
    const args = [...OPTIONS, log, '-cp', join(jars, '*'), source, bootstrap, topic]
    args.push(String(partitions), String(eventsPerSecond))
    this.#child = spawn('java', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    track(this.#child)
    this.#child.stdin.on('error', () => undefined) // The missing answer tells.
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** Since the last time. The first answer comes once the virtual machine runs. */
  report(): Promise<Delivered> {
    this.#child.stdin.write('report\n')
    return this.#next()
  }

  /** Waits for what is under way. */
  close(): Promise<Delivered> {
    this.#child.stdin.end()
    return this.#next()
  }

  async #next(): Promise<Delivered> {
    const { done, value } = await this.#answers.next()
    if (done === true) throw new Error('the Java producer has ended')
    return JSON.parse(value as string) as Delivered
  }
}
