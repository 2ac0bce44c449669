/** One of several log directories fails, is missing or cannot be written: the others are served. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { runCommand } from '../support/command.ts'
import { append, appendOk, batchOf, createTopic, readPartition } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { SmallDisk, whyNoSmallDisks } from '../support/small-disk.ts'

const MIB = 1024 * 1024
const reason = whyNoSmallDisks()
const skip = reason === null ? false : `SKIPPED: ${reason}`
const ANYWHERE = ['--kafka', '127.0.0.1:0', '--http', 'off', '--shards', '1']
const TOPIC = 'spread'

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-failing-'))
  try {
    await use(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function withClient(
  dataDirs: readonly string[],
  use: (client: RawClient, broker: TestBroker) => Promise<void>,
): Promise<void> {
  const broker = await startBroker({ shards: 2, dataDirs })
  try {
    const client = await RawClient.open(broker.port)
    await use(client, broker)
    client.close()
    await broker.stop()
  } catch (error) {
    process.stderr.write(`--- broker output ---\n${broker.output()}\n---\n`)
    throw error
  } finally {
    await broker.kill()
  }
}

/** A topic of two partitions, one in each directory: [the one in `first`, the other]. */
async function spread(client: RawClient, first: string): Promise<readonly [number, number]> {
  const configs = { 'flush.messages': '1' }
  await createTopic(client, { name: TOPIC, partitions: 2, configs })
  for (const partition of [0, 1]) await appendOk(client, { topic: TOPIC, partition }, batchOf())
  return partitionsIn(first)[0] === 0 ? [0, 1] : [1, 0]
}

