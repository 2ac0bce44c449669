/** `millrace produce`, `consume` and `demo` as people run them, against a real broker. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { brokerMain, startBroker, type TestBroker } from '../support/broker.ts'

interface Outcome {
  readonly code: number | null
  readonly out: Buffer
  readonly err: string
}

const children = new Set<ChildProcess>()

function start(args: readonly string[], url: string | null): ChildProcess {
  const environment = { ...process.env, ...(url === null ? {} : { MILLRACE_URL: url }) }
  const child = spawn(process.execPath, [brokerMain(), ...args], { env: environment })
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

function run(args: readonly string[], url: string | null, input: Uint8Array | string = '') {
  const child = start(args, url)
  const out: Buffer[] = []
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return new Promise<Outcome>((resolve) => {
    child.on('close', (code) => resolve({ code, out: Buffer.concat(out), err }))
  })
}

describe('commands that stream events', () => {
  let broker: TestBroker
  let url = ''
  const directory = mkdtempSync(join(tmpdir(), 'millrace-stream-'))

  before(async () => {
    broker = await startBroker()
    url = `${broker.httpUrl.replace('http', 'ws')}/ws`
  })

  after(async () => {
    for (const child of children) child.kill('SIGKILL')
    await broker.stop()
    broker.cleanUp()
    rmSync(directory, { recursive: true })
  })

  test('what produce was given, consume prints, byte for byte, with every compression', async () => {
    // Bytes of every kind, but for the line ends between them.
    const lines = Array.from({ length: 2000 }, (_, i) => {
      const bytes = randomBytes((i * 7) % 300)
      return Buffer.from(bytes.map((byte) => (byte === 0x0a ? 0x0b : byte)))
    })
    const text = Buffer.concat(lines.flatMap((line) => [line, Buffer.of(0x0a)]))
    const file = join(directory, 'lines')
    writeFileSync(file, text)
    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
      const topic = `bytes-${compression}`
      const compressed = ['--compression', compression, '--partition', '0']
      const sent = await run(['produce', topic, '--file', file, ...compressed], url)
      assert.equal(sent.code, 0, sent.err)
      assert.match(sent.err, /2,000 events/)
      const read = await run(['consume', topic, '--from-beginning', '--exit'], url)
      assert.equal(read.code, 0, read.err)
      assert.equal(Buffer.compare(read.out, text), 0, compression)
    }
  })

  test('keys, partitions, offsets and formats', async () => {
    const sent = await run(
      ['produce', 'keyed', '-k', ':', '-p', '0', '--format', 'json'],
      url,
      'k1:one\nno key\nk2:two:more\n:empty key\nlast without an end',
    )
    assert.equal(sent.code, 0, sent.err)
    const said = JSON.parse(sent.out.toString())
    assert.deepEqual([said.topic, said.records], ['keyed', 5])
    const read = await run(['consume', 'keyed', '-b', '-e', '--format', '%p/%o %k=%v\\n'], url)
    assert.equal(
      read.out.toString(),
      '0/0 k1=one\n0/1 =no key\n0/2 k2=two:more\n0/3 =empty key\n0/4 =last without an end\n',
    )
    const args = ['--offset', '2', '--partition', '0', '--max', '2', '--format', 'json']
    const some = await run(['consume', 'keyed', ...args], url)
    assert.deepEqual(
      some.out
        .toString()
        .trim()
        .split('\n')
        .map((line) => {
          const { offset, key, value } = JSON.parse(line)
          return [offset, key, value]
        }),
      [
        [2, 'k2', 'two:more'],
        [3, '', 'empty key'],
      ],
    )
    const nothing = await run(['consume', 'keyed', '--exit'], url)
    assert.deepEqual([nothing.code, nothing.out.length], [0, 0], 'from now on, and to the end')
  })

  test('consume prints what comes, and ends with whom it prints to', async () => {
    await run(['produce', 'live', '-p', '0'], url, 'before\n')
    const child = start(['consume', 'live', '--offset', '1', '--partition', '0'], url)
    const first = new Promise<string>((resolve) => {
      child.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString()))
    })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    await run(['produce', 'live', '-p', '0'], url, 'now\n')
    assert.equal(await first, 'now\n')
    child.stdout?.destroy()
    await run(['produce', 'live', '-p', '0'], url, 'a\n'.repeat(1000))
    assert.equal(await ended, 0)
  })

  test('what is wrong is said in a line, with what to do', async () => {
    const nobody = await run(['produce', 'x', '--url', 'ws://127.0.0.1:1/ws'], null, 'a\n')
    assert.equal(nobody.code, 1)
    assert.match(nobody.err, /^error: no broker answers at ws:\/\/127\.0\.0\.1:1\/ws: .*start/)
    const noTopic = await run(['consume', 'there-is-none', '-e'], url)
    assert.equal(noTopic.code, 1)
    assert.match(noTopic.err, /^error: .*topic/)
    const noFile = await run(['produce', 'x', '--file', join(directory, 'none')], url)
    assert.equal(noFile.code, 1)
    assert.match(noFile.err, /^error: Cannot read/)
    for (const args of [
      ['consume', 'x', '--format', '%z'],
      ['consume', 'x', '--offset', '-1'],
      ['produce', 'x', '--url', 'http://127.0.0.1'],
      ['produce', 'x', '--compression', 'brotli'],
    ]) {
      const usage = await run(args, url)
      assert.equal(usage.code, 2, args.join(' '))
      assert.match(usage.err, /^error: /)
    }
  })

  test('demo, on a broker that runs, reads back every byte through both doors', async () => {
    const file = join(directory, 'demo')
    const text = Array.from({ length: 5000 }, (_, i) => `line ${i} ${'x'.repeat(i % 90)}\n`).join(
      '',
    )
    writeFileSync(file, text)
    const { code, out, err } = await run(['demo', '--file', file, '--format', 'json'], url)
    assert.equal(code, 0, err)
    const outcome = JSON.parse(out.toString())
    assert.equal(outcome.ok, true)
    assert.equal(outcome.events, 5000)
    assert.equal(outcome.sha256, createHash('sha256').update(readFileSync(file)).digest('hex'))
    for (const reader of outcome.readers) assert.equal(reader.sha256, outcome.sha256)
  })

  test('demo, where no broker runs, brings its own', async () => {
    const { code, out, err } = await run(['demo', '-u', 'ws://127.0.0.1:1/ws', '-p', '2'], null)
    assert.equal(code, 0, err)
    assert.match(err, /started for this demo/)
    assert.match(out.toString(), /✓ every byte, once, in order/)
  })
})
