/** Controllers that are no brokers, and brokers that are no controllers, as real processes. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { ExitCode, runProgram } from '../../src/cli/program.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { CLUSTER_SECRET } from '../support/cluster.ts'
import { appendOk, batchOf } from '../support/kafka.ts'
import { freePort } from '../support/ports.ts'
import { RawClient } from '../support/raw-client.ts'

const CONTROLLERS = [1, 2, 3]
const BROKERS = [4, 5]
const PATIENCE_MS = 30_000

class Cluster {
  readonly nodes = new Map<number, TestBroker>()

  async start(): Promise<void> {
    const ports = new Map<number, number>()
    for (const id of [...CONTROLLERS, ...BROKERS]) ports.set(id, await freePort())
    const controllers = CONTROLLERS.map((id) => `${id}@127.0.0.1:${ports.get(id)}`).join()
    const starting = [...ports].map(async ([id, port]) => {
      const isBroker = BROKERS.includes(id)
      const node = await startBroker({
        shards: 1,
        set: {
          'node.id': String(id),
          'process.roles': isBroker ? 'broker' : 'controller',
          'controller.quorum.voters': controllers,
          'millrace.cluster.listener': `127.0.0.1:${port}`,
          // A busy machine puts nobody out.
          'broker.session.timeout.ms': '30000',
        },
        environment: { MILLRACE_CLUSTER_SECRET: CLUSTER_SECRET },
      })
      this.nodes.set(id, node)
    })
    const failed = (await Promise.allSettled(starting)).find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  node(id: number): TestBroker {
    return this.nodes.get(id) as TestBroker
  }

  async run(...args: string[]) {
    const out: string[] = []
    const err: string[] = []
    const streams = { out: (text: string) => out.push(text), err: (text: string) => err.push(text) }
    const bootstrap = BROKERS.map((id) => this.node(id).bootstrap).join()
    const code = await runProgram([...args, '-b', bootstrap], async () => {}, streams)
    return { code, text: [...out, ...err].join('\n') }
  }

  async ok(...args: string[]): Promise<string> {
    const { code, text } = await this.run(...args)
    assert.equal(code, ExitCode.DONE, `${args.join(' ')}\n${text}`)
    return text
  }

  async json(...args: string[]) {
    return JSON.parse(await this.ok(...args, '--format', 'json'))
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.stop()))
    for (const node of this.nodes.values()) node.cleanUp()
  }

  output(): string {
    return [...this.nodes].map(([id, node]) => `--- node ${id} ---\n${node.output()}`).join('\n')
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** What clients and operators see: two brokers, and three who vote. */
async function seen(cluster: Cluster, client: RawClient): Promise<void> {
  const { brokers, controllerId } = await client.request(ApiKey.METADATA, 9, { topics: [] })
  assert.deepEqual(brokers.map(({ nodeId }) => nodeId).sort(), BROKERS)
  assert.ok(BROKERS.includes(controllerId), 'of those that clients can reach')
  const described = await client.request(ApiKey.DESCRIBE_CLUSTER, 1, {
    includeClusterAuthorizedOperations: false,
  })
  assert.deepEqual(described.brokers.map(({ brokerId }) => brokerId).sort(), BROKERS)
  const status = await cluster.json('cluster', 'status')
  assert.deepEqual(
    status.controllers,
    CONTROLLERS.map((id) => ({ id, isBroker: false })),
  )
  assert.ok(CONTROLLERS.includes(status.controllerId))
  assert.match(await cluster.ok('cluster', 'status'), /Voters: +1, 2, 3 \(1, 2, 3 only that\)/)
  const { voters, observers } = await cluster.json('cluster', 'quorum')
  const idsOf = (list: { id: number }[]): number[] => list.map(({ id }) => id)
  assert.deepEqual([idsOf(voters), idsOf(observers)], [CONTROLLERS, BROKERS])
  const left = await cluster.run('cluster', 'decommission', '1', '--yes')
  assert.match(left.text, /no broker 1.*quorum remove 1/)
}

/** Its doors: for the other nodes, and for whoever looks after it. */
async function looked(node: TestBroker): Promise<void> {
  assert.equal(await isOpen(node.port), false, 'nothing listens for clients')
  const get = (path: string) => fetch(`${node.httpUrl}${path}`)
  assert.equal((await get('/health/ready')).status, 200)
  const metrics = await (await get('/metrics')).text()
  assert.match(metrics, /^kafka_brokers(\{[^}]*\})? 0$/m)
  const refused = await get('/topics')
  assert.equal(refused.status, 404)
  assert.match(await refused.text(), /a controller and no broker/)
}

test('a cluster whose controllers are no brokers, loses the active one, and goes on', async () => {
  const cluster = new Cluster()
  try {
    await cluster.start()
    await until('both brokers are there', async () => {
      const { brokers } = await cluster.json('cluster', 'status')
      return brokers.filter((one: { isFenced: boolean }) => !one.isFenced).length === 2
    })
    const create = ['--partitions', '4', '--replication-factor']
    await cluster.ok('topic', 'create', 't', ...create, '2', '-c', 'min.insync.replicas=2')
    assert.notEqual((await cluster.run('topic', 'create', 'u', ...create, '3')).code, ExitCode.DONE)
    await cluster.ok('cluster', 'health', '--wait', '30')
    const [topic] = await cluster.json('topic', 'describe', 't')
    const { partitionList } = topic as { partitionList: { leader: number; replicas: number[] }[] }
    for (const { replicas } of partitionList) assert.deepEqual([...replicas].sort(), BROKERS)
    const led = partitionList.findIndex(({ leader }) => leader === 4)
    const client = await RawClient.open(cluster.node(4).port)
    try {
      await seen(cluster, client)
      await looked(cluster.node(1))
      const append = () => appendOk(client, { topic: 't', partition: led }, batchOf())
      assert.equal(await append(), 0)
      const { leaderId } = await cluster.json('cluster', 'quorum')
      await cluster.node(leaderId).kill()
      for (let offset = 1; offset <= 20; offset++) assert.equal(await append(), offset)
      // Metadata changes again: another one has been elected.
      await until('somebody else leads', async () => {
        return (await cluster.run('topic', 'create', 'v', ...create, '2')).code === ExitCode.DONE
      })
      await until('the lost one is missed', async () => {
        const { text } = await cluster.run('cluster', 'health')
        return text.includes(`node ${leaderId} is a controller that is not heard`)
      })
      await cluster.ok('cluster', 'quorum', 'remove', String(leaderId))
      const { voters } = await cluster.json('cluster', 'quorum')
      const left = CONTROLLERS.filter((id) => id !== leaderId)
      assert.deepEqual(
        voters.map(({ id }: { id: number }) => id),
        left,
      )
      assert.match(await cluster.ok('cluster', 'health', '--wait', '30'), /All is well/)
      assert.equal(await append(), 21)
    } finally {
      client.close()
    }
  } catch (error) {
    process.stderr.write(`${cluster.output()}\n---\n`)
    throw error
  } finally {
    await cluster.stop()
  }
})
