/**
 * Damaged ends of a log: cut at every byte of the last batch, a flipped bit at each of them,
 * indexes that are short, wrong or gone, a clean mark of another time. In-process over real files;
 * a few positions again with a whole broker.
 */
import assert from 'node:assert/strict'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { uuidToHex } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { BATCH_LENGTH, LEADER_EPOCH, MAGIC } from '../../src/record/batch-layout.ts'
import { DeletedFiles } from '../../src/storage/deleted-files.ts'
import {
  DEFAULT_LOG_OPTIONS,
  type LogHint,
  type LogOptions,
  newAppendResult,
  PartitionLog,
} from '../../src/storage/log.ts'
import { NodeFiles } from '../../src/storage/node-files.ts'
import { startBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  decodeAll,
  TIMESTAMP_MS,
  values,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const LAST_RECORDS = 3
const WHOLE_BATCHES = 4
const FIRST_LOG = '00000000000000000000.log'

let root: string
/** A log of WHOLE_BATCHES + 1 batches, as a killed process leaves it. */
let original: string
let lastBatchAt: number
let logBytes: number
let copies = 0

const options: LogOptions = { ...DEFAULT_LOG_OPTIONS, indexIntervalBytes: 0 }

before(() => {
  root = mkdtempSync(join(tmpdir(), 'millrace-torn-'))
  original = join(root, 'original')
  const { log } = open(original, null)
  for (let i = 0; i < WHOLE_BATCHES; i++) write(log, batch(i, 1))
  lastBatchAt = log.bytes
  write(log, batch(WHOLE_BATCHES, LAST_RECORDS))
  logBytes = log.bytes
})

after(() => rmSync(root, { recursive: true, force: true }))

function batch(index: number, records: number): Uint8Array {
  return batchOf({
    values: Array.from({ length: records }, (_, i) => `batch ${index} record ${i}`),
    timestamp: TIMESTAMP_MS + index,
    producerId: 7,
    producerEpoch: 0,
    baseSequence: index,
  })
}

function open(directory: string, hint: LogHint | null, changed: Partial<LogOptions> = {}) {
  const warnings: string[] = []
  const files = new NodeFiles()
  const clock = { wallMs: () => TIMESTAMP_MS, monotonicMs: () => 0 }
  const context = {
    files,
    deletedFiles: new DeletedFiles(files, clock),
    clock,
    engine: jsBatchEngine,
    onWarning: (message: string) => void warnings.push(message),
  }
  const setup = { directory, options: { ...options, ...changed }, hint }
  return { log: PartitionLog.open(context, setup), warnings }
}

function write(log: PartitionLog, run: Uint8Array): number {
  const out = newAppendResult()
  log.append({ bytes: run, offset: 0, length: run.length }, 0, out)
  assert.equal(out.errorCode, ErrorCode.NONE, out.errorMessage ?? '')
  log.writeStaged()
  return out.baseOffset
}

async function readAll(log: PartitionLog): Promise<string[]> {
  const read: string[] = []
  let next = log.logStartOffset
  while (next < log.logEndOffset) {
    const location = log.locate(next, 4096, { minOneBatch: true, upTo: 'logEnd' })
    assert.ok(typeof location === 'object' && location.length > 0)
    const into = new Uint8Array(location.length)
    const bytes = log.read(location, into, 0)
    for (const one of await decodeAll(into.subarray(0, bytes))) {
      for (const { offset, value } of one) {
        if (offset < next) continue
        assert.equal(offset, next++)
        read.push(Buffer.from(value ?? []).toString())
      }
    }
  }
  return read
}

/** A copy of the original with its log file changed. */
function copyWith(change: (path: string) => void): string {
  const directory = join(root, `copy-${copies++}`)
  cpSync(original, directory, { recursive: true })
  change(join(directory, FIRST_LOG))
  return directory
}

const wholeValues = Array.from({ length: WHOLE_BATCHES }, (_, i) => `batch ${i} record 0`)
const lastValues = Array.from(
  { length: LAST_RECORDS },
  (_, i) => `batch ${WHOLE_BATCHES} record ${i}`,
)

describe('recovery', () => {
  test('of a log cut at any byte of its last batch ends at the last whole one', async () => {
    for (let bytes = lastBatchAt; bytes < logBytes; bytes++) {
      const directory = copyWith((path) => truncateSync(path, bytes))
      const { log, warnings } = open(directory, null)
      assert.equal(log.logEndOffset, WHOLE_BATCHES, `cut at ${bytes}`)
      assert.equal(warnings.length, bytes === lastBatchAt ? 0 : 1, `cut at ${bytes}`)
      assert.deepEqual(log.verify().problems, [])
      // What was cut may come again, with the same sequence: its first try left no trace.
      assert.equal(write(log, batch(WHOLE_BATCHES, LAST_RECORDS)), WHOLE_BATCHES)
      const end = log.bytes
      log.close()
      assert.equal(end, logBytes)
      assert.ok(
        readFileSync(join(directory, FIRST_LOG)).equals(readFileSync(join(original, FIRST_LOG))),
        `cut at ${bytes}`,
      )
      rmSync(directory, { recursive: true })
    }
  })

  test('of a flipped bit in any byte of the last batch cuts that batch and says so', () => {
    for (let at = lastBatchAt; at < logBytes; at++) {
      const inBatch = at - lastBatchAt
      // The leader epoch is the broker's and not covered by the CRC.
      if (inBatch >= LEADER_EPOCH && inBatch < MAGIC) continue
      const directory = copyWith((path) => flip(path, at))
      const { log, warnings } = open(directory, null)
      assert.equal(log.logEndOffset, WHOLE_BATCHES, `byte ${inBatch}`)
      assert.match(warnings.join(), /cut at offset 4 .*bytes that were not flushed are gone/)
      log.close()
      rmSync(directory, { recursive: true })
    }
  })

  test('of damage below the recovery point refuses and changes nothing', () => {
    const hint: LogHint = {
      clean: false,
      recoveryPoint: WHOLE_BATCHES + LAST_RECORDS,
      logStartOffset: 0,
      logEndOffset: WHOLE_BATCHES + LAST_RECORDS,
      truncations: 0,
      bytes: logBytes,
    }
    // A header below the recovery point is walked, its CRC is not: a length that leads nowhere.
    const directory = copyWith((path) => flip(path, lastBatchAt + BATCH_LENGTH + 2))
    const damaged = readFileSync(join(directory, FIRST_LOG))
    assert.throws(() => open(directory, hint), /below its recovery point/)
    assert.ok(readFileSync(join(directory, FIRST_LOG)).equals(damaged))
  })

  test('of a tail of zeros, as a preallocating disk leaves it, ends at the last batch', async () => {
    const directory = copyWith((path) => truncateSync(path, logBytes + 5000))
    const { log } = open(directory, null)
    assert.deepEqual(await readAll(log), [...wholeValues, ...lastValues])
    assert.equal(log.bytes, logBytes)
    log.close()
  })

  function flip(path: string, at: number): void {
    const bytes = readFileSync(path)
    bytes[at] = (bytes[at] as number) ^ (1 << (at % 8))
    writeFileSync(path, bytes)
  }
})

describe('indexes', () => {
  const many = 120
  const small = { segmentBytes: 1000, indexIntervalBytes: 100 }

  /** Many segments; returns the hint of a clean close. */
  function fill(directory: string): LogHint {
    const { log } = open(directory, null, small)
    for (let i = 0; i < many; i++) write(log, batch(i, 1))
    assert.ok(log.segmentCount > 5)
    return log.close()
  }

  const damages: Record<string, (path: string) => void> = {
    'are gone': (path) => rmSync(path),
    'are empty': (path) => truncateSync(path, 0),
    'are cut inside an entry': (path) => {
      const { length } = readFileSync(path)
      truncateSync(path, Math.max(0, length - 3))
    },
    'hold garbage': (path) => {
      const bytes = readFileSync(path)
      for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 37 + 11) & 0xff
      writeFileSync(path, bytes)
    },
    'hold zeros': (path) => writeFileSync(path, Buffer.alloc(readFileSync(path).length + 40)),
  }

  for (const [name, damage] of Object.entries(damages)) {
    test(`that ${name} are rebuilt after an unclean stop`, async () => {
      const directory = join(root, `index-${copies++}`)
      fill(directory)
      for (const file of readdirSync(directory)) {
        if (/\.(index|timeindex)$/.test(file)) damage(join(directory, file))
      }
      const { log } = open(directory, null, small)
      assert.deepEqual(log.verify().problems, [])
      await checkLookUps(log)
      log.close()
    })
  }

  for (const name of ['are gone', 'are cut inside an entry']) {
    test(`that ${name} mislead no reader after a clean stop`, async () => {
      const directory = join(root, `index-${copies++}`)
      const hint = fill(directory)
      for (const file of readdirSync(directory)) {
        if (/\.(index|timeindex)$/.test(file)) damages[name]!(join(directory, file))
      }
      const { log } = open(directory, hint, small)
      await checkLookUps(log)
      log.close()
    })
  }

  async function checkLookUps(log: PartitionLog): Promise<void> {
    assert.equal((await readAll(log)).length, many)
    for (let i = 0; i < many; i += 7) {
      const found = log.batchForTimestamp(TIMESTAMP_MS + i, 'logEnd')
      assert.equal(found?.baseOffset, i)
      const location = log.locate(i, 1, { minOneBatch: true, upTo: 'logEnd' })
      assert.ok(typeof location === 'object')
      const into = new Uint8Array(location.length)
      log.read(location, into, 0)
      const [first] = await decodeAll(into)
      assert.equal(first?.header.baseOffset, i)
    }
    assert.equal(log.batchForTimestamp(TIMESTAMP_MS + many, 'logEnd'), null)
    assert.equal(log.batchOfMaxTimestamp('logEnd')?.baseOffset, many - 1)
  }
})

