/** A broker on a real disk that is full: what clients see, and how they and it get out of it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts'
import { append, batchOf, createTopic, readPartition } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { SmallDisk, whyNoSmallDisks } from '../support/small-disk.ts'

const MIB = 1024 * 1024
const reason = whyNoSmallDisks()
const skip = reason === null ? false : `SKIPPED: ${reason}`
const VALUE = 'v'.repeat(100_000)
const OLD = { topic: 'old', partition: 0 }
const NEW = { topic: 'new', partition: 0 }

async function withSmallDisk(use: (disk: SmallDisk) => Promise<void>): Promise<void> {
  const disk = SmallDisk.memory(24 * MIB)
  try {
    await use(disk)
  } finally {
    disk.remove()
  }
}

async function withClient(
  options: BrokerOptions,
  use: (client: RawClient, broker: TestBroker) => Promise<void>,
  end: 'stop' | 'kill',
): Promise<void> {
  const broker = await startBroker({ shards: 2, ...options })
  try {
    const client = await RawClient.open(broker.port)
    await use(client, broker)
    client.close()
    await broker[end]()
  } catch (error) {
    process.stderr.write(`--- broker output ---\n${broker.output()}\n---\n`)
    throw error
  } finally {
    await broker.kill()
  }
}

/** Appends until the disk is full; returns how many records were acknowledged. */
async function fillWith(client: RawClient, to: { topic: string; partition: number }) {
  for (let count = 0; ; count++) {
    const answer = await append(client, to, batchOf({ values: [VALUE] }))
    if (answer.errorCode === ErrorCode.NONE) continue
    assert.equal(answer.errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
    assert.match(answer.errorMessage ?? '', /takes no writes now: its disk is full \(ENOSPC\)/)
    return count
  }
}

/** Appends one record, again and again, until it is acknowledged. */
async function appendAtLast(client: RawClient, to: { topic: string; partition: number }) {
  for (let tries = 0; tries < 1000; tries++) {
    const answer = await append(client, to, batchOf({ values: [VALUE] }))
    if (answer.errorCode === ErrorCode.NONE) return answer.baseOffset
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('nothing was acknowledged again')
}

async function readyStatus(broker: TestBroker): Promise<unknown> {
  const response = await fetch(`${broker.httpUrl}/health/ready`)
  assert.equal(response.status, 200)
  return ((await response.json()) as { status: string }).status
}

async function untilReadyIs(broker: TestBroker, status: string): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    if ((await readyStatus(broker)) === status) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`/health/ready never said ${status}`)
}

describe('a broker whose disk is full', { skip }, () => {
  for (const tier of ['portable', 'auto']) {
    test(`refuses produce, serves reads, and goes on when there is room (${tier})`, () =>
      withSmallDisk(async (disk) => {
        const set = { 'millrace.native.tier': tier, 'log.segment.bytes': String(2 * MIB) }
        const options = { dataDirs: [disk.path], set }
        await withClient(
          options,
          async (client, broker) => {
            disk.fillUp(8 * MIB)
            await createTopic(client, { name: OLD.topic, partitions: 1 })
            await createTopic(client, { name: NEW.topic, partitions: 1 })
            const count = await fillWith(client, OLD)
            assert.ok(count > 50, String(count))
            assert.equal(await readyStatus(broker), 'degraded')
            const metrics = await (await fetch(`${broker.httpUrl}/metrics`)).text()
            assert.match(metrics, /^millrace_log_directory_short\{directory="[^"]+"\} 1$/m)
            disk.fillUp()
            const refused = await append(client, NEW, batchOf({ values: [VALUE] }))
            assert.equal(refused.errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
            assert.equal((await readPartition(client, OLD)).length, count)
            disk.freeUp()
            assert.equal(await deleteTo(client, OLD, 50), 50)
            assert.equal(await appendAtLast(client, NEW), 0)
            await untilReadyIs(broker, 'ready')
            assert.equal(broker.output().match(/takes no writes/g)?.length, 1)
            assert.match(broker.output(), /takes writes again/)
          },
          'stop',
        )
      }))
  }

  test('starts after kill -9, reads everything, and lets topics and records be deleted', () =>
    withSmallDisk(async (disk) => {
      const set = { 'log.segment.bytes': String(2 * MIB), 'log.segment.delete.delay.ms': '0' }
      const options = { dataDirs: [disk.path], set }
      let count = 0
      await withClient(
        options,
        async (client) => {
          await createTopic(client, { name: OLD.topic, partitions: 1 })
          await createTopic(client, { name: NEW.topic, partitions: 20 })
          for (let partition = 0; partition < 20; partition++) {
            await appendAtLast(client, { topic: NEW.topic, partition })
          }
          count = await fillWith(client, OLD)
          disk.fillUp()
        },
        'kill',
      )
      disk.fillUp()
      // Each start needs a little, and must leave enough for the next one.
      for (let start = 0; start < 3; start++) {
        await withClient(
          options,
          async (client, broker) => {
            assert.equal((await readPartition(client, OLD)).length, count)
            for (let partition = 0; partition < 20; partition++) {
              const records = await readPartition(client, { topic: NEW.topic, partition })
              assert.equal(records.length, 1)
            }
            assert.doesNotMatch(broker.output(), /offline/)
          },
          start === 1 ? 'stop' : 'kill',
        )
        disk.fillUp()
      }
      await withClient(
        options,
        async (client) => {
          assert.equal(await deleteTo(client, OLD, 25), 25)
          assert.equal((await readPartition(client, OLD, 25)).length, count - 25)
          disk.fillUp()
          const topicNames = [NEW.topic]
          const body = { topicNames, timeoutMs: 1000 }
          const deleted = await client.request(ApiKey.DELETE_TOPICS, 5, body)
          assert.equal(deleted.responses[0]!.errorCode, ErrorCode.NONE)
          assert.equal(await appendAtLast(client, OLD), count)
        },
        'stop',
      )
    }))
})

/** DeleteRecords; returns the new log start. */
async function deleteTo(client: RawClient, of: typeof OLD, offset: number): Promise<number> {
  const partitions = [{ partitionIndex: of.partition, offset }]
  const topics = [{ name: of.topic, partitions }]
  const answer = await client.request(ApiKey.DELETE_RECORDS, 2, { topics, timeoutMs: 1000 })
  const partition = answer.topics[0]!.partitions[0]!
  assert.equal(partition.errorCode, ErrorCode.NONE)
  return partition.lowWatermark
}
