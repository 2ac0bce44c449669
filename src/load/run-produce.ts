/** A run of producers from the first question to the judgement. */
import { availableParallelism } from 'node:os'
import type { Control } from './control.ts'
import type { Stored } from './driver.ts'
import { Engine, type EngineOptions, type StopReason } from './engine.ts'
import { type LogState, LogWatch } from './log-watch.ts'
import { type LaneParts, type Lanes, makeLanes, prebuiltOf } from './make-lanes.ts'
import { Meter } from './meter.ts'
import { openControl } from './open-driver.ts'
import { Payload } from './payload.ts'
import type { Place } from './place.ts'
import type { PrebuiltRequests } from './prebuilt-requests.ts'
import { type ProduceResult, produceResult } from './result.ts'
import type { ProduceSettings } from './settings.ts'
import { Tally } from './tally.ts'
import { placesOf, prepareTopics } from './topics.ts'
import { type PlaceCheck, problemOf, type RunCheck } from './verify.ts'

export interface RunEvents {
  /** Once, before the load begins. */
  ready(what: { readonly topics: readonly string[]; readonly tally: Tally }): void
  /** At the first and the last instant of the measurement. */
  measure(at: 'start' | 'end'): void
}

export interface ProduceRun {
  readonly result: ProduceResult
  /** HdrHistogram's text form of `latencyMs`. */
  readonly distribution: string
}

/** Who takes part beside the producers: the consumers of an end-to-end run. */
export interface Beside {
  /** Before the load. */
  begin(places: readonly Place[], before: LogState): Promise<void>
  acknowledged(stored: Stored, intendedMs: readonly number[]): void
  measure(at: 'start' | 'end'): void
  /** When all is stored. Resolves with what is wrong, or null. */
  finish(tally: Tally, after: LogState): Promise<string | null>
  readonly stamp: LaneParts['stamp']
}

/** How long answers may take once nothing is sent any more. */
const DRAIN_MS = 30_000
/** With fewer cores, looking at the clock all the time would take one from the broker. */
const SPIN_CORES_MIN = 4

/**
 * Runs to the end, or until `signal`. Throws LoadError, and what the control's protocol throws,
 * when it cannot run; a run that proves nothing says so in its result.
 */
export async function runProduce(
  settings: ProduceSettings,
  watch: { readonly signal: AbortSignal; readonly events: RunEvents },
  beside: Beside | null = null,
): Promise<ProduceRun> {
  const control = await openControl(settings)
  try {
    return await new Run(settings, control, { ...watch, beside }).run()
  } finally {
    control.close()
  }
}

/** What `auto` means for the pacing. */
export function pacingOfMachine(): 'sleep' | 'spin' {
  return availableParallelism() >= SPIN_CORES_MIN ? 'spin' : 'sleep'
}

interface Watchers {
  readonly signal: AbortSignal
  readonly events: RunEvents
  readonly beside: Beside | null
}

class Run {
  readonly #settings: ProduceSettings
  readonly #control: Control
  readonly #watch: Watchers
  readonly #meter: Meter

  constructor(settings: ProduceSettings, control: Control, watch: Watchers) {
    this.#settings = settings
    this.#control = control
    this.#watch = watch
    this.#meter = new Meter(settings.brokerPids)
  }

