/** What a broker writes to stdout and stderr, and that nothing there can harm it. */
import assert from 'node:assert/strict'
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { brokerMain, withBroker } from '../support/broker.ts'
import { appendOk, batchOf, createTopic } from '../support/kafka.ts'
import { scrape } from '../support/metrics.ts'
import { freePort } from '../support/ports.ts'
import { RawClient } from '../support/raw-client.ts'

interface Line {
  readonly level: number
  readonly component: string
  readonly msg: string
  readonly [field: string]: unknown
}

function linesOf(output: string): Line[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
}

describe('the log', () => {
  test('says by component what its levels let through', async () => {
    let output = ''
    await withBroker(
      { shards: 1, set: { 'millrace.log.level': 'warn,metadata=debug,kafka=debug' } },
      async (broker) => {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: 'orders', partitions: 2 })
        client.close()
        await client.closed
        while (!broker.output().includes('disconnected')) {
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        output = broker.output()
      },
    )
    const lines = linesOf(output)
    assert.deepEqual(
      lines
        .filter(({ component }) => component === 'metadata')
        .map(({ msg, topic }) => [msg, topic]),
      [['created partitions', 'orders']],
    )
    assert.deepEqual([...new Set(lines.map(({ component }) => component))].sort(), [
      'kafka',
      'metadata',
    ])
  })

  test('says at the end what was closed and flushed, and how long it took', async () => {
    let output = (): string => ''
    await withBroker({ shards: 2 }, async (broker) => {
      output = broker.output
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'orders', partitions: 2 })
      for (let i = 0; i < 6; i++) {
        await appendOk(
          client,
          { topic: 'orders', partition: i % 2 },
          batchOf({ values: ['a', 'b'] }),
        )
      }
      client.close()
    })
    const stopped = linesOf(output()).find(({ msg }) => msg.startsWith('stopped'))
    // Two logs of the topic and the metadata log, which has flushed already.
    assert.equal(stopped?.logs, 3)
    assert.equal(stopped?.flushedRecords, 12)
    assert.match(stopped?.msg ?? '', /3 open, 12 records flushed · in \d+ ms, after \d+ s$/)
  })

  test('says why auto took no better web engine', () =>
    withBroker({ shards: 1, set: { 'millrace.native.tier': 'portable' } }, async (broker) => {
      const ready = linesOf(broker.output()).find(({ msg }) => msg.startsWith('ready'))
      assert.match(ready?.msg ?? '', /\((uWebSockets\.js|node:http); native: the tier is portable/)
    }))

  for (const [name, stream] of [
    ['stdout is a pipe that nobody reads any more', 'stdout'],
    ['stderr is a pipe that nobody reads any more', 'stderr'],
  ] as const) {
    test(`serves on when ${name}`, () =>
      serving(['ignore', 'pipe', 'pipe'], async ({ child, port, httpUrl }) => {
        child[stream]?.destroy()
        await breakProtocol(port, 20)
        const at = await scrape(httpUrl)
        assert.equal(at.get('millrace_complaints_total{door="kafka",kind="limit"}'), 20)
      }))
  }

  test('serves when the disk of its log is full, and counts what is lost', async () => {
    const full = openSync('/dev/full', 'w')
    try {
      await serving(['ignore', full, full], async ({ port, httpUrl }) => {
        await breakProtocol(port, 3)
        const at = await scrape(httpUrl)
        assert.equal(at.get('millrace_log_lines_dropped_total'), 4, 'the line "ready", and three')
      })
    } finally {
      closeSync(full)
    }
  })
})

/** Frames that are too long: each costs its connection, and is worth a line. */
async function breakProtocol(port: number, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const client = await RawClient.open(port)
    client.sendBytes(Buffer.from([0x7f, 0xff, 0xff, 0xff]))
    await client.closed
  }
}

interface Serving {
  readonly child: ChildProcess
  readonly port: number
  readonly httpUrl: string
}

/** A broker whose streams are the test's own; it must still end in order. */
async function serving(
  stdio: StdioOptions,
  use: (broker: Serving) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-test-'))
  const [port, httpPort] = [await freePort(), await freePort()]
  const child = spawn(
    process.execPath,
    [
      ...[brokerMain(), 'start', '--data-dir', directory, '--shards', '1'],
      ...['--kafka', `127.0.0.1:${port}`, '--http', `127.0.0.1:${httpPort}`],
      // An option that does nothing: a warning on stderr at start.
      ...['--set', 'num.io.threads=8'],
    ],
    { stdio },
  )
  const ended = once(child, 'exit')
  try {
    const httpUrl = `http://127.0.0.1:${httpPort}`
    for (;;) {
      assert.equal(child.exitCode, null, 'it ended while starting')
      const response = await fetch(`${httpUrl}/health/ready`).catch(() => null)
      await response?.body?.cancel()
      if (response?.status === 200) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await use({ child, port, httpUrl })
    child.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null])
  } finally {
    child.kill('SIGKILL')
    await ended
    rmSync(directory, { recursive: true, force: true })
  }
}
