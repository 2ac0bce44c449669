/** What a client of the WebSocket and REST doors sees of three real brokers. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Client, type ClientOptions } from '../../src/client/client.ts'
import { nodePlatform } from '../../src/client/platform-node.ts'
import { type TestCluster, withCluster } from '../support/cluster.ts'

const PARTITIONS = 6
const decoder = new TextDecoder()

function urlOf(cluster: TestCluster, id: number): string {
  return `${cluster.brokers.get(id)?.httpUrl.replace('http:', 'ws:')}/ws`
}

function clientOf(url: string | readonly string[], options: Partial<ClientOptions> = {}): Client {
  return new Client({ url, requestTimeoutMs: 10_000, ...options }, nodePlatform)
}

async function createTopic(client: Client, name: string): Promise<void> {
  await client.admin().createTopic({
    name,
    partitions: PARTITIONS,
    replicationFactor: 3,
    configs: { 'min.insync.replicas': '2' },
  })
}

/** The node that leads a partition, asked until there is one. */
async function leaderOf(client: Client, topic: string, partition: number): Promise<number> {
  for (;;) {
    const [info] = await client.admin().listTopics({ topics: [topic] })
    const leader = info?.partitions.find((one) => one.partition === partition)?.leader ?? -1
    if (leader >= 0) return leader
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Reads every partition from its beginning until `count` events have come. */
async function readAll(
  client: Client,
  topic: string,
  count: number,
): Promise<Map<number, string[]>> {
  const consumer = client.consumer({ topics: [topic], from: 'earliest' })
  const read = new Map<number, string[]>()
  let left = count
  for await (const event of consumer) {
    const list = read.get(event.partition) ?? []
    list.push(decoder.decode(event.value ?? undefined))
    read.set(event.partition, list)
    if (--left === 0) break
  }
  return read
}

test('a client that knows one broker uses all of them', { timeout: 120_000 }, async () => {
  await withCluster({ set: { 'group.initial.rebalance.delay.ms': '100' } }, async (cluster) => {
    for (const followLeaders of [true, false]) {
      const topic = followLeaders ? 'followed' : 'forwarded'
      await using client = clientOf(urlOf(cluster, 1), { followLeaders })
      await createTopic(client, topic)
      const producer = client.producer()
      const sent = await Promise.all(
        Array.from({ length: 600 }, (_, i) =>
          producer.send({ topic, partition: i % PARTITIONS, value: String(i) }),
        ),
      )
      assert.equal(sent.length, 600)
      const read = await readAll(client, topic, 600)
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const wanted = Array.from({ length: 100 }, (_, i) => String(i * PARTITIONS + partition))
        assert.deepEqual(read.get(partition), wanted, `${topic}-${partition}`)
      }
      const offsets = await client
        .admin()
        .listOffsets(Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition })))
      assert.deepEqual(
        offsets.map(({ offset }) => offset),
        Array.from({ length: PARTITIONS }, () => 100),
      )
      assert.equal(await client.admin().deleteRecords({ topic, partition: 3 }, 40), 40)

      const got = new Set<string>()
      for (const group of ['one', 'two', 'three', 'four']) {
        const member = client.consumer({ group, topics: [topic], from: 'earliest' })
        let left = 560
        for await (const event of member) {
          got.add(`${event.partition}:${event.offset}`)
          if (--left === 0) break
        }
      }
      assert.equal(got.size, 560)
    }
  })
})

type Json = Record<string, unknown>

/** What it is told to do again in a second it does again. */
async function rest(base: string, path: string, body?: unknown, method?: string): Promise<Json> {
  const verb = method ?? (body === undefined ? 'GET' : 'POST')
  const untilMs = Date.now() + 30_000
  for (;;) {
    const answer = await fetch(`${base}${path}`, {
      method: verb,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    })
    const text = await answer.text()
    if (answer.status === 503 && Date.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      continue
    }
    assert.ok(answer.ok, `${verb} ${path}: ${answer.status} ${text}`)
    return JSON.parse(text)
  }
}

