import { collectDefaultMetrics, Registry } from 'prom-client'
import { Exposition, histogramOf } from './exposition.ts'
import { LoopDelay } from './loop-delay.ts'

/**
 * `/metrics` of one broker: what its parts know when somebody scrapes, and what prom-client says of
 * the process. Scrapes that come while one is being collected share it. Runs on main.
 */
export type Collect = (exposition: Exposition) => Promise<void>

const ROOM_BYTES = 128 * 1024

export class MetricsRegistry {
  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8'
  readonly #process = new Registry()
  readonly #loopDelay = new LoopDelay()
  #lastBytes = 0
  #underWay: Promise<Uint8Array> | null = null

  constructor() {
    collectDefaultMetrics({ register: this.#process })
    // Gauges by a counter's name, and a list of everything that is open at each scrape.
    for (const kind of ['handles', 'requests', 'resources']) {
      this.#process.removeSingleMetric(`nodejs_active_${kind}`)
      this.#process.removeSingleMetric(`nodejs_active_${kind}_total`)
    }
  }

  /** Everything, as text. `collect` writes the broker's own; null while there is none. */
  text(collect: Collect | null): Promise<Uint8Array> {
    this.#underWay ??= this.#collect(collect).finally(() => {
      this.#underWay = null
    })
    return this.#underWay
  }

  /** Of this thread's event loop, in all but one of a thousand looks of some minutes. */
  get loopDelayMs(): number {
    return this.#loopDelay.oneInThousandMs
  }

  /** The broker serves from now on. */
  forgetStart(): void {
    this.#loopDelay.forgetStart()
  }

  /** Stops what it measures by itself. */
  close(): void {
    this.#loopDelay.close()
    this.#process.clear()
  }

  async #collect(collect: Collect | null): Promise<Uint8Array> {
    const startedMs = performance.now()
    // Room for what the pieces may need at most, beyond what there was.
    const exposition = new Exposition(this.#lastBytes + ROOM_BYTES)
    exposition.append(`${await this.#process.metrics()}\n`)
    exposition.begin('millrace_event_loop_delay_seconds')
    histogramOf(exposition, this.#loopDelay.histogram)
    await collect?.(exposition)
    exposition.single('millrace_metrics_collect_seconds', (performance.now() - startedMs) / 1000)
    const text = exposition.finish()
    this.#lastBytes = text.length
    return text
  }
}
