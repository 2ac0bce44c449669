/**
 * The run's judgement of itself: what the broker has must be what it acknowledged. Pure.
 */
import { nameOf, type Place } from './place.ts'

/** What is known of one place at the end. */
export interface PlaceCheck {
  readonly place: Place
  /** Log end before the first and after the last request. */
  readonly endBefore: number
  readonly endAfter: number
  readonly acknowledgedEvents: number
  /** One past the last offset that an answer told; −1: none did. */
  readonly toldEnd: number
  /** Bytes of the log; null: nobody could tell. */
  readonly bytesBefore: number | null
  readonly bytesAfter: number | null
  readonly acknowledgedBytes: number
  /** Whether the start of the log moved meanwhile: then bytes cannot be compared. */
  readonly hasLostHead: boolean
}

export interface RunCheck {
  readonly places: readonly PlaceCheck[]
  readonly broken: readonly string[]
  readonly refusals: ReadonlyMap<string, number>
  readonly unanswered: number
  /** How the batches' bytes and the log's compare: the same, at least as many, or not at all. */
  readonly bytes: 'equal' | 'at-least' | 'unknown'
}

/** Why the run proves nothing; null: all agrees. */
export function problemOf(run: RunCheck): string | null {
  const [refusal] = run.refusals
  if (refusal !== undefined) {
    const [what, count] = refusal
    return `the broker refused ${count} ${count === 1 ? 'request' : 'requests'}: ${what}`
  }
  if (run.broken.length > 0) {
    return `${plural(run.broken.length, 'connection')} broke: ${run.broken[0]}`
  }
  if (run.unanswered > 0) return `${run.unanswered} were sent and never answered`
  for (const one of run.places) {
    const problem = offsetProblem(one) ?? bytesProblem(one, run.bytes)
    if (problem !== null) return `${nameOf(one.place)}: ${problem}`
  }
  return null
}

function offsetProblem(one: PlaceCheck): string | null {
  const { endBefore, endAfter, acknowledgedEvents, toldEnd } = one
  const stored = endAfter - endBefore
  if (stored !== acknowledgedEvents) {
    const more = stored > acknowledgedEvents ? ' (does somebody else write to the topic?)' : ''
    return (
      `${acknowledgedEvents} events were acknowledged, and its end offset went from ${endBefore} ` +
      `to ${endAfter}, by ${stored}${more}`
    )
  }
  if (toldEnd >= 0 && toldEnd !== endAfter) {
    return `the last acknowledged batch ends at offset ${toldEnd}, the log at ${endAfter}`
  }
  return null
}

function bytesProblem(one: PlaceCheck, rule: RunCheck['bytes']): string | null {
  const { bytesBefore, bytesAfter, acknowledgedBytes, hasLostHead } = one
  if (rule === 'unknown' || bytesBefore === null || bytesAfter === null || hasLostHead) return null
  const stored = bytesAfter - bytesBefore
  const isRight = rule === 'equal' ? stored === acknowledgedBytes : stored >= acknowledgedBytes
  if (isRight) return null
  return `${acknowledgedBytes} bytes were acknowledged, and its log grew by ${stored}`
}

function plural(count: number, noun: string): string {
  return count === 1 ? `one ${noun}` : `${count} ${noun}s`
}
