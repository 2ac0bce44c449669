/** What tests of the cluster's shells share. */
import type { Uuid } from '../../src/base/uuid.ts'
import type { Logger } from '../../src/metrics/logger.ts'
import type { ReplicaKey } from '../../src/raft/replica-key.ts'
import { uuidFor } from '../metadata/cluster-records.ts'

export const CLUSTER_ID: Uuid = uuidFor('C', 1)
export const SECRET = 'a secret of the tests'

export function keyOf(id: number): ReplicaKey {
  return { id, directoryId: uuidFor('D', id) }
}

/** Keeps what is said. */
export class SaidLogger implements Logger {
  readonly lines: { level: string; fields: object; message: string }[] = []

  debug(fields: object, message: string): void {
    this.lines.push({ level: 'debug', fields, message })
  }

  info(fields: object, message: string): void {
    this.lines.push({ level: 'info', fields, message })
  }

  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message })
  }

  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message })
  }

  /** Everything that was said, as one text. */
  get text(): string {
    return JSON.stringify(this.lines)
  }
}

/** Every promise job and immediate that can run has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
