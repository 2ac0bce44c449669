/**
 * Real input: log files streamed line by line through kcat and through the Java producer, read back
 * by the other one, checksums equal. MILLRACE_TEST_LOGS names a folder of .log files; without it
 * the lines are generated, with the shapes of real logs (repeated prefixes, long lines, non-ASCII
 * text).
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Random } from '../../src/base/random.ts'
import { withBroker } from '../support/broker.ts'
import { testSeed } from '../support/seed.ts'
import { type Compression, type KafkaClient, skipUnless } from './clients/client.ts'
import { JavaClient } from './clients/java.ts'
import { kcat } from './clients/kcat.ts'

const run = promisify(execFile)
const TIMEOUT_MS = 180_000
const java = new JavaClient()
const skip = skipUnless(java.available(), kcat.available())

function sampleFiles(scratch: string): string[] {
  const folder = process.env.MILLRACE_TEST_LOGS
  if (folder !== undefined) {
    const files = readdirSync(folder).filter((name) => name.endsWith('.log'))
    if (files.length > 0) return files.map((name) => join(folder, name))
  }
  const random = new Random(testSeed())
  return ['kernel', 'server'].map((name) => {
    const path = join(scratch, `${name}.log`)
    const lines = Array.from({ length: 3000 }, (_, i) => {
      const text = 'état Ω connection from 10.0.0.1 closed, '.repeat(random.between(1, 12))
      return `2024-06-09 20:10:${i % 60} ${name}[${random.below(4000)}]: ${text}#${i}`
    })
    writeFileSync(path, `${lines.join('\n')}\n`)
    return path
  })
}

/** The file's lines as producers see them: kcat sends none that is empty. */
function linesOf(path: string): Buffer[] {
  const lines: Buffer[] = []
  const bytes = readFileSync(path)
  let from = 0
  while (from < bytes.length) {
    const found = bytes.indexOf(10, from)
    const to = found < 0 ? bytes.length : found
    if (to > from) lines.push(bytes.subarray(from, to))
    from = to + 1
  }
  return lines
}

function checksum(lines: readonly (Uint8Array | null)[]): string {
  const hash = createHash('sha256')
  for (const line of lines) {
    hash.update(line ?? '(null)')
    hash.update('\n')
  }
  return hash.digest('hex')
}

async function readBack(
  reader: KafkaClient,
  at: { bootstrap: string; topic: string; count: number },
): Promise<string> {
  const records = await reader.consume({ ...at, partition: 0, fromOffset: 0 })
  assert.deepEqual(
    records.map((record) => record.offset),
    records.map((_, i) => i),
    'offsets are dense',
  )
  return checksum(records.map((record) => record.value))
}

test('log files through kcat and Java come back with equal checksums', {
  skip,
  timeout: TIMEOUT_MS,
}, async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-logs-'))
  try {
    await withBroker({ shards: 3 }, async ({ bootstrap }) => {
      for (const path of sampleFiles(scratch)) {
        const name = basename(path, '.log')
        const lines = linesOf(path)
        const expected = checksum(lines)
        const at = { bootstrap, count: lines.length }

        await run('kcat', [
          '-P',
          '-b',
          bootstrap,
          '-t',
          `kcat-${name}`,
          '-p',
          '0',
          '-z',
          'lz4',
          '-l',
          path,
        ])
        assert.equal(await readBack(java, { ...at, topic: `kcat-${name}` }), expected)
        assert.equal(await readBack(kcat, { ...at, topic: `kcat-${name}` }), expected)

        const compression: Compression = 'zstd'
        const records = lines.map((value) => ({ partition: 0, key: null, value, headers: [] }))
        await java.produce({ bootstrap, topic: `java-${name}`, compression, records })
        assert.equal(await readBack(kcat, { ...at, topic: `java-${name}` }), expected)
        assert.equal(await readBack(java, { ...at, topic: `java-${name}` }), expected)
      }
    })
  } finally {
    await java.close()
    rmSync(scratch, { recursive: true, force: true })
  }
})
