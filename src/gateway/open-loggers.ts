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

const SECRET_NAMES = [
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'authorization',
  'cookie',
  'credentials',
  'privateKey',
  'jaas',
]
/** pino's paths: at the top, and in objects one and two levels below it. */
const SECRET_PATHS = SECRET_NAMES.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])

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
    redact: { paths: SECRET_PATHS, censor: '(hidden)' },
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
