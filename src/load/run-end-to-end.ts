/** Producers and consumers together: from the intended send time to the arrival at a consumer. */
import { Arrivals } from './arrivals.ts'
import { ConsumeTally } from './consume-tally.ts'
import type { ConsumerLane, ConsumerSink } from './consumer-lane.ts'
import type { Stored } from './driver.ts'
import { Latency } from './latency.ts'
import type { LatencySummary } from './latency-summary.ts'
import { LibraryConsumer } from './library-consumer.ts'
import type { LogState } from './log-watch.ts'
import { closeClients, openClients } from './make-lanes.ts'
import { round } from './meter.ts'
import { closeConsumers, openConsumers } from './open-consumers.ts'
import { dealPlaces, type Place } from './place.ts'
import type { ProduceResult } from './result.ts'
import { type Beside, type RunEvents, runProduce } from './run-produce.ts'
import { type EndToEndSettings, STAMP_BYTES } from './settings.ts'
import type { Tally } from './tally.ts'

export type EndToEndResult = Omit<ProduceResult, 'command' | 'latencyMs'> & {
  readonly command: 'end-to-end'
  readonly consumers: number
  /** From the intended send time to the arrival at a consumer. */
  readonly latencyMs: LatencySummary
  /** From the intended send time to the producer's answer. */
  readonly produceMs: LatencySummary
  readonly consumedEventsPerSecond: number
  readonly consumedBytesPerSecond: number
  /** Events that were acknowledged and had not arrived, all partitions together, at most. */
  readonly lagMax: number
}

const ARRIVE_MS = 10_000
const LOOK_MS = 20

/** As `runProduce`; `distribution` is that of the arrivals. */
export async function runEndToEnd(
  settings: EndToEndSettings,
  watch: {
    readonly signal: AbortSignal
    readonly events: RunEvents & { consuming(tally: ConsumeTally, recent: Latency): void }
  },
): Promise<{ readonly result: EndToEndResult; readonly distribution: string }> {
  const consumers = new Consumers(settings, watch.events)
  try {
    const ready: RunEvents['ready'] = (what) => {
      consumers.produced = what.tally
      watch.events.ready(what)
    }
    const events = { ready, measure: watch.events.measure }
    const { result } = await runProduce(settings, { signal: watch.signal, events }, consumers)
    return {
      result: {
        ...result,
        command: 'end-to-end',
        consumers: consumers.count,
        latencyMs: consumers.latency.summary(),
        produceMs: result.latencyMs,
        ...consumers.rates(result.seconds),
      },
      distribution: consumers.latency.distribution(),
    }
  } finally {
    await consumers.close()
  }
}

class Consumers implements Beside {
  readonly latency = new Latency()
  readonly #recent = new Latency()
  readonly #settings: EndToEndSettings
  readonly #events: { consuming(tally: ConsumeTally, recent: Latency): void }
  /** The producers' count, known when they begin. */
  produced: Tally | null = null
  #consumed: ConsumeTally | null = null
  #arrivals: Arrivals | null = null
  #lanes: ConsumerLane[] = []
  #closeClients: () => Promise<void> = async () => {}
  #lagMax = 0
  #looking: NodeJS.Timeout | null = null
  count = 0

  constructor(
    settings: EndToEndSettings,
    events: { consuming(tally: ConsumeTally, recent: Latency): void },
  ) {
    this.#settings = settings
    this.#events = events
  }

