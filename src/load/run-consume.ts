/** A run of consumers: reads what is there, or what comes, and checks that nothing is missing. */
import { ConsumeTally } from './consume-tally.ts'
import type { Control } from './control.ts'
import { Meter, perGb, round } from './meter.ts'
import { closeConsumers, openConsumers } from './open-consumers.ts'
import { openControl } from './open-driver.ts'
import type { ConsumeSettings, DriverName } from './settings.ts'
import { findTopics, placesOf } from './topics.ts'

export interface ConsumeResult {
  readonly command: 'consume'
  readonly driver: DriverName
  readonly topics: readonly string[]
  readonly partitions: number
  readonly consumers: number
  readonly from: 'earliest' | 'latest'
  readonly fetchBytes: number
  /** Of the measurement; likewise rates, events and bytes. */
  readonly seconds: number
  /** `end`: what was the end at the start is reached. */
  readonly stoppedBy: 'end' | 'time' | 'signal' | 'connections' | 'problem'
  readonly events: number
  /** Of batches. */
  readonly bytes: number
  readonly eventsPerSecond: number
  readonly bytesPerSecond: number
  /** A consumer alone has none: `end-to-end` measures it. */
  readonly latencyMs: null
  /** Events behind the high watermarks, all partitions together, at most. */
  readonly lagMax: number
  readonly cpuSecondsPerGb: number | null
  readonly clientCpuSecondsPerGb: number | null
  readonly clientCpuSeconds: number
  readonly brokerCpuSeconds: number | null
  /** Whether every partition came without a gap from where it began. */
  readonly verified: boolean
  readonly problem: string | null
  readonly crc: 'checked' | 'not checked'
}

export interface ConsumeEvents {
  ready(what: { readonly topics: readonly string[]; readonly tally: ConsumeTally }): void
  measure(at: 'start' | 'end'): void
}

const LOOK_MS = 20

/** Throws LoadError, and what the control's protocol throws, when it cannot run. */
export async function runConsume(
  settings: ConsumeSettings,
  watch: { readonly signal: AbortSignal; readonly events: ConsumeEvents },
): Promise<ConsumeResult> {
  const control = await openControl(settings)
  try {
    return await run(settings, control, watch)
  } finally {
    control.close()
  }
}

async function run(
  settings: ConsumeSettings,
  control: Control,
  watch: { readonly signal: AbortSignal; readonly events: ConsumeEvents },
): Promise<ConsumeResult> {
  const meter = new Meter(settings.brokerPids)
  const { consumers, fetchBytes, checkCrc, follow } = settings
  const topics = await findTopics(control, settings)
  const names = topics.map(({ name }) => name)
  const places = placesOf(topics)
  const ends = await control.logEnds(places)
  const isLatest = settings.from === 'latest'
  const from = ends.map(({ start, end }) => (isLatest ? end : start))
  const until = isLatest || follow ? null : ends.map(({ end }) => end)
  const tally = new ConsumeTally(places, { from, until })
  const lanes = await openConsumers(
    settings,
    { consumers: Math.min(consumers, places.length), places, from, fetchBytes, checkCrc },
    {
      arrived: (place, batch) => tally.arrived(place, batch),
      highWatermark: (place, offset) => {
        tally.highWatermark[place] = offset
      },
      wrong: (place, what) => tally.wrong(place, what),
      broke: (reason) => tally.broken.push(reason),
    },
  )
  watch.events.ready({ topics: names, tally })
  const measure = (at: 'start' | 'end'): void => {
    if (at === 'end') meter.stop()
    watch.events.measure(at)
    if (at === 'start') meter.start()
    tally.isMeasuring = at === 'start'
  }
  if (settings.warmUpMs === 0) measure('start')
  for (const lane of lanes) lane.start()
  const stoppedBy = await watchUntilEnd(settings, tally, { signal: watch.signal, measure })
  await closeConsumers(lanes)
  const broken = tally.broken.length === 0 ? null : `a connection broke: ${tally.broken[0]}`
  const problem = tally.problem ?? broken
  const seconds = Math.max(meter.seconds, 1e-9)
  return {
    command: 'consume',
    driver: settings.driver,
    topics: names,
    partitions: places.length,
    consumers: lanes.length,
    from: settings.from,
    fetchBytes,
    seconds: round(meter.seconds, 6),
    stoppedBy,
    events: tally.events,
    bytes: tally.bytes,
    eventsPerSecond: round(tally.events / seconds, 1),
    bytesPerSecond: round(tally.bytes / seconds, 1),
    latencyMs: null,
    lagMax: tally.lagMax,
    cpuSecondsPerGb: perGb(meter.brokerCpuSeconds, tally.bytes),
    clientCpuSecondsPerGb: perGb(meter.clientCpuSeconds, tally.bytes),
    clientCpuSeconds: round(meter.clientCpuSeconds, 6),
    brokerCpuSeconds: meter.brokerCpuSeconds,
    verified: problem === null,
    problem,
    crc: checkCrc ? 'checked' : 'not checked',
  }
}

/** Warm-up (with none the measurement has begun), measurement, and what ended it. */
async function watchUntilEnd(
  { warmUpMs, durationMs }: ConsumeSettings,
  tally: ConsumeTally,
  watch: { readonly signal: AbortSignal; measure(at: 'start' | 'end'): void },
): Promise<ConsumeResult['stoppedBy']> {
  const startedMs = performance.now()
  let isMeasuring = warmUpMs === 0
  for (;;) {
    const nowMs = performance.now()
    tally.look()
    if (!isMeasuring && nowMs >= startedMs + warmUpMs) {
      isMeasuring = true
      watch.measure('start')
    }
    const reason = stopReason(tally, watch.signal, nowMs >= startedMs + warmUpMs + durationMs)
    if (reason !== null) {
      if (isMeasuring) watch.measure('end')
      return reason
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

function stopReason(
  tally: ConsumeTally,
  signal: AbortSignal,
  isTimeOver: boolean,
): ConsumeResult['stoppedBy'] | null {
  if (tally.problem !== null) return 'problem'
  if (tally.broken.length > 0) return 'connections'
  if (tally.isComplete) return 'end'
  if (signal.aborted) return 'signal'
  return isTimeOver ? 'time' : null
}
