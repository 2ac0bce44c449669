import type { BrokerConfig } from '../config/broker-config.ts'
import { parseLogLevels } from '../config/log-levels.ts'
import type { Loggers } from '../metrics/logger.ts'
import { BrokerServer } from './broker-server.ts'
import { LogLines } from './log-lines.ts'
import { openLoggers } from './open-loggers.ts'

/**
 * A whole broker process: one broker until a signal asks to stop. Runs on main.
 */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const
const STDOUT = 1

/** Runs until a signal asks to stop. Throws when the broker cannot start. */
export async function runBroker(config: BrokerConfig): Promise<void> {
  // `npm start` builds in this process first and marks where the broker begins.
  const startedMs = performance.getEntriesByName('millrace-start')[0]?.startTime ?? 0
  const lines = new LogLines(STDOUT)
  const levels = parseLogLevels(config.get('millrace.log.level'))
  if (!levels.ok) throw new Error(`millrace.log.level: expected ${levels.expected}`)
  const loggers = await openLoggers(levels.value, config.get('millrace.log.format'), lines)
  lines.onLost = (lost) => {
    loggers('broker').warn({ lost }, `${lost} log line${lost === 1 ? ' was' : 's were'} lost`)
  }
  const onFailure = (what: string, error: unknown): never => crash(lines, what, error)
  const { setLevels } = loggers
  const server = new BrokerServer(config, { loggers, onFailure, logLines: lines, setLevels })
  const stopped = stopOnSignal(server, loggers, onFailure)
  try {
    await server.start(startedMs)
    await stopped
  } finally {
    lines.close()
  }
}

/** Resolves when a signal has come and everything is closed. A second signal ends at once. */
function stopOnSignal(
  server: BrokerServer,
  loggers: Loggers,
  onFailure: (what: string, error: unknown) => never,
): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        // While starting there is nothing yet that an orderly end would save.
        if (!server.isServing) process.exit(130)
        loggers('broker').info({ signal }, 'stopping')
        void server.stop().then(resolve, (error: unknown) => onFailure('stopping failed', error))
      })
    }
  })
}

/** Our own bug, or a thread that died: says so and ends. Half a broker must not go on serving. */
function crash(lines: LogLines, what: string, error: unknown): never {
  lines.close()
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  try {
    process.stderr.write(`millrace: ${what}; the broker stops now\n${text}\n`)
  } catch {
    // Nobody reads it: the exit code remains.
  }
  process.exit(70)
}
