import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Complaints } from '../../src/gateway/complaints.ts'
import { Exposition } from '../../src/metrics/exposition.ts'
import { readSamples } from '../support/metrics.ts'

interface Line {
  readonly fields: {
    readonly peer?: string
    readonly suppressed?: number
    readonly peers?: string[]
  }
  readonly message: string
}

function listen(): { lines: Line[]; complaints: Complaints; at: { ms: number } } {
  const lines: Line[] = []
  const at = { ms: 0 }
  const silent = (): void => {}
  const warn = (fields: object, message: string): void => {
    lines.push({ fields, message })
  }
  const logger = { debug: silent, info: silent, error: silent, warn }
  return { lines, at, complaints: new Complaints('kafka', logger, () => at.ms) }
}

test('names the first of a second, and sums up the rest with some of their addresses', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { lines, complaints } = listen()
  for (let i = 0; i < 317; i++) complaints.closed(`10.0.0.${i % 20}`, 'a bad frame')
  assert.equal(lines.length, 5)
  assert.deepEqual(lines[0], {
    fields: { peer: '10.0.0.0', kind: 'protocol' },
    message: 'closed a connection: a bad frame',
  })
  t.mock.timers.tick(10_000)
  assert.equal(lines.length, 6)
  const { fields, message } = lines[5] as Line
  assert.equal(message, 'closed 312 more connections in the last 10 s: protocol')
  assert.equal(fields.suppressed, 312)
  assert.equal(fields.peers?.length, 5)
  t.mock.timers.tick(60_000)
  assert.equal(lines.length, 6, 'nothing more to say')
})

test('one kind does not drown another', () => {
  const { lines, complaints } = listen()
  for (let i = 0; i < 1000; i++) complaints.closed('10.0.0.1', 'too many', 'too_many_connections')
  complaints.closed('10.0.0.2', 'it does not read', 'slow_reader')
  assert.equal(lines.length, 6)
  assert.equal(lines[5]?.fields.peer, '10.0.0.2')
  complaints.close()
})

test('names more of them in the next second', () => {
  const { lines, at, complaints } = listen()
  for (let second = 0; second < 3; second++) {
    at.ms = second * 1000
    for (let i = 0; i < 100; i++) complaints.closed('10.0.0.1', 'a bad frame')
  }
  assert.equal(lines.length, 15)
  complaints.close()
  assert.equal(lines.at(-1)?.fields.suppressed, 285)
})

test('counts all of them by kind', () => {
  const { complaints } = listen()
  for (let i = 0; i < 8; i++) complaints.closed('10.0.0.1', 'a bad frame')
  complaints.closed('10.0.0.1', 'beyond its credits', 'limit')
  const exposition = new Exposition()
  Complaints.write([complaints], exposition)
  const samples = readSamples(Buffer.from(exposition.finish()).toString())
  const protocol = '{door="kafka",kind="protocol"}'
  assert.equal(samples.get(`millrace_complaints_total${protocol}`), 8)
  assert.equal(samples.get(`millrace_complaints_suppressed_total${protocol}`), 3)
  assert.equal(samples.get('millrace_complaints_total{door="kafka",kind="limit"}'), 1)
  complaints.close()
})
