/** `millrace cluster …` against brokers that are one cluster: seen, spread, left, and put right. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ExitCode, runProgram } from '../../src/cli/program.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { CLUSTER_SECRET, type TestCluster, withCluster } from '../support/cluster.ts'
import { appendOk, batchOf } from '../support/kafka.ts'
import { freePort } from '../support/ports.ts'
import { RawClient } from '../support/raw-client.ts'

const PARTITIONS = 8
const PATIENCE_MS = 30_000

async function run(cluster: TestCluster, ...args: string[]) {
  const out: string[] = []
  const err: string[] = []
  const streams = { out: (text: string) => out.push(text), err: (text: string) => err.push(text) }
  const code = await runProgram([...args, '-b', cluster.bootstrap], async () => {}, streams)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

async function ok(cluster: TestCluster, ...args: string[]): Promise<string> {
  const { code, out, err } = await run(cluster, ...args)
  assert.equal(code, ExitCode.DONE, `${args.join(' ')}\n${out}\n${err}`)
  return out
}

async function json(cluster: TestCluster, ...args: string[]) {
  return JSON.parse(await ok(cluster, ...args, '--format', 'json'))
}

async function fails(cluster: TestCluster, pattern: RegExp, ...args: string[]): Promise<void> {
  const { code, out, err } = await run(cluster, ...args)
  assert.equal(code, ExitCode.FAILED, out)
  assert.match(`${out}\n${err}`, pattern)
}

async function fourthBroker(cluster: TestCluster): Promise<TestBroker> {
  return startBroker({
    shards: 1,
    set: {
      'node.id': '4',
      'controller.quorum.voters': cluster.controllers,
      'millrace.cluster.listener': `127.0.0.1:${await freePort()}`,
    },
    environment: { MILLRACE_CLUSTER_SECRET: CLUSTER_SECRET },
  })
}

type Counts = { id: number; isFenced: boolean; leaders: number; replicas: number }

async function brokerIn(cluster: TestCluster, id: number): Promise<Counts> {
  const { brokers } = await json(cluster, 'cluster', 'status')
  return brokers.find((one: Counts) => one.id === id)
}

async function seen(cluster: TestCluster): Promise<void> {
  await ok(cluster, 'cluster', 'health', '--wait', '60')
  const status = await json(cluster, 'cluster', 'status')
  assert.deepEqual(
    status.brokers.map((one: Counts) => one.id),
    [1, 2, 3],
  )
  assert.equal(status.partitions, PARTITIONS)
  assert.deepEqual([status.offline, status.underReplicated], [[], []])
  const table = await ok(cluster, 'cluster', 'status')
  assert.match(table, /BROKER +ADDRESS/)
  assert.match(table, /█{16}/)
  const quorum = await json(cluster, 'cluster', 'quorum')
  assert.deepEqual(
    quorum.voters.map((one: { id: number }) => one.id),
    [1, 2, 3],
  )
  assert.match(await ok(cluster, 'cluster', 'rebalance', '--yes'), /Nothing has to move/)
  await ok(cluster, 'config', 'get', 'num.partitions')
  await ok(cluster, 'config', 'set', 'log.retention.ms=-1', '--broker', '2')
  const [set] = await json(cluster, 'config', 'get', '--broker', '2', 'log.retention.ms')
  assert.equal(set.source, 'broker')
}

async function untilFenced(cluster: TestCluster, id: number, isFenced: boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while ((await brokerIn(cluster, id))?.isFenced !== isFenced) {
    assert.ok(performance.now() < deadline, `broker ${id} in time`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function spreadOntoEmptyBroker(cluster: TestCluster): Promise<void> {
  await untilFenced(cluster, 4, false)
  const plan = await json(cluster, 'cluster', 'rebalance', '--dry-run')
  assert.equal(plan.done, false)
  assert.equal(plan.copies, (PARTITIONS * 3) / 4)
  assert.equal((await brokerIn(cluster, 4)).replicas, 0)
  await fails(cluster, /Say --yes/, 'cluster', 'rebalance')
  const text = await ok(cluster, 'cluster', 'rebalance', '--yes', '--at-once', '2')
  assert.match(text, /Moved \d+ partitions, 6 replicas copied/)
  const fourth = await brokerIn(cluster, 4)
  assert.deepEqual([fourth.replicas, fourth.leaders], [6, 2])
  await ok(cluster, 'cluster', 'health')
}

async function drainedAndLeft(cluster: TestCluster, fourth: TestBroker): Promise<void> {
  assert.equal((await json(cluster, 'cluster', 'drain', '4')).passedOn, 2)
  const drained = await brokerIn(cluster, 4)
  assert.deepEqual([drained.replicas, drained.leaders], [6, 0])
  await fails(cluster, /has replicas of t-/, 'cluster', 'decommission', '4', '--unregister')
  const text = await ok(cluster, 'cluster', 'decommission', '4', '--yes')
  assert.match(text, /1\. stop its process/)
  assert.equal((await brokerIn(cluster, 4)).replicas, 0)
  await fails(cluster, /stop it first/, 'cluster', 'decommission', '4', '--unregister')
  await fourth.stop()
  await untilFenced(cluster, 4, true)
}

const BATCH_BYTES = 500_000
const BATCHES = 6
/** At this rate the move takes minutes: as long as it is set nothing depends on how fast we are. */
const SLOW = 10_000
const FAST = 1_000_000_000
/** A second of the rate, and one read (replica.fetch.max.bytes) of more than there is. */
const AHEAD = SLOW + 1024 * 1024

