/** `millrace bench` as people and harnesses run it, against a real broker. Small loads. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { brokerMain, startBroker, type TestBroker } from '../support/broker.ts'

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const children = new Set<ChildProcess>()

function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Outcome> } {
  const child = spawn(process.execPath, [brokerMain(), ...args])
  children.add(child)
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk
  })
  child.stdin?.end()
  const ended = new Promise<Outcome>((resolve) => {
    child.on('close', (code) => {
      children.delete(child)
      resolve({ code, out, err })
    })
  })
  return { child, ended }
}

function run(...args: string[]): Promise<Outcome> {
  return start(['bench', ...args]).ended
}

/** `run`, for longer where the machine is too busy for anything to be acknowledged in time. */
async function runMeasured(...args: string[]): Promise<Outcome> {
  const at = args.lastIndexOf('--duration') + 1
  for (let seconds = Number(args[at]); ; seconds *= 4) {
    const outcome = await run(...args.with(at, String(seconds)))
    const isTooShort = outcome.err.includes('nothing was acknowledged in the measurement')
    if (!isTooShort || seconds > 10) return outcome
  }
}

/** Resolves when the program has printed a line that holds `text`. */
function said(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve) => {
    let out = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk
      if (out.includes(text)) resolve()
    })
  })
}

const SHORT = ['--warm-up', '0.1', '--duration', '0.5', '--event-bytes', '100']
const SMALL = [...SHORT, '--batch-bytes', '4000', '--partitions', '3']

