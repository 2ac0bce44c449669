import type { AppendedElsewhere } from '../../broker/elsewhere.ts'
import type { Connection } from '../../client/connection.ts'
import { ServerError } from '../../client/errors.ts'
import type { Link, LinkUser } from '../../client/link.ts'
import type { CreditWaiter } from '../../client/produce-turns.ts'
import { ErrorCode } from '../../errors/error-code.ts'

/**
 * Batches on their way to one other broker, in the order in which they came: a message each, while
 * it grants credits. What waits here is held by requests that wait, whose doors bound it; what has
 * waited for too long was certainly not appended. Runs on main.
 */
interface Waiting {
  readonly topic: string
  readonly partition: number
  readonly bytes: Uint8Array
  readonly acks: 0 | 1 | -1
  /** Monotonic. */
  readonly deadlineMs: number
  readonly resolve: (outcome: AppendedElsewhere) => void
}

/** For the connection, and for credits. */
const PATIENCE_MS = 10_000
const SWEEP_MS = 500
const ENVELOPE_BYTES_MAX = 1024

export class PeerAppends implements LinkUser, CreditWaiter {
  readonly #link: Link
  #waiting: Waiting[] = []
  #sweep: NodeJS.Timeout | null = null

  constructor(link: Link) {
    this.#link = link
    link.attach(this)
  }

  append(batch: Omit<Waiting, 'deadlineMs' | 'resolve'>): Promise<AppendedElsewhere> {
    return new Promise((resolve) => {
      const deadlineMs = this.#link.platform.timers.monotonicMs() + PATIENCE_MS
      this.#waiting.push({ ...batch, deadlineMs, resolve })
      this.sendMore()
      if (this.#waiting.length > 0) this.#sweep ??= setInterval(() => this.#sweepNow(), SWEEP_MS)
    })
  }

  connected(): void {
    this.sendMore()
  }

  disconnected(): void {}

  close(): void {
    this.#link.detach(this)
    if (this.#sweep !== null) clearInterval(this.#sweep)
    for (const { resolve } of this.#waiting.splice(0)) resolve(refused(NOT_THERE))
  }

  sendMore(): void {
    const { connection } = this.#link
    while (connection?.isOpen && this.#waiting.length > 0) {
      const [first] = this.#waiting as [Waiting]
      const { messageBytes } = connection.hello.limits
      if (first.bytes.length + ENVELOPE_BYTES_MAX > messageBytes) {
        this.#waiting.shift()
        first.resolve(refused(ErrorCode.MESSAGE_TOO_LARGE))
        continue
      }
      if (!connection.mayProduce(this, first.bytes.length + ENVELOPE_BYTES_MAX)) return
      this.#waiting.shift()
      this.#send(connection, first)
    }
  }

  #send(connection: Connection, { topic, partition, bytes, acks, resolve }: Waiting): void {
    connection.produce({ acks, partitions: [[topic, partition, bytes.length]] }, [bytes], {
      answered: (message) => {
        const result = message.type === 'produced' ? message.partitions[0] : undefined
        if (result === undefined) {
          resolve(refused(ErrorCode.UNKNOWN_SERVER_ERROR))
          return
        }
        const [errorCode, baseOffset, appendTimeMs, logStartOffset] = result
        resolve({ errorCode, baseOffset, appendTimeMs, logStartOffset })
      },
      failed: (error) => {
        // Of a lost connection nobody knows what it had taken.
        const code = error instanceof ServerError ? error.code : ErrorCode.NETWORK_EXCEPTION
        resolve(refused(code))
      },
    })
    if (acks === 0) resolve({ ...REFUSED, errorCode: ErrorCode.NONE })
  }

  #sweepNow(): void {
    const nowMs = this.#link.platform.timers.monotonicMs()
    this.#waiting = this.#waiting.filter(({ deadlineMs, resolve }) => {
      if (nowMs < deadlineMs) return true
      resolve(refused(NOT_THERE))
      return false
    })
    this.sendMore()
    if (this.#waiting.length > 0 || this.#sweep === null) return
    clearInterval(this.#sweep)
    this.#sweep = null
  }
}

const REFUSED = { baseOffset: -1, appendTimeMs: -1, logStartOffset: -1 }
/** The leader is not reached: somebody else may lead soon. */
const NOT_THERE = ErrorCode.LEADER_NOT_AVAILABLE

function refused(errorCode: number): AppendedElsewhere {
  return { errorCode, ...REFUSED }
}
