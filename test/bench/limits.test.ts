/**
 * The generators against the limit program and the broker, where they have been built. What is
 * asserted is agreement (acknowledged = written = read = end offsets), never speed.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder, startBroker } from '../../bench/lib/broker.ts'
import { sleep, startProcess, stopProcess } from '../../bench/lib/children.ts'
import {
  type FetchLoadResult,
  type LoadResult,
  limitsProgram,
  runFetchLoad,
  runLoad,
} from '../../bench/lib/limits.ts'
import { freePort } from '../support/ports.ts'

const programs = ['produce-load', 'fetch-load', 'limit-server', 'sequential-reader'] as const
const isBuilt = programs.every((name) => existsSync(limitsProgram(name)))
const skip = isBuilt ? false : 'bench/limits is not built (cargo build --release)'
const main = join(projectFolder(), 'dist', 'main.js')
const skipBroker = skip === false && !existsSync(main) ? 'the broker is not built' : skip

const PARTITIONS = 3
const PATIENCE_S = '25'
/**
 * Runs end by bytes, not by time, so that a machine that stands still for a while changes nothing:
 * 2 MB at first, then more by `load`, of which two consumers read 4.1 MB together before they stop.
 * A producer's bytes must be more than what its connections have under way at once, or it ends
 * before the first answer.
 */
const UNTIL = ['--warm-up', '0', '--duration', PATIENCE_S, '--max-bytes']
const FIRST = [...UNTIL, '2000000']
const LITTLE = [...UNTIL, '300000']
const MUCH = [...UNTIL, '3000000']
const MEANWHILE = [...UNTIL, '4100000']

interface Limit {
  readonly address: string
  readonly dataDir: string
}

