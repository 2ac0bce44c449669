import { isatty } from 'node:tty'
import { type Logger as PinoLogger, pino } from 'pino'
import { LOG_COMPONENTS, type LogComponent } from '../base/log-components.ts'
import type { LogLevel, LogLevels } from '../config/log-levels.ts'
import type { Logger, Loggers } from '../metrics/logger.ts'
import type { LogLines } from './log-lines.ts'

/**
 * The loggers of a broker, one a component: lines of JSON, or lines for people. Fields that bear
 * the name of a secret are hidden, wherever they lie.
 */
export type LogFormat = 'auto' | 'json' | 'pretty'

/** What the message of the line 'ready' says in words. */
const READY_FIELDS =
  'component,node,cluster,tier,shards,directories,kafka,http,httpEngine,topics,partitions,startMs'

/** Part of a name, however it is written: `sslKeystorePassword`, `api-key`. */
const SECRET_NAME =
  /pass(word|wd|phrase)|secret|token|authorization|cookie|credential|(private|api)[-_]?key|jaas/i
const HIDDEN = '(hidden)'
/** What lies deeper in a field is left out. */
const DEPTH_MAX = 8

export type OpenLoggers = Loggers & {
  /** Lines less severe than that are left out from now on. */
  readonly setLevels: (levels: LogLevels) => void
}

export async function openLoggers(
  levels: LogLevels,
  format: LogFormat,
  lines: LogLines,
): Promise<OpenLoggers> {
  const isPretty = format === 'pretty' || (format === 'auto' && isatty(1))
  const options = {
    base: null,
    level: levels.all,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { log: (fields: object) => hideSecrets(fields, 0) as Record<string, unknown> },
    serializers: { err: (error: Error) => hideSecrets(pino.stdSerializers.err(error), 0) },
  }
  const root = pino(options, isPretty ? await prettyLines(lines) : lines)
  const loggers = new Map<LogComponent, PinoLogger>()
  for (const component of LOG_COMPONENTS) {
    loggers.set(component, root.child({ component }, { level: levelOf(levels, component) }))
  }
  const setLevels = (changed: LogLevels): void => {
    for (const [component, logger] of loggers) logger.level = levelOf(changed, component)
  }
  const find = (component: LogComponent): Logger => loggers.get(component) as Logger
  return Object.assign(find, { setLevels })
}

function levelOf({ all, components }: LogLevels, component: LogComponent): LogLevel {
  return components.get(component) ?? all
}

/** A copy in which the values of secrets are hidden; errors are hidden when they are serialized. */
function hideSecrets(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Error) return value
  if (depth >= DEPTH_MAX) return '(too deep)'
  if (Array.isArray(value)) return value.map((item) => hideSecrets(item, depth + 1))
  if ('toJSON' in value) return value
  const shown = Object.entries(value).map(([name, field]) => [
    name,
    SECRET_NAME.test(name) ? HIDDEN : hideSecrets(field, depth + 1),
  ])
  return Object.fromEntries(shown)
}

async function prettyLines(lines: LogLines): Promise<{ write(line: string): void }> {
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({
    colorize: isatty(1),
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: READY_FIELDS,
  })
  return { write: (line) => lines.write(pretty(line)) }
}
