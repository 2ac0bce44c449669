/** Options that contradict each other are refused with what to do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type EndToEndSettings,
  endToEndSettingsProblem,
  produceSettingsProblem,
  topicNames,
} from '../../src/load/settings.ts'

const SETTINGS: EndToEndSettings = {
  driver: 'kafka',
  kafka: { host: '127.0.0.1', port: 9092 },
  url: '',
  topic: 'bench',
  topics: 2,
  partitions: null,
  dataDirs: [],
  brokerPids: [],
  warmUpMs: 0,
  durationMs: 1000,
  source: 'prebuilt',
  eventBytes: 100,
  batchBytes: 1000,
  lingerMs: 5,
  producers: 4,
  connections: 4,
  inFlight: 1,
  keys: 0,
  compression: 'none',
  acks: -1,
  rate: null,
  payloadFile: null,
  seed: 1,
  pacing: 'sleep',
  deleteTopics: false,
  consumers: 1,
  fetchBytes: 1000,
}

test('produceSettingsProblem, names what contradicts, and nothing else', () => {
  const cases: [Partial<EndToEndSettings>, RegExp | null][] = [
    [{}, null],
    [{ source: 'client', connections: 2 }, null],
    [{ acks: 0, rate: 1000 }, null],
    [{ acks: 0 }, /--acks 0 needs a --rate/],
    [{ acks: 0, rate: 10, driver: 'ws' }, /--source client/],
    [{ acks: 0, rate: 10, driver: 'rest' }, /over REST everything is answered/],
    [{ producers: 8 }, /--producers is for --source client/],
    [{ source: 'client', connections: 9 }, /more than the 4 producers/],
    [{ source: 'client', driver: 'ws', inFlight: 6 }, /--in-flight is at most 5/],
    [{ source: 'client', eventBytes: 1000 }, /--batch-bytes 1000 has no room/],
    [{ eventBytes: 1000 }, null],
  ]
  for (const [changes, expected] of cases) {
    const problem = produceSettingsProblem({ ...SETTINGS, ...changes })
    if (expected === null) assert.equal(problem, null, JSON.stringify(changes))
    else assert.match(problem ?? '', expected, JSON.stringify(changes))
  }
})

test('endToEndSettingsProblem, wants answers, consumers, and room for the time', () => {
  assert.equal(endToEndSettingsProblem(SETTINGS), null)
  assert.match(endToEndSettingsProblem({ ...SETTINGS, acks: 0 }) ?? '', /--acks 0/)
  assert.match(endToEndSettingsProblem({ ...SETTINGS, driver: 'rest' }) ?? '', /no consumers/)
  const client = { ...SETTINGS, source: 'client', driver: 'ws', eventBytes: 7 } as const
  assert.match(endToEndSettingsProblem(client) ?? '', /--event-bytes is at least 8/)
})

test('topicNames, counts from 0', () => {
  assert.deepEqual(topicNames(SETTINGS), ['bench-0', 'bench-1'])
})
