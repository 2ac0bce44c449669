import { LOG_COMPONENTS, type LogComponent } from '../base/log-components.ts'
import type { Parsed } from './option.ts'

/**
 * `millrace.log.level`: a level for all, then others for components, comma-separated:
 * `info,storage=debug,kafka=warn`.
 */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LogLevels {
  readonly all: LogLevel
  readonly components: ReadonlyMap<LogComponent, LogLevel>
}

const DEFAULT_LEVEL: LogLevel = 'info'

export function parseLogLevels(text: string): Parsed<LogLevels> {
  let all: LogLevel | null = null
  const components = new Map<LogComponent, LogLevel>()
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const [first = '', second, ...more] = part.split('=').map((piece) => piece.trim())
    const level = LOG_LEVELS.find((known) => known === (second ?? first))
    if (level === undefined || more.length > 0) {
      return { ok: false, expected: `levels among ${LOG_LEVELS.join(', ')}; ${EXAMPLE}` }
    }
    if (second === undefined) {
      if (all !== null) return { ok: false, expected: `one level for all; ${EXAMPLE}` }
      all = level
      continue
    }
    const component = LOG_COMPONENTS.find((known) => known === first)
    if (component === undefined) {
      return { ok: false, expected: `components among ${LOG_COMPONENTS.join(', ')}; ${EXAMPLE}` }
    }
    if (components.has(component)) {
      return { ok: false, expected: `one level for ${component}; ${EXAMPLE}` }
    }
    components.set(component, level)
  }
  return { ok: true, value: { all: all ?? DEFAULT_LEVEL, components } }
}

const EXAMPLE = 'such as info,storage=debug'

/** For an option's check: what was expected, or null. */
export function checkLogLevels(text: string): string | null {
  const parsed = parseLogLevels(text)
  return parsed.ok ? null : parsed.expected
}