  /** Over WebSocket our library has both ends: the event itself says when it was to be sent. */
  get #isByValue(): boolean {
    return this.#settings.driver === 'ws' && this.#settings.source === 'client'
  }

  get stamp(): Beside['stamp'] {
    if (!this.#isByValue) return null
    return (value, intendedMs) => {
      const stamped = Buffer.from(value)
      stamped.writeDoubleBE(intendedMs, 0)
      return stamped
    }
  }

  async begin(places: readonly Place[], before: LogState): Promise<void> {
    const from = before.ends.map(({ end }) => end)
    const tally = new ConsumeTally(places, { from, until: null })
    this.#consumed = tally
    const isMeasured = (intendedMs: number): boolean => this.#isMeasured(intendedMs)
    const joined = { latency: this.latency, recent: this.#recent, isMeasured }
    this.#arrivals = new Arrivals(places.length, joined)
    const { consumers, fetchBytes } = this.#settings
    this.count = Math.min(consumers, places.length)
    const plan = { consumers: this.count, places, from, fetchBytes, checkCrc: false }
    const sink = this.#sink(tally)
    if (this.#isByValue) await this.#openLibrary(plan, sink)
    else this.#lanes = await openConsumers(this.#settings, plan, sink)
    for (const lane of this.#lanes) lane.start()
    this.#looking = setInterval(() => this.#look(), LOOK_MS)
    this.#events.consuming(tally, this.#recent)
  }

  measure(at: 'start' | 'end'): void {
    if (this.#consumed !== null) this.#consumed.isMeasuring = at === 'start'
  }

  acknowledged({ place, baseOffset }: Stored, intendedMs: readonly number[]): void {
    if (this.#isByValue || this.#arrivals === null) return
    if (!this.#arrivals.acknowledged(place, baseOffset, intendedMs)) this.#tooFarBehind()
  }

  /** Waits for what was stored to arrive. */
  async finish(tally: Tally, after: LogState): Promise<string | null> {
    const consumed = this.#consumed
    if (consumed === null) return 'no consumer has begun'
    consumed.expect(after.ends.map(({ end }) => end))
    const untilMs = performance.now() + ARRIVE_MS
    const isOver = (): boolean => {
      const isStuck = consumed.problem !== null || consumed.broken.length > 0
      return consumed.isComplete || isStuck || performance.now() > untilMs
    }
    while (!isOver()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    const missing = this.#arrivals?.missing ?? 0
    this.#arrivals?.giveUp(performance.now())
    this.latency.add(tally.undone)
    if (consumed.problem !== null) return consumed.problem
    if (consumed.broken.length > 0) return `a consumer's connection broke: ${consumed.broken[0]}`
    if (!consumed.isComplete) return 'what was acknowledged did not arrive at the consumers'
    return missing === 0 ? null : `${missing} acknowledged batches did not arrive as such`
  }

  rates(
    seconds: number,
  ): Pick<EndToEndResult, 'consumedEventsPerSecond' | 'consumedBytesPerSecond' | 'lagMax'> {
    const { events = 0, bytes = 0 } = this.#consumed ?? {}
    const perSecond = (count: number): number => round(count / Math.max(seconds, 1e-9), 1)
    return {
      consumedEventsPerSecond: perSecond(events),
      consumedBytesPerSecond: perSecond(bytes),
      lagMax: this.#lagMax,
    }
  }

  async close(): Promise<void> {
    if (this.#looking !== null) clearInterval(this.#looking)
    await closeConsumers(this.#lanes)
    await this.#closeClients()
  }

  async #openLibrary(plan: Parameters<typeof openConsumers>[1], sink: ConsumerSink): Promise<void> {
    const clients = await openClients(this.#settings.url, this.count)
    this.#closeClients = () => closeClients(clients)
    const visit = ({ value }: { readonly value: Uint8Array | null }): void => {
      if (value === null || value.length < STAMP_BYTES) return
      const stamp = Buffer.from(value.buffer, value.byteOffset, STAMP_BYTES).readDoubleBE(0)
      this.#record(stamp, performance.now())
    }
    this.#lanes = dealPlaces(plan.places.length, this.count).map((mine, i) => {
      const client = clients[i] as (typeof clients)[number]
      return new LibraryConsumer(client, { ...plan, mine }, { sink, visit })
    })
  }

  #sink(tally: ConsumeTally): ConsumerSink {
    return {
      arrived: (place, batch) => {
        tally.arrived(place, batch)
        if (this.#isByValue) return
        const isFine = this.#arrivals?.arrived(place, batch.baseOffset, performance.now())
        if (isFine === false) this.#tooFarBehind()
      },
      highWatermark: (place, offset) => {
        tally.highWatermark[place] = offset
      },
      wrong: (place, what) => tally.wrong(place, what),
      broke: (reason) => tally.broken.push(reason),
    }
  }

  #isMeasured(intendedMs: number): boolean {
    return this.produced?.isMeasured(intendedMs) === true
  }

  #record(intendedMs: number, atMs: number): void {
    this.#recent.record(atMs - intendedMs)
    if (this.#isMeasured(intendedMs)) this.latency.record(atMs - intendedMs)
  }

  #tooFarBehind(): void {
    this.#consumed?.wrong(0, 'consumers are further behind than can be kept: a lower --rate')
  }

  #look(): void {
    const produced = this.produced?.total.records ?? 0
    this.#lagMax = Math.max(this.#lagMax, produced - (this.#consumed?.total.records ?? 0))
  }
}