async function bytesAt(cluster: TestCluster, id: number, topic: string): Promise<number> {
  const client = await RawClient.open(cluster.brokers.get(id)!.port)
  try {
    const topics = [{ topic, partitions: [0] }]
    const { results } = await client.request(ApiKey.DESCRIBE_LOG_DIRS, 4, { topics })
    const found = results.flatMap((one) => one.topics.flatMap(({ partitions }) => partitions))
    return found.reduce((sum, { partitionSize }) => sum + Number(partitionSize), 0)
  } finally {
    client.close()
  }
}

async function isMoving(cluster: TestCluster): Promise<boolean> {
  return (await json(cluster, 'cluster', 'reassign', '--status')).length > 0
}

/** What limits replication, as its brokers and topics say. */
async function limited(cluster: TestCluster, topic: string): Promise<string[]> {
  const found: string[] = []
  for (const of of [
    ['--broker', '1'],
    ['--broker', '3'],
    ['--topic', topic],
  ]) {
    const values = await json(cluster, 'config', 'get', '--set', ...of)
    const set = values.filter(({ name, source }: { name: string; source: string }) => {
      return name.includes('replication.throttled') && ['broker', 'topic'].includes(source)
    })
    found.push(...set.map(({ name }: { name: string }) => `${of[1]} ${name}`))
  }
  return found
}

