/** Slow, stopped and greedy WebSocket clients: bounded memory, and others are served. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { type TestBroker, withBroker } from '../support/broker.ts'
import { WebSocketTestClient } from '../support/websocket-client.ts'

const TOPIC = 'hostile'
const MB = 1e6

function residentBytes(pid: number): number {
  const line = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)
  return Number(line?.[1]) * 1024
}

async function withTopic(broker: TestBroker): Promise<WebSocketTestClient> {
  const client = await WebSocketTestClient.open(broker.httpUrl)
  const at = { partitions: 3, replicationFactor: -1, configs: {} }
  await client.ask('done', { type: 'createTopic', id: client.nextId(), name: TOPIC, ...at })
  client.send({ type: 'requestCredits', bytes: 4 * MB })
  await client.takeType('credits')
  return client
}

async function produce(client: WebSocketTestClient, partition: number, bytes: number) {
  const builder = new BatchBuilder()
  builder.append(1_700_000_000_000, null, new Uint8Array(bytes))
  const batch = builder.buildSync()
  const id = client.nextId()
  const partitions: [string, number, number][] = [[TOPIC, partition, batch.length]]
  const answer = await client.ask('produced', { type: 'produce', id, acks: 1, partitions }, batch)
  assert.equal(answer.partitions[0]?.[0], 0)
}

/** Two messages, each when there are credits for it; asks again when it has lost some. Closes. */
async function produceTwice(client: WebSocketTestClient, batch: Uint8Array): Promise<void> {
  const partitions: [string, number, number][] = [[TOPIC, 0, batch.length]]
  const cost = batch.length + 1024 // With an envelope, and what each message costs beside.
  let credits = client.hello.credits
  client.send({ type: 'requestCredits', bytes: 2 * cost })
  for (let sent = 0; sent < 2; sent++) {
    while (credits < cost) {
      const { message } = await client.take(({ message: { type } }) => {
        return type === 'credits' || type === 'recall'
      })
      if (message.type === 'credits') credits += message.bytes
      if (message.type !== 'recall') continue
      const bytes = Math.min(message.bytes, credits)
      credits -= bytes
      client.send({ type: 'yieldCredits', bytes })
      client.send({ type: 'requestCredits', bytes: 2 * cost })
    }
    const id = client.nextId()
    const answer = await client.ask(
      'produced',
      { type: 'produce', id, acks: -1, partitions },
      batch,
    )
    assert.equal(answer.partitions[0]?.[0], 0)
    credits -= answer.kept ?? 0
    if (answer.kept !== undefined) client.send({ type: 'requestCredits', bytes: 2 * cost })
  }
  await client.close() // It would have to answer recalls.
}

/** A handshake and silence. */
function openSilently(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', reject)
    socket.once('data', () => resolve(socket.pause()))
    socket.write(
      [
        'GET /ws HTTP/1.1',
        'Host: 127.0.0.1',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Protocol: millrace.v1',
        '\r\n',
      ].join('\r\n'),
    )
  })
}

