import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'

/**
 * The metrics of one process, in Prometheus text form. Values are pulled when somebody scrapes:
 * nothing is counted twice, and the hot path pays nothing. Runs on main.
 */
export interface Sample {
  readonly name: string
  readonly help: string
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

export type Collect = () => Promise<readonly Sample[]>

export class MetricsRegistry {
  readonly #registry = new Registry()
  readonly #gauges = new Map<string, Gauge>()

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Everything, as text. `collect` gives the broker's own samples of this moment. */
  async text(collect: Collect | null): Promise<string> {
    if (collect !== null) for (const sample of await collect()) this.#set(sample)
    return this.#registry.metrics()
  }

  #set(sample: Sample): void {
    const labels = sample.labels ?? {}
    let gauge = this.#gauges.get(sample.name)
    if (gauge === undefined) {
      gauge = new Gauge({
        name: sample.name,
        help: sample.help,
        labelNames: Object.keys(labels),
        registers: [this.#registry],
      })
      this.#gauges.set(sample.name, gauge)
    }
    gauge.set({ ...labels }, sample.value)
  }
}