function partitionsIn(directory: string): number[] {
  return readdirSync(directory)
    .map((name) => /^[0-9a-f]{32}-(\d+)$/.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
}

/** `bad` is offline, `good` works, and so do new topics. */
async function assertHalfWorks(
  client: RawClient,
  broker: TestBroker,
  [good, bad]: readonly [number, number],
): Promise<void> {
  const refused = await append(client, { topic: TOPIC, partition: bad }, batchOf())
  assert.equal(refused.errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
  assert.match(refused.errorMessage ?? '', /^The log directory .* is offline: /)
  await appendOk(client, { topic: TOPIC, partition: good }, batchOf())
  assert.ok((await readPartition(client, { topic: TOPIC, partition: good })).length >= 2)
  const name = `later-${refused.errorMessage?.length}-${Math.random()}`
  await createTopic(client, { name, partitions: 4 })
  for (const partition of [0, 1, 2, 3]) {
    await appendOk(client, { topic: name, partition }, batchOf())
  }
  const ready = await fetch(`${broker.httpUrl}/health/ready`)
  const body = (await ready.json()) as { status: string; directories: { condition: string }[] }
  assert.deepEqual([ready.status, body.status], [200, 'degraded'])
  assert.ok(body.directories.every(({ condition }) => condition === 'offline'))
  const metrics = await (await fetch(`${broker.httpUrl}/metrics`)).text()
  assert.match(metrics, /^millrace_log_directory_offline\{directory="[^"]+"\} 1$/m)
}

describe('a log directory', () => {
  test('whose disk fails a flush stays offline until a restart; others go on', { skip }, () =>
    withDirectory(async (directory) => {
      // Its device has less room than it says: fsync fails, with ENOSPC of all codes.
      const disk = SmallDisk.lying(64 * MIB, 12 * MIB)
      try {
        const dataDirs = [join(directory, 'a'), disk.path]
        await withClient(dataDirs, async (client, broker) => {
          const partitions = await spread(client, dataDirs[0] as string)
          const bad = { topic: TOPIC, partition: partitions[1] }
          let errorCode: ErrorCode = ErrorCode.NONE
          for (let i = 0; i < 100 && errorCode === ErrorCode.NONE; i++) {
            const records = batchOf({ values: ['v'.repeat(900_000)] })
            errorCode = (await append(client, bad, records)).errorCode as ErrorCode
          }
          assert.equal(errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
          await assertHalfWorks(client, broker, partitions)
          assert.match(broker.output(), /a log directory is offline until the broker is restarted/)
        })
      } finally {
        disk.remove()
      }
    }),
  )

  test('that is missing at start takes its partitions offline, and comes back', () =>
    withDirectory(async (directory) => {
      const dataDirs = [join(directory, 'a'), join(directory, 'b')] as const
      let partitions: readonly [number, number] = [0, 1]
      await withClient(dataDirs, async (client) => {
        partitions = await spread(client, dataDirs[0])
      })
      renameSync(dataDirs[1], join(directory, 'elsewhere'))
      // Not among log.dirs; there as an empty directory, as where a disk is not mounted.
      await withClient([dataDirs[0]], (client, broker) =>
        assertHalfWorks(client, broker, partitions),
      )
      mkdirSync(dataDirs[1])
      await withClient(dataDirs, async (client, broker) => {
        await assertHalfWorks(client, broker, partitions)
        assert.match(broker.output(), /is its disk mounted\?/)
      })
      assert.equal(existsSync(join(dataDirs[1], 'meta.properties')), false)
      assert.deepEqual(partitionsIn(dataDirs[1]), [])
      rmSync(dataDirs[1], { recursive: true })
      renameSync(join(directory, 'elsewhere'), dataDirs[1])
      await withClient(dataDirs, async (client, broker) => {
        const bad = { topic: TOPIC, partition: partitions[1] }
        assert.equal((await readPartition(client, bad)).length, 1)
        await appendOk(client, bad, batchOf())
        const ready = await fetch(`${broker.httpUrl}/health/ready`)
        assert.deepEqual(await ready.json(), { status: 'ready' })
      })
    }))

  test('that is no directory, or read-only, at start is left out, and said why', () =>
    withDirectory(async (directory) => {
      const dataDirs = [join(directory, 'a'), join(directory, 'b')] as const
      let partitions: readonly [number, number] = [0, 1]
      await withClient(dataDirs, async (client) => {
        partitions = await spread(client, dataDirs[0])
      })
      const aside = join(directory, 'aside')
      renameSync(dataDirs[1], aside)
      writeFileSync(dataDirs[1], 'no directory')
      await withClient(dataDirs, async (client, broker) => {
        await assertHalfWorks(client, broker, partitions)
        assert.match(broker.output(), /it is no directory; use another directory/)
      })
      rmSync(dataDirs[1])
      renameSync(aside, dataDirs[1])
      if (reason !== null) return
      await readOnly(dataDirs[1], () =>
        withClient(dataDirs, async (client, broker) => {
          await assertHalfWorks(client, broker, partitions)
          assert.match(broker.output(), /it is on a read-only file system; mount it writable/)
        }),
      )
    }))

  test('that is read-only, alone or with the metadata log, refuses to start', { skip }, () =>
    withDirectory(async (directory) => {
      const [a, b] = [join(directory, 'a'), join(directory, 'b')]
      const start = async (dirs: string): Promise<void> => {
        const result = await runCommand(['start', ...ANYWHERE, '--data-dir', dirs])
        assert.equal(result.code, 1, result.output)
        assert.match(
          result.output,
          new RegExp(`Cannot use ${a} \\(log.dirs\\): it is on a read-on`),
        )
      }
      mkdirSync(a)
      await readOnly(a, () => start(a))
      await withClient([a, b], (client) => spread(client, a).then(() => {}))
      await readOnly(a, () => start(`${a},${b}`))
    }),
  )
})

/** Runs `use` while `path` is mounted read-only. */
async function readOnly(path: string, use: () => Promise<void>): Promise<void> {
  execFileSync('mount', ['--bind', path, path])
  try {
    execFileSync('mount', ['-o', 'remount,bind,ro', path])
    await use()
  } finally {
    execFileSync('umount', ['-l', path])
  }
}
