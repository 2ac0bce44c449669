/** The web door of a whole broker: which engine it says it runs, and what it serves. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadNative, nativeLoadError } from '../../../src/base/native.ts'
import { loadUws } from '../../../src/gateway/web/uws-library.ts'
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

/** `why`: what the line says of the engines that `auto` would rather have taken. */
async function checkReadyLine(broker: TestBroker, engine: WebEngine, why: string): Promise<void> {
  // Its health may be answered before this process has read its output.
  while (!/"msg":"ready.*\n/.test(broker.output())) await new Promise(setImmediate)
  const lines = broker.output().split('\n')
  const ready = JSON.parse(lines.find((line) => line.includes('"msg":"ready')) ?? '')
  const address = broker.httpUrl.slice('http://'.length)
  assert.equal(ready.http, address)
  assert.equal(ready.httpEngine, engine)
  assert.ok(ready.msg.includes(`http ${address} (${ENGINE_NAMES[engine]}${why}`), ready.msg)
}

onEveryEngine('a broker', (engine) => {
  test('says the engine, serves health and metrics, and greets a WebSocket', async () => {
    const options: BrokerOptions = { shards: 1, set: { 'millrace.http.engine': engine } }
    await withBroker(options, async (broker) => {
      await checkReadyLine(broker, engine, ')')
      const metrics = await (await fetch(`${broker.httpUrl}/metrics`)).text()
      assert.match(metrics, /^# TYPE millrace_/m)
      const client = await WebSocketClient.open(Number(new URL(broker.httpUrl).port))
      assert.equal((await client.frame())?.opcode, Opcode.BINARY)
      client.send(Opcode.CLOSE, closePayload(1000))
      assert.equal((await client.ended).code, 1000)
    })
  })
})

const skip = loadNative() === null ? `the addon: ${nativeLoadError()}` : false

test('a broker with the addon, takes it for WebSockets by itself', { skip }, async () => {
  await withBroker({ shards: 1 }, async (broker) => checkReadyLine(broker, 'native', ')'))
})

test('a broker in the portable tier, does not take the addon for WebSockets', {
  skip,
}, async () => {
  const portable = { 'millrace.native.tier': 'portable' }
  await withBroker({ shards: 1, set: portable }, async (broker) => {
    const engine = loadUws() === null ? 'node' : 'uws'
    await checkReadyLine(broker, engine, '; native: the tier is portable')
  })
  await refusesToStart(
    ['millrace.http.engine=native', 'millrace.native.tier=portable'],
    /Cannot serve HTTP with millrace\.http\.engine=native .*the tier is portable/,
  )
})

test('a broker without the addon and uWebSockets.js, takes node:http by itself', () =>
  withoutUws(async (without) => {
    const environment = { ...without, MILLRACE_NATIVE: 'off' }
    const why = '; native: MILLRACE_NATIVE is off; uWebSockets.js: it is not installed)'
    await withBroker({ shards: 1, environment }, (broker) => checkReadyLine(broker, 'node', why))
  }))

test('a broker without uWebSockets.js, refuses to start when told to take it', () =>
  withoutUws(async (environment) => {
    const text = /Cannot serve HTTP with millrace\.http\.engine=uws .*not installed/
    await refusesToStart(['millrace.http.engine=uws'], text, environment)
  }))

async function refusesToStart(
  settings: readonly string[],
  text: RegExp,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-web-'))
  try {
    const args = ['start', '--kafka', '127.0.0.1:0', '--http', '127.0.0.1:0']
    const set = settings.flatMap((setting) => ['--set', setting])
    const all = [...args, ...set, '--data-dir', directory]
    const { code, output } = await runCommand(all, environment)
    assert.equal(code, 1, output)
    assert.match(output, text)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