describe('a clean mark', () => {
  test('that knows less than the files is not trusted: nothing is written behind it', () => {
    const directory = join(root, 'stale')
    const first = open(directory, null)
    write(first.log, batch(0, 1))
    const stale = first.log.close()
    const second = open(directory, stale)
    for (let i = 1; i < 4; i++) write(second.log, batch(i, 1))
    // The process is killed here, and the old mark comes back.
    refuses(directory, stale)
    // Without the mark the log is scanned, and whole.
    const { log } = open(directory, null)
    assert.equal(write(log, batch(4, 1)), 4)
    log.close()
  })

  test('that knows more than the files is not trusted: nothing is written behind it', () => {
    const directory = copyWith(() => {})
    const mark = open(directory, null).log.close()
    truncateSync(join(directory, FIRST_LOG), lastBatchAt + 5)
    refuses(directory, mark)
  })

  function refuses(directory: string, mark: LogHint): void {
    const path = join(directory, FIRST_LOG)
    const bytes = readFileSync(path)
    const { log } = open(directory, mark)
    const out = newAppendResult()
    const run = batch(9, 1)
    log.append({ bytes: run, offset: 0, length: run.length }, 0, out)
    assert.equal(out.errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
    assert.match(out.errorMessage ?? '', /clean-shutdown checkpoint says|Cannot index/)
    assert.ok(readFileSync(path).equals(bytes))
  }
})

describe('a broker', () => {
  test('killed and torn starts with the last whole batch and says what it cut', async () => {
    const at = { topic: 'torn', partition: 1 }
    const dataDirs = [join(root, 'broker')]
    let folder = ''
    let broker = await startBroker({ dataDirs })
    try {
      let client = await RawClient.open(broker.port)
      const topicId = await createTopic(client, { name: at.topic, partitions: 3 })
      folder = join(dataDirs[0]!, `${uuidToHex(topicId)}-1`)
      await appendOk(client, at, batchOf({ values: ['first'] }))
      const size = batchOf({ values: ['last'] }).length
      for (const keep of [1, 60, size - 1]) {
        await appendOk(client, at, batchOf({ values: ['last'] }))
        client.close()
        await broker.kill()
        const path = join(folder, FIRST_LOG)
        truncateSync(path, readFileSync(path).length - size + keep)
        broker = await startBroker({ dataDirs })
        client = await RawClient.open(broker.port)
        assert.match(broker.output(), /cut at offset 1 /)
        assert.deepEqual(await values(client, at), ['first'])
      }
      assert.equal(await appendOk(client, at, batchOf({ values: ['new'] })), 1)
      client.close()
      await broker.stop()
    } finally {
      await broker.kill()
    }
  })
})
