/** Listener lists, and the warnings about what clients could not reach. */
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import {
  type AdvertisedListener,
  advertisedWarnings,
  formatEndpoint,
  isLoopback,
  isWildcard,
  type Listener,
  parseEndpoint,
  parseListeners,
} from '../../src/config/listeners.ts'

const MAP = 'PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,SECURE:SSL'

function parse(
  listeners: string,
  advertised: string | null = null,
): { listeners: Listener[]; advertised: AdvertisedListener[]; problems: string[] } {
  const problems: string[] = []
  return { ...parseListeners({ listeners, advertised, protocolMap: MAP }, problems), problems }
}

test('parseEndpoint, reads hosts, addresses and bare ports', () => {
  assert.deepEqual(parseEndpoint('example.org:9092'), { host: 'example.org', port: 9092 })
  assert.deepEqual(parseEndpoint('[::1]:9092'), { host: '::1', port: 9092 })
  assert.deepEqual(parseEndpoint(':9092'), { host: '', port: 9092 })
  assert.deepEqual(parseEndpoint('9092'), { host: '127.0.0.1', port: 9092 })
  for (const bad of ['', 'host', 'host:', 'host:x', 'host:65536', 'a b:1', '::1:9092', 'h:1:2']) {
    assert.equal(parseEndpoint(bad), null, bad)
  }
  assert.equal(formatEndpoint({ host: '::1', port: 1 }), '[::1]:1')
})

test('isLoopback, isWildcard, tell addresses apart', () => {
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '::1', 'db.localhost']) {
    assert.ok(isLoopback(host), host)
  }
  for (const host of ['', '0.0.0.0', '10.0.0.1', 'example.org', '1270.0.0.1', '127.evil.com']) {
    assert.ok(!isLoopback(host), host)
  }
  for (const host of ['', '0.0.0.0', '::', '0:0:0:0:0:0:0:0']) assert.ok(isWildcard(host), host)
  for (const host of ['::1', '0.0.0.1', 'a']) assert.ok(!isWildcard(host), host)
})

test('parseListeners, joins listeners with what is advertised, by name', () => {
  const result = parse(
    'INSIDE://127.0.0.1:9092, outside://0.0.0.0:9093',
    'OUTSIDE://broker.example:443',
  )
  assert.deepEqual(result.problems, [])
  assert.deepEqual(
    result.listeners.map((one) => one.name),
    ['INSIDE', 'OUTSIDE'],
  )
  assert.deepEqual(result.advertised, [
    { name: 'INSIDE', host: '127.0.0.1', port: 9092 },
    { name: 'OUTSIDE', host: 'broker.example', port: 443 },
  ])
})

test('parseListeners, advertises the machine by name, when every interface is bound', () => {
  assert.equal(parse('PLAINTEXT://:9092').advertised[0]?.host, hostname())
})

test('parseListeners, names every problem', () => {
  const cases: [string, string | null, RegExp][] = [
    ['localhost:9092', null, /should be NAME:\/\/HOST:PORT/],
    ['PLAINTEXT://9092', null, /should be NAME:\/\/HOST:PORT/],
    ['PLAINTEXT://a:1,PLAINTEXT://b:2', null, /PLAINTEXT stands there twice/],
    ['INSIDE://a:1,OUTSIDE://a:1', null, /a:1 is used twice/],
    ['OTHER://a:1', null, /OTHER is not in listener\.security\.protocol\.map/],
    ['SECURE://a:1', null, /SECURE is SSL; only PLAINTEXT/],
    ['INSIDE://a:1', 'OUTSIDE://a:1', /OUTSIDE is not one of the listeners/],
  ]
  for (const [listeners, advertised, pattern] of cases) {
    assert.match(parse(listeners, advertised).problems.join('\n'), pattern)
  }
  const problems: string[] = []
  const bad = { listeners: 'A://a:1', advertised: null, protocolMap: 'A=SSL,A:PLAINTEXT,A:SSL' }
  parseListeners(bad, problems)
  assert.equal(problems.length, 2, problems.join('\n')) // Bad form and twice; the first A holds.
})

async function warningsFor(listeners: string, advertised: string | null): Promise<string[]> {
  const parsed = parse(listeners, advertised)
  assert.deepEqual(parsed.problems, [])
  return await advertisedWarnings(parsed.listeners, parsed.advertised, async (host) => {
    if (host.endsWith('.invalid')) throw new Error('ENOTFOUND')
  })
}

test('advertisedWarnings, warns of what clients cannot reach', async () => {
  const cases: [string, string | null, RegExp | null][] = [
    ['PLAINTEXT://127.0.0.1:9092', null, null],
    ['PLAINTEXT://0.0.0.0:9092', 'PLAINTEXT://broker.example:9092', null],
    ['PLAINTEXT://127.0.0.1:9092', 'PLAINTEXT://localhost:9092', null],
    ['PLAINTEXT://0.0.0.0:9092', 'PLAINTEXT://0.0.0.0:9092', /nobody can connect to/],
    ['PLAINTEXT://[::]:9092', 'PLAINTEXT://[::]:9092', /nobody can connect to/],
    ['PLAINTEXT://0.0.0.0:9092', 'PLAINTEXT://localhost:9092', /only this machine can reach/],
    ['PLAINTEXT://127.0.0.1:9092', 'PLAINTEXT://broker.example:9092', /but the listener is bound/],
    ['PLAINTEXT://0.0.0.0:9092', 'PLAINTEXT://no.invalid:9092', /does not resolve here/],
    ['PLAINTEXT://0.0.0.0:9092', null, /where they cannot reach that, set advertised\.listeners=/],
  ]
  for (const [listeners, advertised, pattern] of cases) {
    const warnings = await warningsFor(listeners, advertised)
    if (pattern === null) assert.deepEqual(warnings, [], `${listeners} ${advertised}`)
    else assert.match(warnings.join('\n'), pattern)
  }
})
