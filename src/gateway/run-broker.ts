import { pino } from 'pino'
import type { BrokerConfig } from '../config/broker-config.ts'
import type { Logger } from '../metrics/logger.ts'
import { BrokerServer } from './broker-server.ts'

/**
 * A whole broker process: one broker until a signal asks to stop. Runs on main.
 */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Runs until a signal asks to stop. Throws when the broker cannot start. */
export async function runBroker(config: BrokerConfig): Promise<void> {
  // `npm start` builds in this process first and marks where the broker begins.
  const startedMs = performance.getEntriesByName('millrace-start')[0]?.startTime ?? 0
  const level = config.get('millrace.log.level')
  const options = { base: null, level, timestamp: pino.stdTimeFunctions.isoTime }
  const terminal = await terminalStream()
  const logger: Logger = terminal === null ? pino(options) : pino(options, terminal)
  const server = new BrokerServer(config, logger, crash)
  const stopped = stopOnSignal(server, logger)
  await server.start(startedMs)
  await stopped
}

/** Resolves when a signal has come and everything is closed. A second signal ends at once. */
function stopOnSignal(server: BrokerServer, logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        // While starting there is nothing yet that an orderly end would save.
        if (!server.isServing) process.exit(130)
        logger.info({ signal }, 'stopping')
        void server.stop().then(resolve, (error: unknown) => crash('stopping failed', error))
      })
    }
  })
}

/** What the message of the line 'ready' says in words. */
const READY_FIELDS = 'node,cluster,tier,shards,directories,kafka,http,httpEngine,topics,partitions'

/** Log lines for people, on a terminal; null where machines read them as JSON. */
async function terminalStream(): Promise<NodeJS.WritableStream | null> {
  if (!process.stdout.isTTY) return null
  const { PinoPretty } = await import('pino-pretty')
  const ignore = `${READY_FIELDS},startMs`
  return PinoPretty({ sync: true, singleLine: true, translateTime: 'SYS:HH:MM:ss.l', ignore })
}

/** Our own bug, or a thread that died: says so and ends. Half a broker must not go on serving. */
function crash(what: string, error: unknown): never {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`millrace: ${what}; the broker stops now\n${text}\n`)
  process.exit(70)
}
