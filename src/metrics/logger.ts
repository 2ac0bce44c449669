import type { LogComponent } from '../base/log-components.ts'

/**
 * What the broker needs of a logger; pino satisfies it. Nothing here knows where lines go.
 */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** The logger of a component, whose lines bear its name. */
export type Loggers = (component: LogComponent) => Logger
