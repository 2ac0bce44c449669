import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { type BrokerAddresses, BrokerServer } from './broker-server.ts'
import { LogLines } from './log-lines.ts'
import { openLoggers } from './open-loggers.ts'

/**
 * A broker inside the program that asks for one: for tests, demonstrations and small tools. Its
 * partitions have threads of their own; its doors run on the thread that started it.
 */
export interface EmbeddedBrokerOptions {
  /**
   * Where data is kept; what is there is served again. Left out: a temporary directory that is
   * removed when the broker stops.
   */
  readonly dataDir?: string
  /** HOST:PORT for Kafka clients; default: a free port of 127.0.0.1. */
  readonly kafka?: string
  /** HOST:PORT for HTTP and WebSockets; default: a free port of 127.0.0.1. */
  readonly http?: string
  /** Threads that own partitions; default: 1. */
  readonly shards?: number
  /** Options by their names, as `--set` takes them. */
  readonly settings?: Readonly<Record<string, string>>
  /** What is logged, on stdout; default: 'silent'. */
  readonly logLevel?: 'silent' | 'error' | 'warn' | 'info' | 'debug'
}

export interface EmbeddedBroker extends AsyncDisposable {
  /** HOST:PORT for Kafka clients. */
  readonly kafka: string
  /** `http://HOST:PORT`. */
  readonly httpUrl: string
  /** `ws://HOST:PORT/ws`, for this package's client. */
  readonly url: string
  readonly dataDir: string
  /** Closes everything in order; a temporary directory goes as well. May be called again. */
  stop(): Promise<void>
}

const STDOUT = 1

/** Small enough for a test beside others: what is not touched costs nothing. */
const INGRESS_BYTES = 64 * 1024 * 1024
const EGRESS_BYTES = 32 * 1024 * 1024

/**
 * Starts a broker; resolves when it serves. Rejects with a ConfigError on an option that it does
 * not understand, with a BrokerError where the world refuses.
 */
export async function startBroker(options: EmbeddedBrokerOptions = {}): Promise<EmbeddedBroker> {
  const temporary = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), 'millrace-')) : null
  const dataDir = options.dataDir ?? (temporary as string)
  const lines = new LogLines(STDOUT)
  const cleanUp = (): void => {
    lines.close()
    if (temporary !== null) rmSync(temporary, { recursive: true, force: true })
  }
  try {
    const config = loadConfig({
      dataDir,
      kafka: options.kafka ?? '127.0.0.1:0',
      http: options.http ?? '127.0.0.1:0',
      shards: String(options.shards ?? 1),
      set: Object.entries({ ...DEFAULTS, ...options.settings }).map((pair) => pair.join('=')),
    })
    const level = { all: options.logLevel ?? 'silent', components: new Map() } as const
    const loggers = await openLoggers(level, 'json', lines)
    const server = new BrokerServer(config, { loggers, onFailure: fail })
    const { kafka, http } = await startOrStop(server)
    let stopped: Promise<void> | null = null
    const stop = (): Promise<void> => {
      stopped ??= server.stop().finally(cleanUp)
      return stopped
    }
    return {
      kafka: (kafka[0] ?? '').replace(/^.*:\/\//, ''),
      httpUrl: `http://${http}`,
      url: `ws://${http}/ws`,
      dataDir,
      stop,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    cleanUp()
    throw error
  }
}

/** A start that fails half-way leaves no thread and no socket behind. */
async function startOrStop(server: BrokerServer): Promise<BrokerAddresses> {
  try {
    return await server.start(performance.now())
  } catch (error) {
    await server.stop()
    throw error
  }
}

const DEFAULTS: Readonly<Record<string, string>> = {
  'millrace.arena.ingress.bytes': String(INGRESS_BYTES),
  'millrace.arena.egress.bytes': String(EGRESS_BYTES),
}

/** Our own bug: the program that embeds the broker must not go on as if nothing had happened. */
function fail(what: string, error: unknown): void {
  queueMicrotask(() => {
    throw new Error(`millrace: ${what}`, { cause: error })
  })
}