  async run(): Promise<ProduceRun> {
    const settings = this.#settings
    const { beside, events } = this.#watch
    const payload = await Payload.load({ ...settings, file: settings.payloadFile })
    const ready = await prepareTopics(this.#control, settings)
    const topics = ready.map(({ name }) => name)
    const places = placesOf(ready)
    const prebuilt = await prebuiltOf(settings, places, payload)
    const tally = new Tally(places.length)
    const logs = new LogWatch(this.#control, places, { ...settings, topics: ready })
    const before = await logs.state()
    const options = this.#engineOptions(prebuilt)
    const engine = new Engine(options, tally, {
      measure: (at) => this.#measure(at),
      acknowledged: (stored, intendedMs) => beside?.acknowledged(stored, intendedMs),
    })
    const stamp = beside?.stamp ?? null
    const made = await makeLanes({ settings, places, payload, sink: engine, stamp }, prebuilt)
    const stoppedBy = await this.#load(engine, made, async () => {
      await beside?.begin(places, before)
      events.ready({ topics, tally })
    })
    const ends = before.ends.map(({ end }, i) => end + tally.acknowledgedEvents[i]!)
    const after = await logs.settled(ends)
    const heard = (await beside?.finish(tally, after)) ?? null
    const bytes = bytesRule(settings, before)
    const checks = places.map((place, i) => placeCheck(place, i, { tally, before, after }))
    const problem = problemOf({ ...runCheck(tally), places: checks, bytes })
    if (settings.deleteTopics) await this.#control.deleteTopics(topics)
    const result = produceResult({
      ...{ settings, tally, topics, stoppedBy },
      meter: this.#meter,
      partitions: places.length,
      batchBytes: prebuilt?.batchBytes ?? settings.batchBytes,
      eventsPerRequest: prebuilt?.events ?? null,
      problem: problem ?? heard ?? emptyProblem(tally),
      bytesOnDisk: bytesText(bytes, settings),
    })
    return { result, distribution: tally.latency.distribution() }
  }

  async #load(engine: Engine, made: Lanes, begin: () => Promise<void>): Promise<StopReason> {
    try {
      await begin()
      return await engine.run(made.lanes)
    } finally {
      await made.close()
    }
  }

  #measure(at: 'start' | 'end'): void {
    if (at === 'end') this.#meter.stop()
    this.#watch.events.measure(at)
    this.#watch.beside?.measure(at)
    if (at === 'start') this.#meter.start()
  }

  #engineOptions(prebuilt: PrebuiltRequests | null): EngineOptions {
    const { rate, warmUpMs, durationMs, pacing, connections, producers } = this.#settings
    return {
      lanes: prebuilt === null ? producers : connections,
      unitsPerSecond: rate === null ? null : rate / (prebuilt?.events ?? 1),
      ...{ warmUpMs, durationMs, pacing },
      drainMs: DRAIN_MS,
      signal: this.#watch.signal,
    }
  }
}

// —— judgement ——

function placeCheck(
  place: Place,
  index: number,
  { tally, before, after }: { tally: Tally; before: LogState; after: LogState },
): PlaceCheck {
  const { start = 0, end = 0 } = before.ends[index] ?? {}
  return {
    place,
    endBefore: end,
    endAfter: after.ends[index]?.end ?? 0,
    acknowledgedEvents: tally.acknowledgedEvents[index]!,
    toldEnd: tally.toldEnd[index]!,
    bytesBefore: before.bytes?.[index] ?? null,
    bytesAfter: after.bytes?.[index] ?? null,
    acknowledgedBytes: tally.acknowledgedBytes[index]!,
    hasLostHead: after.ends[index]?.start !== start,
  }
}

function runCheck(tally: Tally): Pick<RunCheck, 'broken' | 'refusals' | 'unanswered'> {
  return { broken: tally.broken, refusals: tally.refusals, unanswered: tally.unansweredUnits }
}

function emptyProblem(tally: Tally): string | null {
  return tally.requests === 0 ? 'nothing was acknowledged in the measurement' : null
}

/** How batches and log compare: only where what is sent is what is stored. */
function bytesRule(settings: ProduceSettings, before: LogState): RunCheck['bytes'] {
  const { driver, source, compression } = settings
  if (before.bytes === null || driver === 'rest') return 'unknown'
  if (driver === 'kafka' || source === 'prebuilt') return 'equal'
  // The library tells of events, not of batches.
  return compression === 'none' ? 'at-least' : 'unknown'
}

function bytesText(rule: RunCheck['bytes'], settings: ProduceSettings): string {
  if (rule === 'equal') return 'compared: the logs grew by what was acknowledged'
  if (rule === 'at-least') return 'compared: the logs grew by the events and more'
  if (settings.driver === 'rest') return 'not compared: the broker makes the batches'
  if (settings.dataDirs.length > 0) return 'not compared: batches are compressed by the library'
  return 'not compared: this broker cannot be asked; --data-dir names its directory'
}
