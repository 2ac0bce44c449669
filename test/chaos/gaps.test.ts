import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gapsOf } from './gaps.ts'
import type { HistoryLine } from './history.ts'

const ok = (partition: string, at: number): HistoryLine => {
  return { type: 'ok', at, producer: 'p', partition, events: [] }
}
const lines = [
  ...[0, 100, 200, 900, 1000, 1100].map((at) => ok('a-0', at)),
  ...[1050, 0, 150, 300, 450, 600, 750, 900].map((at) => ok('a-1', at)),
]

test('gapsOf finds the longest time without an acknowledgement, of the worst partition', () => {
  const spans = [{ kind: 'kill', beganMs: 250, endedMs: 800 }] as const
  assert.deepEqual(gapsOf(lines, spans), { kill: { medianMs: 700, worstMs: 700 } })
})

test('gapsOf looks at gaps that reach into the span only', () => {
  const spans = [
    { kind: 'stop', beganMs: 910, endedMs: 1000 },
    { kind: 'cut', beganMs: 0, endedMs: 150 },
  ] as const
  const gaps = { medianMs: 150, worstMs: 150 }
  assert.deepEqual(gapsOf(lines, spans), { stop: gaps, cut: gaps })
})

test('gapsOf gives a median and the worst of several', () => {
  const spans = [1, 100, 250].map((beganMs) => {
    return { kind: 'kill', beganMs, endedMs: beganMs + 1 } as const
  })
  assert.deepEqual(gapsOf(lines, spans).kill, { medianMs: 150, worstMs: 700 })
})
