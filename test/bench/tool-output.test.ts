import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConsumer, parseEndToEnd, parseProducer } from '../../bench/lib/tool-output.ts'

const producer = `48033 records sent, 9600.8 records/sec (9.16 MB/sec), 1716.0 ms avg latency, 2380.0 ms max latency.
200000 records sent, 20900.825583 records/sec (19.93 MB/sec), 1188.55 ms avg latency, 2380.00 ms max latency, 1012 ms 50th, 2096 ms 95th, 2336 ms 99th, 2376 ms 99.9th.
`

test('parseProducer takes the summary, not the lines before it', () => {
  assert.deepEqual(parseProducer(producer), {
    'records/s': 20900.825583,
    'MiB/s': 19.93,
    'mean ms': 1188.55,
    'P50 ms': 1012,
    'P99 ms': 2336,
    'P99.9 ms': 2376,
  })
  assert.equal(parseProducer(producer.split('\n')[0] as string), null)
})

test('parseConsumer: no events are no result', () => {
  const head =
    'start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n'
  const line = (rest: string) => `2026-11-25 23:26:16:012, 2026-11-25 23:26:26:133, ${rest}\n`
  const full = `${head}${line('190.7, 95.3, 200000, 100000.0, 500, 1500, 127.1, 133333.3')}`
  assert.deepEqual(parseConsumer(full), {
    'records/s': 100_000,
    'MiB/s': 95.3,
    'MiB/s while fetching': 127.1,
  })
  assert.equal(parseConsumer(`${head}${line('0.0, 0.0, 0, 0.0, 0, 10121, 0.0, 0.0')}`), null)
  assert.equal(parseConsumer('Exception'), null)
})

test('parseEndToEnd', () => {
  const output =
    '0\t204.7\nAvg latency: 4.9468 ms\n\nPercentiles: 50th = 3, 99th = 18, 99.9th = 67\n'
  assert.deepEqual(parseEndToEnd(output), {
    'mean ms': 4.9468,
    'P50 ms': 3,
    'P99 ms': 18,
    'P99.9 ms': 67,
  })
  assert.equal(parseEndToEnd('Avg latency: 4.9468 ms'), null)
})
