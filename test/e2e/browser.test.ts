/**
 * The client in a real browser against a real broker, on both HTTP engines: what a page of another
 * port writes, it reads whole, once and in order, and so does a Kafka client. Skipped where
 * Chromium is missing; in CI that fails.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { COMPRESSION_LZ4 } from '../../src/record/compression-code.ts'
import { partitionOfKey } from '../../src/record/murmur2.ts'
import { startBroker, type TestBroker, withBroker } from '../support/broker.ts'
import { appendOk, batchOf, createTopic, readPartition } from '../support/kafka.ts'
import { packageRoot } from '../support/package-root.ts'
import { freePort } from '../support/ports.ts'
import { RawClient } from '../support/raw-client.ts'
import { chromiumAvailable, TestBrowser, type TestPage } from './browser/chromium.ts'
import { keyOf } from './browser/events.ts'
import type { Events, Places } from './browser/page.ts'

const PARTITIONS = 3
/** The page's side is the same with all engines: the default one gets the most. */
const COUNTS = { native: 50_000, uws: 10_000, node: 10_000 }
const RESTART_COUNT = 20_000
const TIMEOUT_MS = 300_000
const TOPIC = 'from-a-page'

const available = chromiumAvailable()
if (available !== true && process.env.CI) throw new Error(available)
const skip = available === true ? false : `SKIPPED: ${available}`

let browser: TestBrowser

before(async () => {
  if (available === true) browser = await TestBrowser.open()
})

after(() => browser?.close())

function webSocketUrl(broker: TestBroker): string {
  return `${broker.httpUrl.replace(/^http/, 'ws')}/ws`
}

/** Runs `use` with a page, which must not have broken the policy nor thrown into the void. */
async function withPage(use: (page: TestPage) => Promise<void>, host?: string): Promise<void> {
  const page = await browser.openPage(host)
  try {
    await use(page)
    assert.deepEqual(await page.run('violations'), [])
    assert.deepEqual(page.errors, [])
  } finally {
    await page.close()
  }
}

async function withKafka(port: number, use: (client: RawClient) => Promise<void>): Promise<void> {
  const client = await RawClient.open(port)
  try {
    await use(client)
  } finally {
    client.close()
  }
}

/** Reads what Kafka's protocol gives; events as the page would have them. */
async function readByKafka(port: number): Promise<string[][]> {
  const partitions: string[][] = []
  await withKafka(port, async (client) => {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const records = await readPartition(client, { topic: TOPIC, partition })
      partitions.push(records.map(({ value }) => value))
    }
  })
  return partitions
}

/** Every event is there once, where its producer was told, in order, by both doors. */
async function check(places: Places, events: Events, port: number): Promise<void> {
  const partitions = await readByKafka(port)
  assert.equal(partitions.flat().length, places.length, 'events that Kafka clients read')
  assert.equal(events.length, places.length, 'events that the page reads')
  const read: string[][] = partitions.map(() => [])
  const seen = new Set<string>()
  for (const [partition, offset, key, value] of events) {
    const where = `event ${value} at ${partition}-${offset}`
    assert.equal(offset, read[partition]?.length, `${where}: the next offset`)
    const number = Number(value)
    const before = read[partition]?.at(-1) ?? -1
    assert.ok(number > Number(before), `${where}: stands behind ${before}`)
    assert.ok(!seen.has(value), `${where}: was read before`)
    seen.add(value)
    read[partition]?.push(value)
    assert.deepEqual(places[number], [partition, offset], `${where}: where it was stored`)
    assert.equal(key, keyOf(number), `${where}: its key`)
    if (key === null) continue
    assert.equal(partition, partitionOfKey(Buffer.from(key), PARTITIONS), `${where}: by its key`)
  }
  assert.deepEqual(read, partitions, 'both doors give the same')
  for (const values of read) assert.ok(values.length > 0, 'each partition has events')
}

