/**
 * The generator against the limit program, where both have been built. What is asserted is
 * agreement (acknowledged = written = end offsets), never speed.
 */
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort, sleep, startProcess, stopProcess } from '../../bench/lib/children.ts'
import { type LoadResult, limitsProgram, runLoad } from '../../bench/lib/limits.ts'

const isBuilt =
  existsSync(limitsProgram('produce-load')) && existsSync(limitsProgram('limit-server'))
const skip = isBuilt ? false : 'bench/limits is not built (cargo build --release)'

/** A run against a fresh limit program; returns its result and the bytes in its files. */
async function runAgainstLimit(
  serverArgs: readonly string[],
  loadArgs: readonly string[],
): Promise<{ result: LoadResult; written: number; marks: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-limits-'))
  const dataDir = join(folder, 'data')
  mkdirSync(dataDir)
  const logFile = join(folder, 'log')
  const address = `127.0.0.1:${await freePort()}`
  const args = ['--listen', address, '--data-dir', dataDir, '--partitions', '3', ...serverArgs]
  const child = startProcess({ command: limitsProgram('limit-server'), args, logFile })
  try {
    while (!readFileSync(logFile, 'utf8').includes('listening')) await sleep(5)
    const marks: string[] = []
    const result = await runLoad({
      address,
      args: ['--partitions', '3', '--connections', '5', '--warm-up', '0.05', ...loadArgs],
      onMeasure: (at) => marks.push(at),
      timeoutMs: 20_000,
    })
    const files = readdirSync(dataDir)
    const written = files.reduce((sum, name) => sum + statSync(join(dataDir, name)).size, 0)
    return { result, written, marks }
  } finally {
    await stopProcess(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

for (const writers of ['0', '1']) {
  for (const [name, load] of [
    ['large requests', ['--request-bytes', '65536', '--in-flight', '3']],
    ['single events', ['--events-per-request', '1', '--event-bytes', '200']],
    ['an open loop', ['--rate', '300', '--request-bytes', '4096', '--acks', 'all']],
  ] as const) {
    test(`produce-load agrees with limit-server, ${name}, ${writers} writers`, {
      skip,
    }, async () => {
      const { result, written, marks } = await runAgainstLimit(
        ['--writers', writers],
        [...load, '--duration', '0.2'],
      )
      assert.equal(result.problem, null)
      assert.ok(result.verified)
      assert.deepEqual(marks, ['start', 'end'])
      assert.ok(result.requests > 0)
      assert.equal(result.bytes, result.requests * result.batchBytes)
      assert.equal(written % result.batchBytes, 0)
      assert.ok(written >= result.bytes, 'warm-up and drain are written too')
    })
  }
}
