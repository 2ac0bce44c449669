/** A broker in a small memory cgroup: it starts, says what it chose, and no client can end it. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { MemoryGroup, whyNoMemoryGroups } from '../../bench/lib/memory-group.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker } from '../support/broker.ts'
import { runCommand } from '../support/command.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  FETCH_BY_NAME,
  fetchBody,
  PRODUCE_BY_NAME,
  produceBody,
  readPartition,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const MIB = 1024 * 1024
const reason = whyNoMemoryGroups(undefined)
const skip = reason === null ? false : `SKIPPED: ${reason}`
const TO = { topic: 'events', partition: 0 }

/** A group, and what makes a command a member of it. */
async function withGroup(
  bytes: number,
  use: (runWith: readonly string[]) => Promise<void>,
): Promise<void> {
  const group = MemoryGroup.create(`millrace-test-${process.pid}-${bytes}`, bytes)
  assert.ok(typeof group !== 'string', String(group))
  // The flag is that of the command's first line.
  const run = 'node=$1; shift; exec "$node" --max-semi-space-size=64 "$@"'
  const script = `echo $$ > ${group.membersFile} && ${run}`
  try {
    await use(['sh', '-c', script, 'sh'])
  } finally {
    await group.remove()
  }
}

/** Half a request of a megabyte, and then nothing. */
function hoard(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  const request = Buffer.alloc(500_000)
  request.writeInt32BE(1_000_000)
  socket.write(request)
  return socket
}

/** Requests by the hundred, whose answers nobody reads. */
async function flood(port: number, value: string): Promise<RawClient> {
  const client = await RawClient.open(port)
  client.socket.pause()
  client.closed.catch(() => {})
  const partitions = [{ partition: 0, fetchOffset: 0 }]
  const answers: Promise<unknown>[] = []
  for (let i = 0; i < 12; i++) {
    const records = batchOf({ values: [value] })
    const produce = produceBody([{ ...TO, records }])
    answers.push(client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, produce))
    answers.push(
      client.request(ApiKey.FETCH, FETCH_BY_NAME, fetchBody({ topic: TO.topic, partitions })),
    )
    answers.push(client.request(ApiKey.METADATA, 12, { topics: null }))
  }
  for (const answer of answers) answer.catch(() => {})
  return client
}

test('a broker in 256 MiB survives clients that hoard memory and do not read', { skip }, () =>
  withGroup(256 * MIB, async (runWith) => {
    const environment = { MILLRACE_CHECK_MEMORY: '0' }
    const broker = await startBroker({ shards: 1, runWith, environment })
    const sockets: Socket[] = []
    const clients: RawClient[] = []
    try {
      assert.match(broker.output(), /256 MiB of memory may be used: 54 MiB for requests, 18 MiB/)
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: TO.topic, partitions: 1 })
      await createTopic(client, { name: 'many', partitions: 1000 })
      const value = 'v'.repeat(900_000)
      for (let i = 0; i < 200; i++) sockets.push(hoard(broker.port))
      for (let i = 0; i < 16; i++) clients.push(await flood(broker.port, value))
      for (let i = 0; i < 50; i++) {
        const live = await fetch(`${broker.httpUrl}/metrics`)
        assert.equal(live.status, 200)
        await live.text()
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      for (const one of clients) one.close()
      for (const one of sockets) one.destroy()
      for (let i = 0; i < 100; i++) await appendOk(client, TO, batchOf({ values: [value] }))
      assert.ok((await readPartition(client, TO)).length >= 100)
      client.close()
      await broker.stop()
    } finally {
      for (const one of clients) one.close()
      for (const one of sockets) one.destroy()
      await broker.kill()
      broker.cleanUp()
    }
  }),
)

test('a cgroup too small for a broker refuses to start, and says what it needs', { skip }, () =>
  withGroup(100 * MIB, async (runWith) => {
    const args = ['start', '--kafka', '127.0.0.1:0', '--http', 'off', '--shards', '1']
    const result = await runCommand(args, {}, runWith)
    assert.equal(result.code, 2, result.output)
    assert.match(result.output, /100 MiB of memory are too little: a broker with 1 shard needs/)
  }),
)
