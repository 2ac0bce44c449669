/** `millrace cluster up` as a process: serves, and takes all its children along when it ends. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import kafkajs from 'kafkajs'
import { brokerMain } from '../support/broker.ts'
import { runCommand } from '../support/command.ts'
import { freePorts } from '../support/ports.ts'

const NODES = 3
const PATIENCE_MS = 90_000

interface Up {
  readonly child: ChildProcess
  readonly arguments: readonly string[]
  readonly bootstrap: string[]
  readonly pids: number[]
  output(): string
}

async function until(isTrue: () => boolean, state: () => string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!isTrue()) {
    assert.ok(Date.now() < deadline, `it takes too long:\n${state()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Ports of a kind are neighbours. */
async function up(dataDir: string, ...more: string[]): Promise<Up> {
  const kinds = ['--kafka-port', '--http-port', '--cluster-port']
  const first = await freePorts(kinds.length * NODES)
  const ports = kinds.flatMap((name, i) => [name, String(first + i * NODES)])
  const args = ['cluster', 'up', '--data-dir', dataDir, ...ports, ...more]
  const stdio = ['ignore', 'pipe', 'pipe'] as const
  const child = spawn(process.execPath, [brokerMain(), ...args], { stdio: [...stdio] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk
    })
  }
  const isOver = (): boolean => child.exitCode !== null
  await until(
    () => isOver() || output.includes('The cluster is ready'),
    () => output,
  )
  assert.equal(child.exitCode, null, output)
  const bootstrap = /Bootstrap servers +(\S+)/.exec(output)?.[1]?.split(',') ?? []
  const processes = /Processes +(.*)/.exec(output)?.[1] ?? ''
  const pids = [...processes.matchAll(/node-\d+ (\d+)/g)].map((match) => Number(match[1]))
  return { child, arguments: args, bootstrap, pids, output: () => output }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function stopped({ child, pids, output }: Up): Promise<void> {
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.equal(code, 0, output())
  assert.match(output(), /All brokers have stopped/)
  assert.deepEqual(pids.filter(isAlive), [])
}

async function produceAndConsume(brokers: string[], count: number): Promise<void> {
  const kafka = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING })
  const producer = kafka.producer()
  await producer.connect()
  const messages = Array.from({ length: count }, (_, i) => ({ key: `${i}`, value: `event ${i}` }))
  await producer.send({ topic: 'events', acks: -1, messages })
  await producer.disconnect()
  const consumer = kafka.consumer({ groupId: 'readers' })
  await consumer.connect()
  await consumer.subscribe({ topic: 'events', fromBeginning: true })
  const values = new Set<string>()
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.add(String(message.value))
    },
  })
  await until(
    () => values.size === count,
    () => `${values.size} of ${count}`,
  )
  await consumer.disconnect()
}

test('cluster up, three nodes, serve clients, say when one dies, and end together', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-up-'))
  const cluster = await up(dataDir, '--set', 'num.partitions=3', '--restart')
  try {
    assert.equal(cluster.pids.length, NODES)
    const path = join(dataDir, 'cluster-secret')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const secret = readFileSync(path, 'utf8').trim()
    assert.ok(secret.length >= 32)
    if (process.platform === 'linux') {
      for (const pid of cluster.pids) {
        assert.ok(!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(secret))
      }
    }
    assert.ok(!cluster.output().includes(secret))
    await produceAndConsume(cluster.bootstrap, 50)
    const twice = await runCommand([...cluster.arguments])
    assert.equal(twice.code, 1)
    assert.match(twice.output, /something listens on 127\.0\.0\.1:\d+ already/)
    const [first] = cluster.pids as [number]
    process.kill(first, 'SIGKILL')
    await until(
      () => /node-1 has ended \(SIGKILL\); it is started again/.test(cluster.output()),
      cluster.output,
    )
    const again = (): number => cluster.output().match(/node-1 │ .*ready in/g)?.length ?? 0
    await until(() => again() === 2, cluster.output)
  } finally {
    await stopped(cluster)
    rmSync(dataDir, { recursive: true, force: true })
  }
})