for (const engine of ['native', 'uws', 'node']) {
  const connections = engine === 'native' ? 5000 : 1500
  describe(`hostile clients of millrace.v1 on ${engine}`, () => {
    const set = { 'millrace.http.engine': engine }

    test(`${connections} idle connections cost little, and others are served`, async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        const port = Number(new URL(broker.httpUrl).port)
        const before = residentBytes(broker.pid)
        const idle: Socket[] = []
        while (idle.length < connections) {
          const some = Array.from({ length: 250 }, () => openSilently(port))
          idle.push(...(await Promise.all(some)))
          await produce(client, 0, 1000)
        }
        const perConnection = (residentBytes(broker.pid) - before) / idle.length
        assert.ok(perConnection < 40_000, `${perConnection} bytes for each idle connection`)
        for (const socket of idle) socket.destroy()
        await produce(client, 0, 1000)
        await client.close()
      })
    })

    test('64 producers of 1 MB messages, more than there are credits for, all get theirs', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        const builder = new BatchBuilder()
        builder.append(1_700_000_000_000, null, new Uint8Array(MB))
        const batch = builder.buildSync()
        const producers = await Promise.all(
          Array.from({ length: 64 }, () => WebSocketTestClient.open(broker.httpUrl)),
        )
        await Promise.all(producers.map((one) => produceTwice(one, batch)))
        await client.close()
      })
    })

    test('a consumer that stops reading, costs a bounded amount and slows only itself', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        for (let i = 0; i < 60; i++) await produce(client, 0, 900_000)
        const before = residentBytes(broker.pid)
        const stopped: WebSocketTestClient[] = []
        for (let i = 0; i < 20; i++) {
          const slow = await WebSocketTestClient.open(broker.httpUrl)
          slow.socket.pause()
          for (let subscription = 0; subscription < 10; subscription++) {
            const at = { topic: TOPIC, partition: 0, offset: 0, credits: 25 * MB }
            slow.send({ type: 'subscribe', id: subscription, subscription, ...at })
          }
          stopped.push(slow)
        }
        // Another consumer gets everything meanwhile, and a producer is acknowledged.
        const reader = await WebSocketTestClient.open(broker.httpUrl)
        const at = { topic: TOPIC, partition: 0, offset: 0, credits: 200 * MB }
        await reader.ask('subscribed', { type: 'subscribe', id: 1, subscription: 1, ...at })
        for (let seen = 0; seen < 54 * MB; )
          seen += (await reader.takeType('batches')).payload.length
        await produce(client, 1, 1000)
        const grown = residentBytes(broker.pid) - before
        // 20 clients with 250 MB of credits each; buffers, the system's apart, hold 4 MiB of them:
        // together more than the shard's memory for reads, which they must not keep.
        assert.ok(grown < 250 * MB, `${Math.round(grown / MB)} MB more`)
        for (const { socket } of stopped) socket.terminate()
        await reader.close()
        await client.close()
      })
    })

    test('many subscriptions to batches larger than they ask for, all come, in time', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        await produce(client, 0, 900_000)
        const reader = await WebSocketTestClient.open(broker.httpUrl)
        reader.socket.pause()
        for (let subscription = 0; subscription < 60; subscription++) {
          const at = { topic: TOPIC, partition: 0, offset: 0, credits: 1, maxBytes: 1 }
          reader.send({ type: 'subscribe', id: subscription, subscription, ...at })
        }
        await produce(client, 1, 1000)
        reader.socket.resume()
        for (let seen = 0; seen < 60; seen++) await reader.takeType('batches')
        await reader.close()
        await client.close()
      })
    })

    test('a client that pauses under small pushes, gets the rest when it reads on', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        const reader = await WebSocketTestClient.open(broker.httpUrl)
        const at = { topic: TOPIC, partition: 0, offset: 0, credits: 200 * MB, maxBytes: 8 * MB }
        await reader.ask('subscribed', { type: 'subscribe', id: 1, subscription: 1, ...at })
        reader.socket.pause()
        for (let i = 0; i < 1500; i++) await produce(client, 0, 10_000)
        reader.socket.resume()
        for (let seen = 0; seen < 15 * MB; )
          seen += (await reader.takeType('batches')).payload.length
        await reader.close()
        await client.close()
      })
    })

    test('a client that fetches and does not read, costs a bounded amount', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        for (let i = 0; i < 40; i++) await produce(client, i % 3, 900_000)
        const before = residentBytes(broker.pid)
        const partitions = [0, 1, 2].map((index): [string, number, number, number] => {
          return [TOPIC, index, 0, 30 * MB]
        })
        for (let i = 0; i < 12; i++) {
          const slow = await WebSocketTestClient.open(broker.httpUrl)
          slow.socket.pause()
          const at = { maxBytes: 50 * MB, minBytes: 1, maxWaitMs: 0, partitions }
          slow.send({ type: 'fetch', id: 1, ...at })
        }
        await produce(client, 1, 1000)
        const at = { maxBytes: 50 * MB, minBytes: 1, maxWaitMs: 0, partitions }
        await client.ask('fetched', { type: 'fetch', id: client.nextId(), ...at })
        const grown = residentBytes(broker.pid) - before
        assert.ok(grown < 120 * MB, `${Math.round(grown / MB)} MB more`)
        await client.close()
      })
    })

    test('a message that never ends, and a client that goes within one, hold nobody up', async () => {
      await withBroker({ set }, async (broker) => {
        const client = await withTopic(broker)
        const port = Number(new URL(broker.httpUrl).port)
        const before = residentBytes(broker.pid)
        const halves: Socket[] = []
        for (let i = 0; i < 200; i++) {
          const socket = await openSilently(port)
          // A masked binary frame of a million declared bytes, of which a thousand come.
          const header = Buffer.alloc(14)
          header.set([0x82, 0x80 | 127])
          header.writeBigUInt64BE(1_000_000n, 2)
          socket.write(Buffer.concat([header, Buffer.alloc(1000)]))
          halves.push(socket)
        }
        await produce(client, 0, 1000)
        const grown = residentBytes(broker.pid) - before
        assert.ok(grown < 60 * MB, `${Math.round(grown / MB)} MB for 200 declared MB`)
        for (const socket of halves) socket.destroy()
        await produce(client, 0, 1000)
        await client.close()
      })
    })
  })
}