/** Runs `use` with a fresh limit program. */
async function withLimit<T>(args: readonly string[], use: (limit: Limit) => Promise<T>) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-limits-'))
  const dataDir = join(folder, 'data')
  mkdirSync(dataDir)
  const logFile = join(folder, 'log')
  const address = `127.0.0.1:${await freePort()}`
  const all = ['--listen', address, '--data-dir', dataDir, '--partitions', `${PARTITIONS}`, ...args]
  const child = startProcess({ command: limitsProgram('limit-server'), args: all, logFile })
  try {
    while (!readFileSync(logFile, 'utf8').includes('listening')) await sleep(5)
    return await use({ address, dataDir })
  } finally {
    await stopProcess(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

function produce(address: string, args: readonly string[], marks: string[] = []) {
  const common = ['--partitions', `${PARTITIONS}`, '--connections', '5']
  return runLoad({
    address,
    args: [...common, ...args],
    onMeasure: (at) => marks.push(at),
    timeoutMs: 30_000,
  })
}

function consume(address: string, args: readonly string[], marks: string[] = []) {
  return runFetchLoad({
    address,
    args: ['--partitions', `${PARTITIONS}`, ...args],
    onMeasure: (at) => marks.push(at),
    timeoutMs: 60_000,
  })
}

function bytesIn(folder: string): number {
  const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size)
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Where the log of each partition ended for whoever wrote, or for the slowest who read. */
function ends({ byPartition }: Pick<LoadResult | FetchLoadResult, 'byPartition'>): number[] {
  return byPartition.map(({ endOffset }) => endOffset)
}

for (const writers of ['0', '1']) {
  for (const [name, load] of [
    ['large requests', [...MUCH, '--request-bytes', '65536', '--in-flight', '3']],
    ['single events', [...LITTLE, '--events-per-request', '1', '--event-bytes', '200']],
    ['an open loop', [...LITTLE, '--rate', '300', '--request-bytes', '4096', '--acks', 'all']],
  ] as const) {
    test(`produce-load agrees with limit-server, ${name}, ${writers} writers`, {
      skip,
    }, async () => {
      await withLimit(['--writers', writers], async ({ address, dataDir }) => {
        const marks: string[] = []
        const result = await produce(address, load, marks)
        assert.equal(result.problem, null)
        assert.ok(result.verified)
        assert.deepEqual(marks, ['start', 'end'])
        assert.ok(result.requests > 0)
        assert.equal(result.bytes, result.requests * result.batchBytes)
        const written = bytesIn(dataDir)
        assert.equal(written % result.batchBytes, 0)
        assert.ok(written >= result.bytes, 'the drain is written too')
      })
    })
  }
}

for (const [server, load] of [
  [
    ['--writers', '0'],
    [...MUCH, '--request-bytes', '65536', '--in-flight', '3'],
  ],
  [
    ['--writers', '0', '--read-copy'],
    [...LITTLE, '--request-bytes', '9000'],
  ],
  [
    ['--writers', '1'],
    [...LITTLE, '--events-per-request', '1', '--event-bytes', '200'],
  ],
  [
    ['--writers', '1', '--read-copy'],
    [...MUCH, '--request-bytes', '65536', '--rate', '400'],
  ],
] as const) {
  test(`fetch-load gets from limit-server what produce-load sent, ${server.join(' ')}`, {
    skip,
  }, async () => {
    await withLimit(server, async ({ address, dataDir }) => {
      const marks: string[] = []
      const tail = ['--from', 'earliest', '--consumers', '2', '--verify', '--check-crc']
      // Room for one run of batches a partition, and for two partitions in a response.
      const small = ['--partition-bytes', '1', '--max-bytes-per-fetch', '70000']
      assert.equal((await produce(address, FIRST)).problem, null)
      const [sent, read] = await Promise.all([
        produce(address, load),
        consume(address, [...tail, ...small, ...MEANWHILE], marks),
      ])
      assert.equal(sent.problem, null)
      assert.equal(read.problem, null)
      assert.deepEqual(marks, ['start', 'end'])
      assert.equal(read.byConsumer.length, 2)
      assert.equal(read.stoppedBy, 'bytes')

      const all = await consume(address, ['--until-end', '--check-crc'])
      assert.equal(all.problem, null)
      assert.equal(all.stoppedBy, 'end')
      assert.deepEqual(ends(all), ends(sent))
      assert.equal(all.bytes, bytesIn(dataDir))
      const events = ends(sent).reduce((sum, end) => sum + end, 0)
      assert.equal(all.events, events)
    })
  })
}

test('fetch-load says what is wrong with batches, by CRC where it checks it', {
  skip,
}, async () => {
  await withLimit([], async ({ address, dataDir }) => {
    const sent = await produce(address, [...FIRST, '--request-bytes', '20000'])
    assert.equal(sent.problem, null)
    const file = join(dataDir, 'partition-1.log')
    const good = readFileSync(file)
    const replace = (at: number, value: number): void => {
      const bytes = Buffer.from(good)
      assert.notEqual(bytes[at], value)
      bytes[at] = value
      writeFileSync(file, bytes)
    }

    const inRecords = good.length - 5
    replace(inRecords, (good[inRecords] as number) ^ 1)
    assert.equal((await consume(address, ['--until-end'])).problem, null)
    const corrupt = await consume(address, ['--until-end', '--check-crc'])
    assert.ok(!corrupt.verified)
    assert.match(corrupt.problem ?? '', /wrong CRC/)

    // The lowest byte of the second batch's base offset.
    replace(sent.batchBytes + 7, 0)
    const gap = await consume(address, ['--until-end'])
    assert.ok(!gap.verified)
    assert.match(gap.problem ?? '', /partition 1: a batch of offsets 0 to/)
  })
})

test('fetch-load says so when nothing was read', { skip }, async () => {
  await withLimit([], async ({ address }) => {
    assert.equal((await produce(address, FIRST)).problem, null)
    const read = await consume(address, ['--warm-up', '0', '--duration', '0.1', '--verify'])
    assert.ok(!read.verified)
    assert.match(read.problem ?? '', /nothing was read/)
  })
})

test('sequential-reader reads every byte of the files', { skip }, async () => {
  await withLimit([], async ({ address, dataDir }) => {
    assert.equal((await produce(address, FIRST)).problem, null)
    const files = readdirSync(dataDir).map((name) => join(dataDir, name))
    const args = ['--files', files.join(','), '--block-bytes', '10000']
    const { stdout, status } = spawnSync(limitsProgram('sequential-reader'), args)
    assert.equal(status, 0)
    assert.equal(JSON.parse(stdout.toString()).bytes, bytesIn(dataDir))
  })
})

test('produce-load by WebSocket and fetch-load agree with the broker', {
  skip: skipBroker,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-limits-'))
  const broker = await startBroker({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'log'),
    shards: 1,
    settings: [],
    nodeArgs: [],
    readyTimeoutMs: 60_000,
  })
  try {
    const kafka = `127.0.0.1:${broker.kafkaPort}`
    const http = `127.0.0.1:${broker.httpPort}`
    const websocket = ['--websocket', '--kafka', kafka]
    const config = ['--topic-config', 'flush.messages=1']
    for (const [topic, load] of [
      ['large', [...MUCH, '--request-bytes', '100000', '--in-flight', '4']],
      ['single', [...LITTLE, '--events-per-request', '1', '--event-bytes', '100', '--acks', 'all']],
      ['open', [...LITTLE, '--rate', '200', '--request-bytes', '5000']],
    ] as const) {
      const named = ['--topic', topic]
      const first = await produce(kafka, [...named, ...config, ...FIRST])
      assert.equal(first.problem, null)
      const tail = ['--from', 'earliest', '--consumers', '2', '--verify', '--check-crc']
      const [sent, read] = await Promise.all([
        produce(http, [...named, ...websocket, ...load]),
        consume(kafka, [...named, ...tail, ...MEANWHILE]),
      ])
      assert.equal(sent.problem, null)
      assert.equal(sent.protocol, 'websocket')
      assert.equal(read.problem, null)
      assert.ok(sent.requests > 0)
      assert.equal(sent.connectionsWithoutCredit, 0)
      const all = await consume(kafka, [...named, '--until-end', '--check-crc'])
      assert.equal(all.problem, null)
      assert.deepEqual(ends(all), ends(sent))
    }

    // Settings that would not be applied are no run; nor are messages beyond the broker's limit.
    const again = ['--topic', 'open', ...config, '--duration', '0.1']
    await assert.rejects(produce(kafka, again), /gave no result/)
    const huge = [...websocket, '--request-bytes', '8000000', '--duration', '0.1']
    await assert.rejects(produce(http, huge), /gave no result/)
  } finally {
    await stopProcess(broker.child)
    rmSync(folder, { recursive: true, force: true })
  }
})
