/**
 * A client in another process that takes requests as lines of JSON on its standard input and
 * answers each with a line on its standard output, in order. It starts with the first request and
 * stays until `close`: to start an interpreter or a virtual machine for each would cost more than
 * the requests.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import {
  answerOf,
  CONSUME_TIMEOUT_MS,
  decodeRecords,
  encodeRecord,
  type KafkaClient,
  PROGRAM_TIMEOUT_MS,
  type SentRecord,
} from './client.ts'

type Server = ChildProcessByStdio<Writable, Readable, Readable>

interface Waiting {
  readonly resolve: (line: string) => void
  readonly reject: (error: Error) => void
}

export class LineServer {
  readonly #name: string
  readonly #program: string
  readonly #options: readonly string[]
  #server: Server | null = null
  /** Answers come in the order of the requests. */
  readonly #waiting: Waiting[] = []

  /** `name`: the client's, for what it raises. */
  constructor(name: string, program: string, options: readonly string[]) {
    this.#name = name
    this.#program = program
    this.#options = options
  }

  /**
   * Resolves with the `ok` of the answer; throws what the client raised as a ClientError. A client
   * that hangs is ended.
   */
  async call(operation: string, request: object): Promise<unknown> {
    this.#server ??= this.#start()
    const server = this.#server
    const line = new Promise<string>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      server.stdin.write(`${JSON.stringify({ ...request, operation })}\n`)
    })
    const timer = setTimeout(() => server.kill('SIGKILL'), PROGRAM_TIMEOUT_MS)
    try {
      return answerOf(this.#name, await line)
    } finally {
      clearTimeout(timer)
    }
  }

  /** The next request starts it again. */
  async close(): Promise<void> {
    const server = this.#server
    if (server === null) return
    const closed = new Promise((resolve) => server.once('close', resolve))
    server.stdin.end()
    await closed
  }

  #start(): Server {
    const server = spawn(this.#program, this.#options, { stdio: ['pipe', 'pipe', 'pipe'] })
    let stderr = ''
    server.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk).slice(-10_000)
    })
    server.stdin.on('error', () => {}) // 'close' tells.
    createInterface({ input: server.stdout }).on('line', (line) => {
      this.#waiting.shift()?.resolve(line)
    })
    const fail = (reason: string): void => {
      this.#server = null
      for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error(reason))
    }
    server.on('error', (error) => fail(`${this.#name} did not start: ${error.message}`))
    server.on('close', (status, signal) => {
      fail(`${this.#name} ended with ${signal ?? status}: ${stderr}`)
    })
    return server
  }
}

/** What a client does that has its work done by such a server. */
export function served(
  server: LineServer,
): Required<Omit<KafkaClient, 'name' | 'limits' | 'available'>> {
  return {
    async produce({ records, ...request }) {
      const encoded = { ...request, records: records.map(encodeRecord) }
      return (await server.call('produce', encoded)) as SentRecord[]
    },

    async consume(request) {
      const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
      return decodeRecords(await server.call('consume', { ...request, timeoutMs }))
    },

    async createTopic(request) {
      await server.call('createTopic', { configs: {}, ...request })
    },

    async deleteTopic(bootstrap, topic) {
      await server.call('deleteTopic', { bootstrap, topic })
    },

    async listTopics(bootstrap) {
      return (await server.call('listTopics', { bootstrap })) as string[]
    },

    close: () => server.close(),
  }
}
