/** A broker with few file descriptors: partitions by the thousand, and connections without end. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { type TestBroker, withBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  PRODUCE_BY_NAME,
  produceBody,
  readPartition,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

/** Both limits: Node raises the soft one to the hard one. */
const limited = (files: number): string[] => ['sh', '-c', `ulimit -n ${files} && exec "$@"`, 'sh']
const TIERS = ['auto', 'portable']

function openDescriptors(broker: TestBroker): number {
  return readdirSync(`/proc/${broker.pid}/fd`).length
}

describe('a broker with few descriptors', () => {
  test('writes and reads many more partitions than it may open files', () =>
    withBroker({ shards: 2, runWith: limited(300) }, async (broker) => {
      const partitionCount = 600
      const perRequest = 300
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'wide', partitions: partitionCount })
      for (let round = 0; round < 2; round++) {
        for (let first = 0; first < partitionCount; first += perRequest) {
          const parts = Array.from({ length: perRequest }, (_, i) => {
            return { topic: 'wide', partition: first + i, records: batchOf() }
          })
          const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, produceBody(parts))
          for (const { errorCode, baseOffset } of answer.responses[0]!.partitionResponses) {
            assert.deepEqual([errorCode, baseOffset], [ErrorCode.NONE, round])
          }
        }
        assert.ok(openDescriptors(broker) < 300)
      }
      for (let partition = 0; partition < partitionCount; partition += 17) {
        assert.equal((await readPartition(client, { topic: 'wide', partition })).length, 2)
      }
      assert.doesNotMatch(broker.output(), /EMFILE|offline/)
      client.close()
    }))

  for (const tier of TIERS) {
    test(`takes no more connections than it has room for, and goes on (${tier})`, () => {
      const set = { 'millrace.native.tier': tier }
      return withBroker({ shards: 1, runWith: limited(256), set }, async (broker) => {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: 'narrow', partitions: 200 })
        const sockets = Array.from({ length: 600 }, () => open(broker.port))
        const doors = [Number(new URL(broker.httpUrl).port), broker.port]
        for (let i = 0; i < 600; i++) sockets.push(open(doors[i % 2] as number))
        // Files can be opened all the while.
        for (let partition = 0; partition < 200; partition++) {
          await appendOk(client, { topic: 'narrow', partition }, batchOf())
        }
        assert.match(broker.output(), /too many connections|refuses connections/)
        for (const socket of sockets) socket.destroy()
        const later = await openAtLast(broker)
        await appendOk(later, { topic: 'narrow', partition: 0 }, batchOf())
        const ready = await fetch(`${broker.httpUrl}/health/ready`)
        assert.equal(ready.status, 200)
        assert.doesNotMatch(broker.output(), /offline/)
        later.close()
        client.close()
      })
    })
  }
})

function open(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  return socket
}

/** A client that the broker answers: those before it may still be in its backlog. */
async function openAtLast(broker: TestBroker): Promise<RawClient> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      const client = await RawClient.open(broker.port)
      await client.request(ApiKey.API_VERSIONS, 0, {})
      return client
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw new Error('no connection is served again')
}