test('a REST client that knows one broker uses all of them', { timeout: 120_000 }, async () => {
  await withCluster({ set: { 'group.initial.rebalance.delay.ms': '100' } }, async (cluster) => {
    const base = cluster.brokers.get(2)?.httpUrl as string
    const topic = 'rested'
    await rest(base, '/topics', { name: topic, partitions: PARTITIONS, replicationFactor: 3 })
    const events = Array.from({ length: 300 }, (_, i) => ({ key: String(i), value: i }))
    const produced = await rest(base, `/topics/${topic}/produce`, { events })
    const offsets = produced.offsets as { partition: number; offset: number; error?: string }[]
    assert.equal(offsets.length, 300)
    assert.deepEqual(
      offsets.filter(({ error }) => error !== undefined),
      [],
    )
    const described = await rest(base, `/topics/${topic}`)
    const partitions = described.partitions as { leader: number; highWatermark: number }[]
    assert.ok(new Set(partitions.map(({ leader }) => leader)).size > 1)
    let count = 0
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const wanted = offsets.flatMap((at, i) => (at.partition === partition ? [i] : []))
      assert.equal(partitions[partition]?.highWatermark, wanted.length)
      const page = await rest(base, `/topics/${topic}/partitions/${partition}/events?wait_ms=5000`)
      const values = (page.events as { value: number }[]).map(({ value }) => value)
      assert.deepEqual(values, wanted)
      count += values.length
    }
    assert.equal(count, 300)

    for (const group of ['a', 'b', 'c', 'd']) {
      const at = `/consumer-groups/${group}`
      const options = { topics: [topic], from: 'earliest', autoCommit: true }
      const member = await rest(base, `${at}/subscribe`, options)
      const seen = new Set<string>()
      while (seen.size < 300) {
        const page = await rest(base, `${member.url}?wait_ms=2000`)
        for (const { partition, offset } of page.events as {
          partition: number
          offset: number
        }[]) {
          seen.add(`${partition}:${offset}`)
        }
      }
      // Until there is something, wherever it is.
      const waiting = rest(base, `${member.url}?wait_ms=20000`)
      await new Promise((resolve) => setTimeout(resolve, 500))
      await rest(base, `/topics/${topic}/produce`, { key: 'late', value: group })
      const page = await waiting
      assert.equal((page.events as unknown[]).length >= 1, true)
      const group_ = await rest(base, at)
      assert.equal(group_.state, 'Stable')
      await rest(base, `${at}/members/${member.memberId}`, undefined, 'DELETE')
      const reset = { to: 'earliest' }
      await rest(base, `${at}/offsets/reset`, reset)
    }
    const listed = await rest(base, '/consumer-groups')
    const names = (listed.groups as { group: string }[]).map(({ group }) => group).sort()
    assert.deepEqual(names, ['a', 'b', 'c', 'd'])
  })
})

test('killing a leader loses, doubles and reorders nothing', { timeout: 180_000 }, async () => {
  await withCluster({ set: { 'broker.session.timeout.ms': '3000' } }, async (cluster) => {
    const topic = 'killed'
    await using client = clientOf([urlOf(cluster, 1), urlOf(cluster, 2), urlOf(cluster, 3)])
    await createTopic(client, topic)
    const consumer = client.consumer({ topics: [topic], from: 'earliest' })
    const read = new Map<number, { offset: number; value: string }[]>()
    let readCount = 0
    let acknowledged = 0
    let isDone = false
    const reading = (async () => {
      for await (const event of consumer) {
        const list = read.get(event.partition) ?? []
        list.push({ offset: event.offset, value: decoder.decode(event.value ?? undefined) })
        read.set(event.partition, list)
        readCount++
        if (isDone && readCount >= acknowledged) break
      }
    })()
    const producer = client.producer({ deliveryTimeoutMs: 60_000 })
    const failures: unknown[] = []
    const pending: Promise<void>[] = []
    let stop = false
    const producing = (async () => {
      for (let i = 0; !stop; i++) {
        const value = String(Math.floor(i / PARTITIONS))
        pending.push(
          producer.send({ topic, partition: i % PARTITIONS, value }).then(
            () => void acknowledged++,
            (error: unknown) => void failures.push(error),
          ),
        )
        if (i % 60 === 59) await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const leader = await leaderOf(client, topic, 0)
    await cluster.brokers.get(leader)?.kill()
    const before = acknowledged
    // What was under way then is acknowledged once the others lead, and so is what comes after it.
    for (let rounds = 0; rounds < 2; rounds++) {
      await Promise.all(pending)
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    stop = true
    await producing
    await Promise.all(pending)
    assert.deepEqual(failures, [])
    assert.ok(acknowledged > before, 'producing goes on')
    // One more, so that the loop looks at its end.
    acknowledged++
    isDone = true
    await producer.send({ topic, partition: 0, value: 'end' })
    await reading
    let total = 0
    for (const [partition, events] of read) {
      total += events.length
      const values = events.map(({ value }) => value).filter((value) => value !== 'end')
      assert.deepEqual(
        values,
        values.map((_, i) => String(i)),
        `${topic}-${partition} is in order`,
      )
      assert.deepEqual(
        events.map(({ offset }) => offset),
        events.map((_, i) => i),
      )
    }
    assert.equal(total, acknowledged)
    await cluster.restart(leader)
  })
})
