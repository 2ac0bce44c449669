/**
 * One group through all doors: members of kafkajs, of the library over WebSocket and over REST
 * come, go and crash, the broker is killed: nobody has a partition that somebody else has, every
 * event is processed, and what is committed never goes back.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { type Consumer, Kafka, logLevel } from 'kafkajs'
import {
  Committed,
  DeletedGroup,
  Group,
  Groups,
  Left,
  Polled,
  ResetDone,
  Subscribed,
} from '../../src/gateway/rest/group-shapes.ts'
import { type Client, createClient, type GroupConsumer } from '../../src/index.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { JSON_HEADERS, Rest } from '../support/rest.ts'
import { skipUnless } from './clients/client.ts'
import { kcat } from './clients/kcat.ts'

const PARTITIONS = 6
const SET = {
  'group.initial.rebalance.delay.ms': '100',
  'group.min.session.timeout.ms': '1000',
  'offsets.topic.num.partitions': '4',
}
/** Until then something that must happen has happened; nothing is asserted of how long it takes. */
const WAIT_MS_MAX = 60_000

let broker: TestBroker
let client: Client
let rest: Rest

before(async () => {
  broker = await startBroker({ set: SET })
  client = connect()
  rest = new Rest(broker.httpUrl)
})

after(async () => {
  await client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

function wsUrl(): string {
  return `${broker.httpUrl.replace('http', 'ws')}/ws`
}

function connect(): Client {
  return createClient({ url: wsUrl(), reconnectMaxMs: 500 })
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX
  while (!(await holds())) {
    assert(performance.now() < end, `did not happen: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function produce(topic: string, first: number, count: number): Promise<void> {
  await using producer = client.producer()
  const numbers = Array.from({ length: count }, (_, i) => String(first + i))
  await Promise.all(numbers.map((value) => producer.send({ topic, key: value, value })))
}

/** What one member has seen, whatever door it came through. */
interface Member {
  readonly seen: string[]
  /** Partitions that it has now. */
  assigned: readonly number[]
  stop(): Promise<void>
}

class KafkaMember implements Member {
  readonly seen: string[] = []
  assigned: readonly number[] = []
  readonly #consumer: Consumer

  constructor(groupId: string) {
    const kafka = new Kafka({
      brokers: [broker.bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
    })
    const times = { sessionTimeout: 3000, rebalanceTimeout: 5000, heartbeatInterval: 200 }
    this.#consumer = kafka.consumer({ groupId, ...times })
    this.#consumer.on('consumer.group_join', ({ payload }) => {
      this.assigned = Object.values(payload.memberAssignment).flat()
    })
    this.#consumer.on('consumer.rebalancing', () => {
      this.assigned = []
    })
  }

  async run(topic: string): Promise<this> {
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topics: [topic], fromBeginning: true })
    await this.#consumer.run({
      autoCommitInterval: 100,
      eachMessage: async ({ message }) => {
        this.seen.push(String(message.value))
      },
    })
    return this
  }

  async stop(): Promise<void> {
    await this.#consumer.disconnect()
    this.assigned = []
  }
}

class LibraryMember implements Member {
  readonly seen: string[] = []
  readonly consumer: GroupConsumer
  readonly #done: Promise<void>

  constructor(group: string, topic: string, concurrency: number) {
    this.consumer = client.consumer({
      group,
      topics: [topic],
      from: 'earliest',
      autoCommitIntervalMs: 100,
      sessionTimeoutMs: 3000,
      rebalanceTimeoutMs: 5000,
    })
    this.#done = concurrency === 0 ? this.#iterate() : this.#run(concurrency)
  }

  get assigned(): number[] {
    return this.consumer.assignments().map(({ partition }) => partition)
  }

  async #iterate(): Promise<void> {
    for await (const { value } of this.consumer) this.seen.push(String(Buffer.from(value!)))
  }

  async #run(concurrency: number): Promise<void> {
    const eachRecord = ({ value }: { value: Uint8Array | null }): void => {
      this.seen.push(String(Buffer.from(value!)))
    }
    await this.consumer.run({ concurrency, eachRecord })
  }

  async stop(): Promise<void> {
    await this.consumer.close()
    await this.#done
  }
}

class RestPoller implements Member {
  readonly seen: string[] = []
  assigned: readonly number[] = []
  #isStopped = false
  #url = ''
  readonly #done: Promise<void>

  constructor(group: string, topic: string) {
    this.#done = this.#run(group, topic)
  }

  async #run(group: string, topic: string): Promise<void> {
    while (!this.#isStopped) {
      try {
        if (this.#url === '') await this.#subscribe(group, topic)
        await this.#poll()
      } catch {
        // The broker is not there, or does not know the member any more.
        this.#url = ''
        this.assigned = []
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  async #subscribe(group: string, topic: string): Promise<void> {
    const times = { sessionTimeoutMs: 3000, rebalanceTimeoutMs: 5000 }
    const body = { topics: [topic], from: 'earliest', autoCommit: true, format: 'text', ...times }
    const path = `/consumer-groups/${group}/subscribe`
    const { url, assignment } = await rest.take(Subscribed, { method: 'POST', path, body })
    this.#url = url
    this.assigned = assignment.map(({ partition }) => partition)
  }

  async #poll(): Promise<void> {
    const polled = await rest.take(Polled, { method: 'GET', path: `${this.#url}?wait_ms=300` })
    if (polled.rebalancing) this.assigned = []
    if (polled.assignment) this.assigned = polled.assignment.map(({ partition }) => partition)
    this.seen.push(...polled.events.map(({ value }) => String(value)))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
    const path = this.#url.replace(/\/events$/, '')
    if (path !== '') await rest.ask('DELETE', path)
    this.assigned = []
  }
}

function isDivided(members: readonly Member[]): boolean {
  const all = members.flatMap(({ assigned }) => assigned)
  return all.length === PARTITIONS && new Set(all).size === PARTITIONS
}

async function committed(group: string): Promise<Map<number, number>> {
  const path = `/consumer-groups/${group}`
  // After a start the coordinator loads its groups, and says so meanwhile.
  const isLoaded = async (): Promise<boolean> => (await rest.ask('GET', path)).status !== 503
  await until('the coordinator has loaded', isLoaded)
  const { offsets } = await rest.take(Group, { method: 'GET', path })
  return new Map(
    offsets.map(({ partition, committedOffset }) => [partition, committedOffset ?? -1]),
  )
}

test('a group through all doors, members and the broker crash, processes every event', async () => {
  const topic = 'mixed'
  await client.admin().createTopic({ name: topic, partitions: PARTITIONS })
  await produce(topic, 0, 300)
  const iterating = new LibraryMember('mix', topic, 0)
  await until('one member has all', () => isDivided([iterating]))
  const kafka = await new KafkaMember('mix').run(topic)
  const running = new LibraryMember('mix', topic, 3)
  const polling = new RestPoller('mix', topic)
  const members: Member[] = [iterating, kafka, running, polling]
  const seen = (): Set<string> => new Set(members.flatMap((member) => member.seen))
  await until('four share', () => isDivided(members) && members.every((m) => m.assigned.length > 0))
  await produce(topic, 300, 300)
  await until('600 events are processed', () => seen().size === 600)

  await iterating.stop()
  await until('three share', () => isDivided([kafka, running, polling]))
  await until('all is committed', async () => {
    const offsets = await committed('mix')
    return [...offsets.values()].reduce((sum, offset) => sum + offset, 0) === 600
  })
  const atBest = await committed('mix')

  await broker.kill()
  const { dataDirs, port } = broker
  const httpPort = Number(new URL(broker.httpUrl).port)
  broker = await startBroker({ set: SET, dataDirs, port, httpPort })
  for (const [partition, offset] of await committed('mix')) {
    assert(offset >= atBest.get(partition)!, `partition ${partition} went back`)
  }
  await produce(topic, 600, 300)
  await until('900 events are processed', () => seen().size === 900)
  await until('three share again', () => isDivided([kafka, running, polling]))
  await Promise.all([kafka.stop(), running.stop(), polling.stop()])
  const path = '/consumer-groups/mix'
  await until('nobody is left', async () => {
    const { state } = await rest.take(Group, { method: 'GET', path })
    return state === 'Empty'
  })
  const { lag } = await rest.take(Group, { method: 'GET', path })
  assert.equal(lag, 0)
  const { groups } = await rest.take(Groups, { method: 'GET', path: '/consumer-groups' })
  assert(groups.some(({ group }) => group === 'mix'))
  await rest.take(DeletedGroup, { method: 'DELETE', path })
  assert.equal(await rest.refusal('GET', path), '404 GROUP_ID_NOT_FOUND')
})

test('a client that is killed leaves at once, and another one goes on where it had committed', async () => {
  const topic = 'crash'
  await client.admin().createTopic({ name: topic, partitions: PARTITIONS })
  await produce(topic, 0, 200)
  const crashing = startClient(topic)
  try {
    await until('it has some', () => crashing.lines().length >= 20)
    const other = new LibraryMember('crashing', topic, 2)
    crashing.process.kill('SIGKILL')
    const seen = (): Set<string> => new Set([...crashing.lines(), ...other.seen])
    await until('all are processed', () => seen().size === 200)
    await until('it has all', () => isDivided([other]))
    await other.stop()
  } finally {
    if (crashing.process.exitCode === null && crashing.process.signalCode === null) {
      crashing.process.kill('SIGKILL')
      await once(crashing.process, 'exit')
    }
  }
})

/** A process with the library that writes every value on a line of its own, slowly. */
function startClient(topic: string): { process: ChildProcess; lines(): string[] } {
  const library = new URL('../../src/index.js', import.meta.url).href
  const script = `
    const { createClient } = await import(${JSON.stringify(library)})
    const client = createClient({ url: ${JSON.stringify(wsUrl())} })
    const consumer = client.consumer({
      group: 'crashing', topics: [${JSON.stringify(topic)}], from: 'earliest', autoCommitIntervalMs: 50,
    })
    for await (const { value } of consumer) {
      process.stdout.write(new TextDecoder().decode(value) + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  return { process: child, lines: () => output.split('\n').slice(0, -1) }
}

test('librdkafka and a REST member share a group', {
  skip: skipUnless(kcat.available()),
}, async () => {
  const topic = 'with-kcat'
  await client.admin().createTopic({ name: topic, partitions: PARTITIONS })
  const polling = new RestPoller('rd-mix', topic)
  await until('it has all', () => isDivided([polling]))
  const options = ['auto.offset.reset=earliest', 'session.timeout.ms=3000']
  const sets = options.flatMap((option) => ['-X', option])
  const args = ['-b', broker.bootstrap, '-u', '-G', 'rd-mix', ...sets, topic]
  const child = spawn('kcat', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  try {
    await until('they share', () => polling.assigned.length === PARTITIONS / 2)
    await produce(topic, 0, 300)
    const lines = (): string[] => output.split('\n').slice(0, -1)
    const seen = (): Set<string> => new Set([...polling.seen, ...lines()])
    await until('300 are processed', () => seen().size === 300)
    assert(lines().length > 0 && polling.seen.length > 0, 'by both')
  } finally {
    child.kill()
    await once(child, 'exit')
    await polling.stop()
  }
})

describe('REST', () => {
  const topic = 'rest-groups'

  before(async () => {
    await client.admin().createTopic({ name: topic, partitions: 2 })
    await produce(topic, 0, 40)
  })

  function subscribe(group: string, more: object = {}) {
    const body = { topics: [topic], from: 'earliest', format: 'text', ...more }
    const path = `/consumer-groups/${group}/subscribe`
    return rest.take(Subscribed, { method: 'POST', path, body })
  }

  test('a member polls, commits and leaves; the next one goes on there', async () => {
    const { url, memberId, assignment, rebalancing } = await subscribe('one')
    assert.deepEqual([assignment.length, rebalancing], [2, false])
    const values = new Set<unknown>()
    const offsets = new Map<number, number>()
    while (values.size < 40) {
      const { events } = await rest.take(Polled, {
        method: 'GET',
        path: `${url}?max_events=7&wait_ms=1000`,
      })
      assert(events.length <= 7)
      for (const { value, partition, offset } of events) {
        values.add(value)
        offsets.set(partition, offset + 1)
      }
    }
    const commit = [...offsets].map(([partition, offset]) => ({ topic, partition, offset }))
    const path = '/consumer-groups/one/offsets'
    await rest.take(Committed, { method: 'PUT', path, body: { memberId, offsets: commit } })
    const foreign = {
      method: 'PUT',
      headers: JSON_HEADERS,
      body: JSON.stringify({ offsets: commit }),
    }
    assert.equal(await rest.refusal('PUT', path, foreign), '409 NON_EMPTY_GROUP')
    const member = url.replace(/\/events$/, '')
    await rest.take(Left, { method: 'DELETE', path: member })
    assert.equal(await rest.refusal('GET', url), '404 UNKNOWN_MEMBER_ID')
    const next = await subscribe('one')
    assert.deepEqual(
      new Map(next.assignment.map((at) => [at.partition, at.committedOffset])),
      offsets,
    )
    await rest.ask('DELETE', next.url.replace(/\/events$/, ''))
  })

  test('a member that stops polling is put out', async () => {
    const first = await subscribe('idle', { sessionTimeoutMs: 1000, rebalanceTimeoutMs: 1000 })
    assert.equal(first.assignment.length, 2)
    await until('nobody is left', async () => {
      const { state } = await rest.take(Group, { method: 'GET', path: '/consumer-groups/idle' })
      return state === 'Empty'
    })
    assert.equal(await rest.refusal('GET', first.url), '404 UNKNOWN_MEMBER_ID')
  })

  test('offsets are reset: to the ends, a time, a distance, offsets; with members only by force', async () => {
    const path = '/consumer-groups/reset/offsets/reset'
    const reset = async (body: object): Promise<number[]> => {
      const { offsets } = await rest.take(ResetDone, { method: 'POST', path, body })
      return offsets.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset)
    }
    const ends = await reset({ to: 'latest', topics: [topic] })
    assert.equal(ends[0]! + ends[1]!, 40)
    assert.deepEqual(await reset({ to: { shift: -3 } }), [ends[0]! - 3, ends[1]! - 3])
    assert.deepEqual(await reset({ to: { shift: -1000 }, dryRun: true }), [0, 0])
    assert.deepEqual(await reset({ to: { timestamp: 0 } }), [0, 0])
    const offsets = [{ topic, partition: 1, offset: 2 }]
    assert.deepEqual(await reset({ to: { offsets } }), [2])
    const { lag } = await rest.take(Group, { method: 'GET', path: '/consumer-groups/reset' })
    assert.equal(lag, 38)

    const seen: number[] = []
    const consumer = client.consumer({ group: 'reset', topics: [topic] })
    const loop = (async () => {
      for await (const { partition, offset } of consumer) if (partition === 1) seen.push(offset)
    })()
    await until('it has read', () => seen.includes(ends[1]! - 1))
    const init = { headers: JSON_HEADERS, body: JSON.stringify({ to: 'earliest' }) }
    assert.equal(await rest.refusal('POST', path, init), '409 NON_EMPTY_GROUP')
    assert.equal(seen[0], 2)
    assert.deepEqual(await reset({ to: 'earliest', force: true }), [0, 0])
    await until('it begins anew', () => seen.includes(0))
    await consumer.close()
    await loop
  })
})
