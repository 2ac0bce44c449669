/** What logs take on a broker's disks, asked of brokers of several ages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KafkaControl } from '../../src/load/kafka/kafka-control.ts'
import { LoadError } from '../../src/load/load-error.ts'
import { FakeKafka, type FakeLogDirs } from './fake-kafka.ts'

const PLACES = [0, 1, 2].map((partition) => ({ topic: 'bench-0', partition }))

async function ask(logDirs?: FakeLogDirs): Promise<{ bytes: number[] | null; asked: unknown }> {
  const fake = await FakeKafka.start(3, logDirs === undefined ? {} : { logDirs })
  const control = await KafkaControl.open({ host: '127.0.0.1', port: fake.port })
  try {
    return { bytes: await control.logBytes(PLACES), asked: fake.logDirsAsked }
  } finally {
    control.close()
    fake.stop()
  }
}

function partition(partitionIndex: number, partitionSize: number, isFutureKey = false) {
  return { partitionIndex, partitionSize, offsetLag: 0, isFutureKey }
}

function directory(logDir: string, partitions: ReturnType<typeof partition>[], errorCode = 0) {
  return { errorCode, logDir, topics: [{ name: 'bench-0', partitions }] }
}

const RESULTS = [
  directory('/a', [partition(0, 5_000_000_000), partition(1, 7)]),
  directory('/b', [partition(1, 3, true)]),
]

test('logBytes, has the size of each log, moving ones once, at every version', async () => {
  for (let maxVersion = 1; maxVersion <= 6; maxVersion++) {
    const answer = { throttleTimeMs: 0, errorCode: 0, results: RESULTS }
    const { bytes, asked } = await ask({ maxVersion, answer })
    assert.deepEqual(bytes, [5_000_000_000, 7, 0])
    assert.deepEqual(asked, [{ topic: 'bench-0', partitions: [0, 1, 2] }])
  }
})

test('logBytes, is null where the broker cannot be asked', async () => {
  assert.equal((await ask()).bytes, null)
  const answer = { throttleTimeMs: 0, errorCode: 0, results: [] }
  for (const [minVersion, maxVersion] of [
    [0, 0],
    [6, 7],
  ] as const) {
    assert.equal((await ask({ minVersion, maxVersion, answer })).bytes, null)
  }
})

test('logBytes, tells what the broker refuses, as a whole or for a directory', async () => {
  const failing = [...RESULTS, directory('/c', [], 56)]
  for (const answer of [
    { throttleTimeMs: 0, errorCode: 42, results: [] },
    { throttleTimeMs: 0, errorCode: 0, results: failing },
  ]) {
    await assert.rejects(ask({ maxVersion: 5, answer }), LoadError)
  }
})
