/** How a broker starts, refuses to start, stops and dies, as a process of its own. */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { uuidToHex, ZERO_UUID } from '../../src/base/uuid.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import {
  type BrokerOptions,
  brokerMain,
  startBroker,
  type TestBroker,
  withBroker,
} from '../support/broker.ts'
import { type CommandResult, runCommand } from '../support/command.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  newProducerId,
  TIMESTAMP_MS,
  values,
} from '../support/kafka.ts'
import { packageRoot } from '../support/package-root.ts'
import { RawClient } from '../support/raw-client.ts'

const ANYWHERE = ['--kafka', '127.0.0.1:0', '--http', 'off', '--shards', '3']
const EXIT_FAILED = 1
const EXIT_USAGE = 2

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-start-'))
  try {
    await use(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs `use` with a broker and a client; both are gone afterwards, the data is not. */
async function withClient(
  options: BrokerOptions,
  use: (client: RawClient, broker: TestBroker) => Promise<void>,
  end: 'stop' | 'kill' = 'stop',
): Promise<void> {
  const broker = await startBroker(options)
  try {
    const client = await RawClient.open(broker.port)
    try {
      await use(client, broker)
    } finally {
      client.close()
    }
    await broker[end]()
  } finally {
    await broker.kill()
  }
}

/** The fields of the line that says "ready", which may arrive a little after it is true. */
async function readyLine(broker: TestBroker): Promise<Record<string, unknown>> {
  for (let tries = 0; tries < 1000; tries++) {
    const lines = broker.output().split('\n').slice(0, -1)
    const line = lines.find((one) => one.includes('"ready'))
    if (line !== undefined) return JSON.parse(line)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`there is no line that says ready:\n${broker.output()}`)
}

describe('millrace start refuses', () => {
  const refused = (result: CommandResult, code: number, ...patterns: RegExp[]): void => {
    assert.equal(result.code, code, result.output)
    for (const pattern of patterns) assert.match(result.output, pattern)
  }

  test('an unknown option, and says which one was meant', async () => {
    const result = await runCommand(['start', ...ANYWHERE, '--set', 'num.partition=3'])
    refused(result, EXIT_USAGE, /num\.partition/, /num\.partitions/)
  })

  test('a bad value, before anything is created', () =>
    withDirectory(async (directory) => {
      const data = join(directory, 'data')
      const set = ['--set', 'log.segment.bytes=many', '--data-dir', data]
      refused(await runCommand(['start', ...ANYWHERE, ...set]), EXIT_USAGE, /log\.segment\.bytes/)
      assert.deepEqual(readdirSync(directory), [])
    }))

  test('to listen beyond loopback without --insecure', () =>
    withDirectory(async (directory) => {
      const args = ['--kafka', '0.0.0.0:0', '--http', 'off', '--data-dir', directory]
      refused(await runCommand(['start', ...args]), EXIT_USAGE, /--insecure/)
      const http = ['--kafka', '127.0.0.1:0', '--http', '0.0.0.0:0', '--data-dir', directory]
      refused(await runCommand(['start', ...http]), EXIT_USAGE, /--insecure/)
    }))

  test('a directory that another broker uses, or that belongs to another node', () =>
    withDirectory(async (directory) => {
      const args = ['start', ...ANYWHERE, '--data-dir', directory]
      await withClient({ dataDirs: [directory] }, async (_client, broker) => {
        refused(await runCommand(args), EXIT_FAILED, new RegExp(`process ${broker.pid} uses it`))
      })
      const other = await runCommand([...args, '--set', 'node.id=2'])
      refused(other, EXIT_FAILED, /belongs to node 1/)
    }))

  test('a port that is taken, and ends', () =>
    withDirectory(async (directory) => {
      await withBroker({}, async (broker) => {
        const kafka = ['--kafka', broker.bootstrap, '--http', 'off', '--shards', '3']
        const result = await runCommand(['start', ...kafka, '--data-dir', directory])
        refused(result, EXIT_FAILED, new RegExp(`listen on ${broker.bootstrap}`))
        const http = ['--kafka', '127.0.0.1:0', '--http', broker.httpUrl.slice('http://'.length)]
        const second = await runCommand(['start', ...http, '--data-dir', directory])
        refused(second, EXIT_FAILED, /listen on/)
      })
    }))
})

describe('a broker', () => {
  test('says tier, shards, directories and listeners, and serves health and metrics', () =>
    withBroker({ shards: 3 }, async (broker) => {
      const ready = await readyLine(broker)
      assert.equal(ready.shards, 3)
      assert.deepEqual(ready.directories, broker.dataDirs)
      assert.deepEqual(ready.kafka, [`PLAINTEXT://${broker.bootstrap}`])
      assert.match(String(ready.tier), /^(portable|native|io_uring)$/)
      const get = async (path: string) => {
        const response = await fetch(broker.httpUrl + path)
        return [response.status, await response.text()] as const
      }
      assert.deepEqual((await get('/health/live'))[0], 200)
      assert.deepEqual((await get('/health/ready'))[0], 200)
      assert.equal((await get('/nothing'))[0], 404)
      const [status, text] = await get('/metrics')
      assert.equal(status, 200)
      assert.match(text, /^# TYPE millrace_/m)
      assert.doesNotMatch(text, /undefined|NaN/)
    }))

  test('exits with 0 on SIGTERM under load, and scans nothing at the next start', () =>
    withDirectory(async (directory) => {
      const at = { topic: 'load', partition: 0 }
      let acknowledged = 0
      const broker = await startBroker({ dataDirs: [directory] })
      try {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: at.topic, partitions: 3 })
        const producing = Promise.allSettled(
          Array.from({ length: 500 }, async () => {
            await appendOk(client, at, batchOf())
            acknowledged++
          }),
        )
        while (acknowledged < 50) await new Promise(setImmediate)
        process.kill(broker.pid, 'SIGTERM')
        assert.equal(await broker.ended, 0)
        await producing
      } finally {
        await broker.kill()
      }
      await withClient({ dataDirs: [directory] }, async (client, again) => {
        assert.doesNotMatch(again.output(), /recover|unclean|clean-shutdown/)
        assert.ok((await values(client, at)).length >= acknowledged)
      })
    }))

  test('whose shard fails ends with a message and a code that is not 0', () =>
    withDirectory(async (directory) => {
      const batch = batchOf({ values: [Buffer.alloc(1234)] })
      // Beside node_modules, which the copy needs.
      mkdirSync(join(packageRoot(), '.cache'), { recursive: true })
      const copy = mkdtempSync(join(packageRoot(), '.cache/planted-'))
      try {
        cpSync(dirname(brokerMain()), copy, { recursive: true })
        plant(shardCode(copy), batch.length)
        const broker = await startBroker({ dataDirs: [directory], main: join(copy, 'main.js') })
        try {
          const client = await RawClient.open(broker.port)
          await createTopic(client, { name: 'planted', partitions: 3 })
          const at = { topic: 'planted', partition: 2 }
          await appendOk(client, at, batchOf())
          await assert.rejects(append(client, at, batch))
          assert.equal(await broker.ended, 70)
          assert.match(broker.output(), /shard \d failed; the broker stops now/)
          assert.match(broker.output(), /planted failure/)
        } finally {
          await broker.kill()
        }
      } finally {
        rmSync(copy, { recursive: true, force: true })
      }
      await withClient({ dataDirs: [directory] }, async (client) => {
        assert.equal((await values(client, { topic: 'planted', partition: 2 })).length, 1)
      })
    }))

  /** The file that a shard appends in: one of the bundle's, or its own where there is none. */
  function shardCode(folder: string): string {
    const bundled = existsSync(join(folder, 'command')) ? readdirSync(join(folder, 'command')) : []
    const files = bundled.filter((name) => name.endsWith('.js')).map((name) => `command/${name}`)
    const holds = (file: string) =>
      /^ *const length = view\.getUint32\(at \+ 12, true\);$/m.test(readFileSync(file, 'utf8'))
    const found = [...files, 'shard/append-service.js']
      .map((name) => join(folder, name))
      .find(holds)
    assert.ok(found !== undefined, 'the shard is nowhere')
    return found
  }

  /** An append of exactly so many bytes fails inside the shard. */
  function plant(path: string, bytes: number): void {
    const source = readFileSync(path, 'utf8')
    const planted = source.replace(
      /^ *const length = view\.getUint32\(at \+ 12, true\);$/m,
      `$&\nif (length === ${bytes}) throw new Error('planted failure');`,
    )
    assert.notEqual(planted, source)
    writeFileSync(path, planted)
  }
})

describe('data', () => {
  /** Skewed: partition p gets (p + 1)² batches. */
  async function fill(client: RawClient, topic: string, partitions: number): Promise<void> {
    for (let partition = 0; partition < partitions; partition++) {
      for (let i = 0; i < (partition + 1) ** 2; i++) {
        await appendOk(client, { topic, partition }, batchOf({ values: [`${partition}/${i}`] }))
      }
    }
  }

  async function check(client: RawClient, topic: string, partitions: number): Promise<void> {
    for (let partition = 0; partition < partitions; partition++) {
      const expected = Array.from({ length: (partition + 1) ** 2 }, (_, i) => `${partition}/${i}`)
      assert.deepEqual(await values(client, { topic, partition }), expected)
    }
  }

  test('is whole when the number of shards changes, after stops and kills', () =>
    withDirectory(async (directory) => {
      const dataDirs = [directory]
      const steps = [
        [1, 'stop'],
        [3, 'kill'],
        [2, 'stop'],
        [3, 'stop'],
        [1, 'kill'],
        [3, 'stop'],
      ] as const
      for (const [i, [shards, end]] of steps.entries()) {
        const use = async (client: RawClient): Promise<void> => {
          const topic = `round-${i}`
          await createTopic(client, { name: topic, partitions: 5 })
          await fill(client, topic, 5)
          for (let past = 0; past <= i; past++) await check(client, `round-${past}`, 5)
        }
        await withClient({ shards, dataDirs }, use, end)
      }
    }))

  test('spreads over several directories, and is found again in any order of them', () =>
    withDirectory(async (directory) => {
      const [a, b] = [join(directory, 'a'), join(directory, 'b')]
      await withClient({ dataDirs: [a, b] }, async (client) => {
        await createTopic(client, { name: 'spread', partitions: 6 })
        await fill(client, 'spread', 6)
      })
      for (const path of [a, b]) {
        const partitions = readdirSync(path).filter((name) => /^[0-9a-f]{32}-\d$/.test(name))
        assert.equal(partitions.length, 3, path)
      }
      for (const dataDirs of [
        [a, b],
        [b, a],
      ]) {
        await withClient({ dataDirs }, (client) => check(client, 'spread', 6), 'kill')
      }
      await withClient({ dataDirs: [a, b] }, (client) => check(client, 'spread', 6))
    }))

  test('is scanned, and the log says so, when a checkpoint table is damaged', () =>
    withDirectory(async (directory) => {
      const dataDirs = [directory]
      await withClient({ dataDirs, shards: 1 }, async (client) => {
        await createTopic(client, { name: 'marked', partitions: 5 })
        await fill(client, 'marked', 5)
      })
      writeFileSync(join(directory, 'clean-checkpoint-0'), 'no table')
      await withClient({ dataDirs }, async (client, broker) => {
        await check(client, 'marked', 5)
        assert.match(broker.output(), /clean-checkpoint-0 is damaged: its partitions are scanned/)
      })
    }))

  test('is not replaced by an empty cluster when the metadata directory is missing', () =>
    withDirectory(async (directory) => {
      const dataDirs = [join(directory, 'a'), join(directory, 'b')]
      await withClient({ dataDirs }, async (client) => {
        await createTopic(client, { name: 'unwritten', partitions: 2 })
      })
      // The second directory holds no partition yet: only its meta.properties know.
      const alone = await runCommand(['start', ...ANYWHERE, '--data-dir', join(directory, 'b')])
      assert.equal(alone.code, EXIT_FAILED, alone.output)
      assert.match(alone.output, /holds the metadata log .* is not among log\.dirs/)
    }))

  test('in one of two directories is closed cleanly: the leader epoch stays', () =>
    withDirectory(async (directory) => {
      const dataDirs = [join(directory, 'a'), join(directory, 'b')]
      await withClient({ dataDirs }, async (client) => {
        await createTopic(client, { name: 'single', partitions: 1 })
      })
      await withClient({ dataDirs }, async (client, broker) => {
        const topics = [{ name: 'single', topicId: ZERO_UUID }]
        const answer = await client.request(ApiKey.METADATA, 12, { topics })
        assert.equal(answer.topics[0]!.partitions[0]!.leaderEpoch, 0)
        assert.doesNotMatch(broker.output(), /recover/)
      })
    }))
})

describe('millrace.native.tier', () => {
  test('leaves byte-identical segments and indexes, whichever it is', async (t) => {
    const results = new Map<string, Map<string, Buffer>>()
    for (const tier of ['portable', 'native', 'io_uring']) {
      await withDirectory(async (directory) => {
        const options = { dataDirs: [directory], set: { 'millrace.native.tier': tier } }
        let topicIds: string[] = []
        try {
          await withClient(options, async (client, broker) => {
            assert.equal((await readyLine(broker)).tier, tier)
            topicIds = await sameOperations(client)
          })
        } catch (error) {
          const reason = (error as Error).message
          if (!/kernel refuses io_uring|addon is not built|does not load/.test(reason)) throw error
          t.diagnostic(`SKIPPED tier ${tier}: ${reason}`)
          return
        }
        results.set(tier, filesOf(directory, topicIds))
      })
    }
    const expected = results.get('portable')
    assert.ok(expected !== undefined && expected.size > 20)
    for (const [tier, files] of results) {
      assert.deepEqual([...files.keys()], [...expected.keys()], tier)
      for (const [name, bytes] of files) {
        assert.ok(bytes.equals(expected.get(name)!), `${name} differs with tier ${tier}`)
      }
    }
  })

  /** Rolls, duplicates, refusals, several shards; every byte is decided here. */
  async function sameOperations(client: RawClient): Promise<string[]> {
    const configs = { 'internal.segment.bytes': '3000', 'index.interval.bytes': '200' }
    const fsynced = { ...configs, 'flush.messages': '1' }
    const ids = [
      await createTopic(client, { name: 'a', partitions: 3, configs }),
      await createTopic(client, { name: 'b', partitions: 3, configs: fsynced }),
    ]
    const producerId = await newProducerId(client)
    for (let i = 0; i < 60; i++) {
      const at = { topic: i % 2 === 0 ? 'a' : 'b', partition: i % 3 }
      const baseSequence = Math.floor(i / 6)
      const plain = { values: ['p'.repeat(10 * i)], timestamp: TIMESTAMP_MS + i }
      const idempotent = { producerId, producerEpoch: 0, baseSequence, ...plain }
      await appendOk(client, at, batchOf(plain))
      await appendOk(client, at, batchOf(idempotent))
      await appendOk(client, at, batchOf(idempotent)) // A duplicate.
      const corrupt = batchOf(plain)
      corrupt[61] = 99
      assert.notEqual((await append(client, at, corrupt)).errorCode, 0)
    }
    return ids
  }

  function filesOf(directory: string, topicIds: readonly string[]): Map<string, Buffer> {
    const files = new Map<string, Buffer>()
    for (const [i, id] of topicIds.entries()) {
      for (let partition = 0; partition < 3; partition++) {
        const folder = join(directory, `${uuidToHex(id)}-${partition}`)
        for (const name of readdirSync(folder).sort()) {
          if (!/\.(log|index|timeindex)$/.test(name)) continue
          files.set(`${i}-${partition}/${name}`, readFileSync(join(folder, name)))
        }
      }
    }
    return files
  }
})
