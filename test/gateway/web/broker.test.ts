/** The web door of a whole broker: which engine it says it runs, and what it serves. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ENGINE_NAMES, type WebEngine } from '../../../src/gateway/web/web-server.ts'
import { type BrokerOptions, type TestBroker, withBroker } from '../../support/broker.ts'
import { runCommand } from '../../support/command.ts'
import { closePayload, Opcode, WebSocketClient } from '../../support/web-socket-client.ts'
import { onEveryEngine } from './engines.ts'

/** Makes the package look as if it were not installed. */
const HIDE_UWS = `
const Module = require('node:module')
const resolve = Module._resolveFilename
Module._resolveFilename = function (name, ...rest) {
  if (name !== 'uWebSockets.js') return resolve.call(this, name, ...rest)
  throw Object.assign(new Error('hidden'), { code: 'MODULE_NOT_FOUND' })
}
`

async function withoutUws(use: (environment: { NODE_OPTIONS: string }) => Promise<void>) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-web-'))
  try {
    const path = join(directory, 'hide.cjs')
    writeFileSync(path, HIDE_UWS)
    await use({ NODE_OPTIONS: `--require ${path}` })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function checkReadyLine(broker: TestBroker, engine: WebEngine): Promise<void> {
  // Its health may be answered before this process has read its output.
  while (!/"msg":"ready.*\n/.test(broker.output())) await new Promise(setImmediate)
  const lines = broker.output().split('\n')
  const ready = JSON.parse(lines.find((line) => line.includes('"msg":"ready')) ?? '')
  const address = broker.httpUrl.slice('http://'.length)
  assert.equal(ready.http, address)
  assert.equal(ready.httpEngine, engine)
  assert.ok(ready.msg.includes(`http ${address} (${ENGINE_NAMES[engine]})`), ready.msg)
}

onEveryEngine('a broker', (engine) => {
  test('says the engine, serves health and metrics, and greets a WebSocket', async () => {
    const options: BrokerOptions = { shards: 1, set: { 'millrace.http.engine': engine } }
    await withBroker(options, async (broker) => {
      await checkReadyLine(broker, engine)
      const metrics = await (await fetch(`${broker.httpUrl}/metrics`)).text()
      assert.match(metrics, /^# TYPE millrace_/m)
      const client = await WebSocketClient.open(Number(new URL(broker.httpUrl).port))
      assert.equal((await client.frame())?.opcode, Opcode.BINARY)
      client.send(Opcode.CLOSE, closePayload(1000))
      assert.equal((await client.ended).code, 1000)
    })
  })
})

test('a broker without the addon and uWebSockets.js, takes node:http by itself', () =>
  withoutUws(async (without) => {
    const environment = { ...without, MILLRACE_NATIVE: 'off' }
    await withBroker({ shards: 1, environment }, async (broker) => checkReadyLine(broker, 'node'))
  }))

test('a broker without uWebSockets.js, refuses to start when told to take it', () =>
  withoutUws(async (environment) => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-web-'))
    try {
      const args = ['start', '--kafka', '127.0.0.1:0', '--http', '127.0.0.1:0']
      const set = ['--set', 'millrace.http.engine=uws', '--data-dir', directory]
      const { code, output } = await runCommand([...args, ...set], environment)
      assert.equal(code, 1, output)
      assert.match(output, /Cannot serve HTTP with millrace\.http\.engine=uws .*not installed/)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }))