/** What a topic has set is known to the broker that is asked a moment later. */
async function untilLimited(cluster: TestCluster, topic: string, count: number): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const found = await limited(cluster, topic)
    if (found.length === count) return
    assert.ok(performance.now() < deadline, `limited: ${found.join()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** One partition comes slowly; another one, between the same brokers, keeps pace meanwhile. */
async function throttled(cluster: TestCluster): Promise<void> {
  for (const [topic, to] of [
    ['slow', '1'],
    ['live', '1,3'],
  ] as const) {
    await ok(cluster, 'topic', 'create', topic, '-p', '1', '-c', 'min.insync.replicas=1')
    await ok(cluster, 'cluster', 'reassign', '--topic', topic, '--to', to, '--yes')
  }
  const client = await RawClient.open(cluster.brokers.get(1)!.port)
  try {
    for (let i = 0; i < BATCHES; i++) {
      await appendOk(
        client,
        { topic: 'slow', partition: 0 },
        batchOf({ values: [randomBytes(BATCH_BYTES)] }),
      )
    }
    const startedMs = performance.now()
    const move = ['--topic', 'slow', '--to', '3', '--yes', '--throttle', String(SLOW)]
    const moved = ok(cluster, 'cluster', 'reassign', ...move)
    while (!(await isMoving(cluster))) await new Promise((resolve) => setTimeout(resolve, 20))
    for (let i = 0; i < 20; i++) {
      // Acknowledged by both of its replicas.
      await appendOk(
        client,
        { topic: 'live', partition: 0 },
        batchOf({ values: [randomBytes(10_000)] }),
      )
    }
    const bytes = await bytesAt(cluster, 3, 'slow')
    const seconds = (performance.now() - startedMs) / 1000
    assert.ok(bytes <= AHEAD + SLOW * seconds, `${bytes} in ${seconds} s`)
    assert.equal(await isMoving(cluster), true)
    await untilLimited(cluster, 'slow', 2 + 2 + 2)
    for (const id of ['1', '3']) {
      const rate = `replication.throttled.rate=${FAST}`
      const rates = [`leader.${rate}`, `follower.${rate}`]
      await ok(cluster, 'config', 'set', ...rates, '--broker', id)
    }
    assert.match(await moved, /Moved 1 partition, 1 replica copied/)
    assert.equal((await bytesAt(cluster, 3, 'slow')) >= BATCHES * BATCH_BYTES, true)
    await untilLimited(cluster, 'slow', 0)
  } finally {
    client.close()
  }
  const back = ['--topic', 'slow', '--to', '1', '--yes', '--throttle', '1', '--no-wait']
  await ok(cluster, 'cluster', 'reassign', ...back)
  assert.match(await ok(cluster, 'cluster', 'reassign', '--status'), /limited at broker 1, 3/)
  assert.match(await ok(cluster, 'cluster', 'reassign', '--cancel'), /Cancelled: slow-0/)
  await untilLimited(cluster, 'slow', 0)
  await ok(cluster, 'cluster', 'reassign', ...back)
  assert.match(await ok(cluster, 'cluster', 'reassign', '--unthrottle'), /2 brokers, 1 topic/)
  while (await isMoving(cluster)) await new Promise((resolve) => setTimeout(resolve, 20))
  for (const topic of ['slow', 'live']) await ok(cluster, 'topic', 'delete', topic)
}

/** To a broker that is not there nothing ever arrives. */
async function begunAndCancelled(cluster: TestCluster): Promise<void> {
  assert.deepEqual(await json(cluster, 'cluster', 'reassign', '--status'), [])
  const move = ['--topic', 't:0', '--to', '1,2,4', '--yes', '--no-wait']
  await ok(cluster, 'cluster', 'reassign', ...move)
  const [under] = await json(cluster, 'cluster', 'reassign', '--status')
  assert.deepEqual([under.topic, under.partition, under.adding], ['t', 0, [4]])
  assert.match(await ok(cluster, 'cluster', 'health'), /1 partition on the way/)
  assert.match(await ok(cluster, 'cluster', 'reassign', '--cancel'), /Cancelled: t-0/)
  assert.match(await ok(cluster, 'cluster', 'reassign', '--status'), /Nothing/)
  await ok(cluster, 'cluster', 'reassign', '--topic', 't:0,1', '--to', '3,1', '--yes')
  const [topic] = await json(cluster, 'topic', 'describe', 't')
  assert.deepEqual(topic.partitionList[1].replicas, [3, 1])
  assert.equal(topic.partitionList[1].leader, 3)
  await ok(cluster, 'cluster', 'decommission', '4', '--unregister')
  assert.equal(await brokerIn(cluster, 4), undefined)
}

async function lostAndBack(cluster: TestCluster): Promise<void> {
  await cluster.brokers.get(3)!.kill()
  await untilFenced(cluster, 3, true)
  await fails(cluster, /start broker 3/, 'cluster', 'health')
  await fails(cluster, /decommission 3/, 'cluster', 'rebalance', '--yes')
  await cluster.restart(3)
  await ok(cluster, 'cluster', 'health', '--wait', '60')
}

async function otherVoters(cluster: TestCluster): Promise<void> {
  const { leaderId } = await json(cluster, 'cluster', 'quorum')
  const other = String(leaderId === 1 ? 2 : 1)
  await ok(cluster, 'cluster', 'quorum', 'remove', other)
  const { voters, observers } = await json(cluster, 'cluster', 'quorum')
  assert.equal(voters.length, 2)
  assert.ok(observers.some(({ id }: { id: number }) => String(id) === other))
  assert.match(await ok(cluster, 'cluster', 'quorum', 'add', other), /Voters: 1, 2, 3/)
  await fails(cluster, /voter already/, 'cluster', 'quorum', 'add', other)
}

test('cluster, four brokers and then three, are seen, spread, left and put right', async () => {
  await withCluster({}, async (cluster) => {
    await ok(cluster, 'cluster', 'health', '--wait', '60')
    const topic = ['--partitions', String(PARTITIONS), '--replication-factor', '3']
    await ok(cluster, 'topic', 'create', 't', ...topic)
    await seen(cluster)
    const fourth = await fourthBroker(cluster)
    try {
      await throttled(cluster)
      await spreadOntoEmptyBroker(cluster)
      await drainedAndLeft(cluster, fourth)
      await begunAndCancelled(cluster)
    } finally {
      await fourth.stop()
      fourth.cleanUp()
    }
    await lostAndBack(cluster)
    await otherVoters(cluster)
  })
})