for (const [engine, count] of Object.entries(COUNTS)) {
  describe(`a page in Chromium, on ${engine}`, { skip, timeout: TIMEOUT_MS }, () => {
    const set = { 'millrace.http.engine': engine }

    function withBrokerAndPage(
      use: (broker: TestBroker, page: TestPage) => Promise<void>,
    ): Promise<void> {
      return withBroker({ set }, async (broker) => {
        await withKafka(broker.port, async (client) => {
          await createTopic(client, { name: TOPIC, partitions: PARTITIONS })
        })
        await withPage((page) => use(broker, page))
      })
    }

    test(`produces ${count} events and consumes them, none lost, none twice, in order`, () =>
      withBrokerAndPage(async (broker, page) => {
        const url = webSocketUrl(broker)
        const places = await page.run('produce', { url, topic: TOPIC, count })
        const events = await page.run('consume', { url, topic: TOPIC, count })
        const half = { url, topic: TOPIC, count: count / 2, group: 'page' }
        const inGroup = [...(await page.run('consume', half)), ...(await page.run('consume', half))]
        await check(places, inGroup, broker.port)
        await check(places, events, broker.port)
      }))

    test('compresses with gzip, and says of others that it cannot', () =>
      withBrokerAndPage(async (broker, page) => {
        const order = { url: webSocketUrl(broker), topic: TOPIC, count: 5000 }
        const places = await page.run('produce', { ...order, compression: 'gzip' })
        const events = await page.run('consume', order)
        await check(places, events, broker.port)
        const refused = await page.run('produceFailure', { ...order, compression: 'zstd' })
        assert.equal(refused.codeName, 'UNSUPPORTED_COMPRESSION_TYPE')

        await withKafka(broker.port, async (client) => {
          await createTopic(client, { name: 'lz4', partitions: 1 })
          const batch = batchOf({ compression: COMPRESSION_LZ4 })
          await appendOk(client, { topic: 'lz4', partition: 0 }, batch)
        })
        const unread = await page.run('consumeFailure', { ...order, topic: 'lz4', count: 1 })
        assert.equal(unread.codeName, 'UNSUPPORTED_COMPRESSION_TYPE')
      }))

    test('loses and repeats nothing, when the broker is killed and comes back', async () => {
      const port = await freePort()
      const options = { set, port, httpPort: await freePort() }
      let broker = await startBroker(options)
      try {
        await withKafka(port, async (client) => {
          await createTopic(client, { name: TOPIC, partitions: PARTITIONS })
        })
        await withPage(async (page) => {
          const order = { url: webSocketUrl(broker), topic: TOPIC, count: RESTART_COUNT }
          const consuming = page.run('consume', order)
          const producing = page.run('produce', { ...order, burst: 100 })
          const both = Promise.all([producing, consuming])
          while ((await page.run('acknowledged')) < RESTART_COUNT / 10) {
            await new Promise((resolve) => setTimeout(resolve, 5))
          }
          await broker.kill()
          const before = await page.run('acknowledged')
          assert.ok(before < RESTART_COUNT, 'it was killed in the middle')
          broker = await startBroker({ ...options, dataDirs: broker.dataDirs })
          const [places, events] = await both
          await check(places, events, port)
        })
      } catch (error) {
        process.stderr.write(`--- broker output ---\n${broker.output()}\n---\n`)
        throw error
      } finally {
        await broker.stop()
        broker.cleanUp()
      }
    })

    test('is refused, when its origin is foreign and not listed', async () => {
      const listed = `http://listed.example:${browser.port}`
      const origins = { ...set, 'millrace.http.allowed.origins': listed }
      await withBroker({ set: origins }, async (broker) => {
        const url = webSocketUrl(broker)
        const order = { url, waitMs: 30_000 }
        await withPage(async (page) => {
          assert.equal(await page.run('connects', order), true)
        }, 'listed.example')
        await withPage(async (page) => {
          assert.equal(await page.run('connects', { url, waitMs: 2000 }), false)
        }, 'foreign.example')
      })
    })
  })
}

test('the page of the README streams', { skip, timeout: TIMEOUT_MS }, async () => {
  const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8')
  const [, page = ''] = /```html\n(.*?)```/s.exec(readme) ?? []
  assert.ok(page.includes('ws://127.0.0.1:8080/ws'))
  await withBroker({}, async (broker) => {
    const html = page.replace('ws://127.0.0.1:8080/ws', webSocketUrl(broker))
    assert.match(await browser.show(html, /"x"/), /^\d+ 0 \{"x":12,"y":40\}$/)
  })
})

test('the package has one bundle, with the exports of its main entry but the broker', async () => {
  const require = createRequire(join(packageRoot(), 'package.json'))
  const path = require.resolve('millrace/browser')
  assert.equal(path, join(packageRoot(), 'dist/browser/millrace.js'))
  const [main, bundle] = await Promise.all([import('../../src/index.ts'), import(path)])
  const names = Object.keys(main).filter((name) => name !== 'startBroker')
  assert.deepEqual(Object.keys(bundle).sort(), names.sort())
})