describe('millrace bench', () => {
  let broker: TestBroker
  let kafka: string[] = []
  let ws: string[] = []
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'))

  before(async () => {
    broker = await startBroker({ shards: 1 })
    const here = ['--data-dir', broker.dataDir, '--broker-pid', String(broker.pid)]
    kafka = ['--kafka', broker.bootstrap, ...here]
    ws = ['--driver', 'ws', '--url', `${broker.httpUrl.replace('http', 'ws')}/ws`, ...here]
  })

  after(async () => {
    for (const child of children) child.kill('SIGKILL')
    await broker.stop()
    broker.cleanUp()
    rmSync(directory, { recursive: true })
  })

  test('produce, every door, source and loop, agrees with the log to the byte', async () => {
    for (const [door, at] of Object.entries({ kafka, ws })) {
      for (const source of ['prebuilt', 'client']) {
        // Each door and each source has both loops.
        const rate = (door === 'kafka') === (source === 'prebuilt') ? 'max' : '3000'
        const which = ['--topic', `${door}-${source}`, '--source', source, '--rate', rate]
        const { code, out, err } = await runMeasured(
          'produce',
          ...at,
          ...SMALL,
          ...which,
          ...JSON_ONLY,
        )
        const name = which.join(' ')
        assert.equal(code, 0, `${name}: ${err}`)
        const result = JSON.parse(out)
        assert.deepEqual([result.verified, result.problem, result.stoppedBy], [true, null, 'time'])
        assert.deepEqual([result.driver, result.source], [door, source])
        assert.equal(result.mode, rate === 'max' ? 'closed' : 'open')
        assert.match(result.bytesOnDisk, /^compared/, name)
        assert.ok(result.eventsPerSecond > 0 && result.bytesPerSecond > 0, name)
        assert.equal(typeof result.cpuSecondsPerGb, 'number')
        for (const key of ['p50', 'p90', 'p99', 'p999', 'p9999', 'max', 'mean']) {
          assert.equal(typeof result.latencyMs[key], 'number', key)
        }
        assert.ok(result.latencyMs.p50 <= result.latencyMs.max)
      }
    }
  })

  test('produce, over REST, agrees with the end offsets', async () => {
    const at = ['--driver', 'rest', '--url', broker.httpUrl, '--topic', 'rest', '--partitions', '3']
    const { code, out, err } = await runMeasured('produce', ...at, '--duration', '1', ...JSON_ONLY)
    assert.equal(code, 0, err)
    const result = JSON.parse(out)
    assert.deepEqual([result.driver, result.verified, result.problem], ['rest', true, null])
    assert.ok(result.eventsPerSecond > 0)
  })

  test('consume, both doors, reads what produce has written, and every CRC', async () => {
    const counts: number[] = []
    for (const at of [kafka, ws]) {
      for (const consumers of ['1', '2']) {
        const topic = ['--topic', 'kafka-client', '--consumers', consumers, '--check-crc']
        const { code, out, err } = await run('consume', ...at, ...topic, ...JSON_ONLY)
        assert.equal(code, 0, err)
        const result = JSON.parse(out)
        assert.deepEqual([result.verified, result.stoppedBy, result.crc], [true, 'end', 'checked'])
        assert.equal(result.latencyMs, null)
        counts.push(result.events)
      }
    }
    assert.ok((counts[0] ?? 0) > 0)
    assert.equal(new Set(counts).size, 1, `all read the same: ${counts}`)
  })

  test('end-to-end, every door and source, sees everything arrive', async () => {
    for (const [door, at] of Object.entries({ kafka, ws })) {
      for (const source of ['prebuilt', 'client']) {
        const which = ['--topic', `all-${door}-${source}`, '--source', source, '--rate', '2000']
        const { code, out, err } = await runMeasured(
          'end-to-end',
          ...at,
          ...SMALL,
          ...which,
          ...JSON_ONLY,
        )
        assert.equal(code, 0, `${which.join(' ')}: ${err}`)
        const result = JSON.parse(out)
        assert.deepEqual([result.command, result.verified], ['end-to-end', true])
        assert.ok(result.latencyMs.count > 0 && result.produceMs.count > 0)
        assert.equal(result.latencyMs.count, result.produceMs.count, 'one arrival for each answer')
        assert.ok(result.consumedEventsPerSecond > 0)
      }
    }
  })

  test('produce, ndjson, tells a harness both instants and the result in its units', async () => {
    const { code, out, err } = await runMeasured(
      'produce',
      ...kafka,
      ...SMALL,
      '--format',
      'ndjson',
    )
    assert.equal(code, 0, err)
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['measure-start', 'measure-end', 'result'],
    )
    const result = lines[2]
    for (const name of ['requests', 'bytes', 'seconds', 'offered', 'overdue', 'clientCpuSeconds']) {
      assert.equal(typeof result[name], 'number', name)
    }
    assert.equal(result.latencyMicros.p50, Math.round(result.latencyMs.p50 * 1000))
    assert.equal(result.serviceMicros.count, result.serviceMs.count)
  })

  test('produce, a file for values and one for latencies, a table, progress', async () => {
    const [payload, hdr] = [join(directory, 'payload'), join(directory, 'latency.hgrm')]
    writeFileSync(payload, 'a line of a log file that compresses well\n'.repeat(1000))
    const files = [
      '--payload-file',
      payload,
      '--hdr',
      hdr,
      '--compression',
      'zstd',
      '--topics',
      '2',
    ]
    const long = ['--duration', '1.5', '--topic', 'files', '--delete-topics']
    const { code, out, err } = await runMeasured('produce', ...kafka, ...SMALL, ...files, ...long)
    assert.equal(code, 0, err)
    assert.match(out, /source +prebuilt \(batches encoded once from \S+payload, sent again\)/)
    assert.match(out, /P99\.99/)
    assert.match(out, /✓ .* verified/)
    assert.match(err, /1 s {2}measure .* events\/s .* p99 /)
    assert.match(readFileSync(hdr, 'utf8'), /Value {5}Percentile TotalCount 1\/\(1-Percentile\)/)
    const gone = await run('consume', ...kafka, '--topic', 'files')
    assert.equal(gone.code, 1)
    assert.match(gone.err, /there is no topic files-0: millrace bench produce makes some/)
  })

  test('produce, events that somebody else has written, are found and fail the run', async () => {
    const which = ['--topic', 'shared', '--partitions', '1', '--rate', '500', '--format', 'ndjson']
    // Until the other one is done, however long that takes.
    const load = start(['bench', 'produce', ...kafka, ...SHORT, ...which, '--duration', '600'])
    await said(load.child, 'measure-start')
    const url = ws[3] as string
    const other = spawn(process.execPath, [brokerMain(), 'produce', 'shared-0', '--url', url])
    other.stdin.end('one more\n')
    await new Promise((resolve) => other.on('close', resolve))
    load.child.kill('SIGINT')
    const { code, out, err } = await load.ended
    assert.equal(code, 1)
    assert.match(err, /error: the run proves nothing: shared-0-0: .*does somebody else write/)
    const result = JSON.parse(out.trim().split('\n').at(-1) ?? '')
    assert.deepEqual([result.verified, typeof result.problem], [false, 'string'])
  })

  test('produce, interrupted, reports and verifies what there is', async () => {
    const which = ['--topic', 'cut', '--format', 'ndjson', '--duration', '600']
    const load = start(['bench', 'produce', ...kafka, ...SMALL, ...which])
    await said(load.child, 'measure-start')
    load.child.kill('SIGINT')
    const { out, err } = await load.ended
    const result = JSON.parse(out.trim().split('\n').at(-1) ?? '')
    assert.equal(result.stoppedBy, 'signal', err)
    assert.ok(result.problem === null || /nothing was acknowledged/.test(result.problem), err)
  })

  test('produce, over ws with more connections than the credits are enough for, takes turns', async () => {
    const many = ['--connections', '64', '--batch-bytes', '1000000', '--event-bytes', '10000']
    const short = ['--warm-up', '0', '--duration', '3', '--format', 'ndjson']
    const { code, out, err } = await run('produce', ...ws, ...many, '-t', 'credits', ...short)
    assert.equal(code, 0, err)
    const result = JSON.parse(out.trim().split('\n').at(-1) ?? '')
    assert.deepEqual([result.verified, result.problem], [true, null])
  })

  test('what is wrong is said in a line, with what to do', async () => {
    const elsewhere = ['--kafka', broker.bootstrap, '--data-dir', directory]
    const cases: [string[], number, RegExp][] = [
      [['produce', ...kafka, '--acks', '0'], 2, /error: --acks 0 needs a --rate/],
      [['produce', '--rate', 'fast'], 2, /Expected events a second/],
      [['produce', '--driver', 'ws', '--url', 'http://x'], 2, /--url http:\/\/x/],
      [['consume', '--driver', 'rest'], 2, /Allowed choices are kafka, ws/],
      [['produce', '--kafka', '127.0.0.1:1'], 1, /error: .*127\.0\.0\.1:1/],
      [['produce', '--driver', 'ws', '--url', 'ws://127.0.0.1:1/ws'], 1, /error: no broker/],
      [['produce', ...elsewhere, '-t', 'kafka-client'], 1, /is it this broker/],
      [['produce', ...kafka, '--payload-file', join(directory, 'none')], 1, /payload file/],
    ]
    for (const [args, expected, message] of cases) {
      const { code, err } = await run(...args)
      assert.equal(code, expected, `${args.join(' ')}: ${err}`)
      assert.match(err, message, args.join(' '))
    }
  })
})

const JSON_ONLY = ['--format', 'json', '--quiet']
