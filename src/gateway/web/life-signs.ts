import type { WebSocketParts } from './web-server.ts'

/**
 * Whether a client still lives, looked at from time to time: silent ones are pinged, and given up
 * when they stay silent. Only what a client sends counts; what is sent to it proves nothing.
 */
export class LifeSigns {
  readonly #timing: Timing
  #heardMs: number
  #pingedMs: number

  constructor(timing: Timing, nowMs: number) {
    this.#timing = timing
    this.#heardMs = nowMs
    this.#pingedMs = nowMs
  }

  /** `isHeard`: something came since the last look. */
  look(isHeard: boolean, nowMs: number): 'fine' | 'ping' | 'dead' {
    if (isHeard) this.#heardMs = nowMs
    if (nowMs - this.#heardMs >= this.#timing.idleTimeoutMs) return 'dead'
    if (nowMs - Math.max(this.#heardMs, this.#pingedMs) < this.#timing.pingIntervalMs) return 'fine'
    this.#pingedMs = nowMs
    return 'ping'
  }
}

/** Calls `tick` of every peer often enough for these times; stop it with `clearInterval`. */
export function startTicking(
  peers: Iterable<{ tick(nowMs: number): void }>,
  timing: Timing,
): NodeJS.Timeout {
  const intervalMs = Math.min(timing.pingIntervalMs, timing.idleTimeoutMs) / 4
  const timer = setInterval(() => {
    const nowMs = performance.now()
    for (const peer of peers) peer.tick(nowMs)
  }, intervalMs)
  return timer.unref()
}

type Timing = Pick<WebSocketParts, 'idleTimeoutMs' | 'pingIntervalMs'>
