import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError, loadConfig } from '../../src/config/load.ts'

const MIB = 1024 * 1024

function load(mib: number, cores: number, set: readonly string[] = []) {
  return loadConfig({ set, machine: { memoryBytes: mib * MIB, cores } })
}

function numbers(mib: number, cores: number, set: readonly string[] = []): readonly number[] {
  const config = load(mib, cores, set)
  const [ingress, egress] = [
    config.get('millrace.arena.ingress.bytes') / MIB,
    config.get('millrace.arena.egress.bytes') / MIB,
  ]
  return [config.get('millrace.shards'), ingress, egress]
}

test('the defaults of the arenas stay, where there is memory for them', () => {
  assert.deepEqual(numbers(16_384, 4), [3, 256, 64])
  assert.equal(load(16_384, 4).memory?.isTight, false)
})

test('the defaults of arenas and shards become smaller, where a limit wants it', () => {
  assert.deepEqual(numbers(256, 2), [1, 54, 18])
  assert.deepEqual(numbers(256, 64), [1, 54, 18])
  for (const mib of [160, 200, 300, 512, 1024, 2048]) {
    for (const cores of [1, 4, 64]) {
      const [shards, ingress, egress] = numbers(mib, cores) as [number, number, number]
      assert.ok(96 + 16 * shards + ingress + egress * shards < mib, `${mib} MiB, ${cores} cores`)
      assert.ok(ingress >= 16 && egress >= 4 && shards >= 1)
    }
  }
})

test('what is set wins over the limit, with a warning when it does not fit', () => {
  const set = ['millrace.arena.ingress.bytes=209715200', 'millrace.shards=2']
  const [shards, ingress] = numbers(256, 8, set)
  assert.deepEqual([shards, ingress], [2, 200])
  const warnings = load(256, 8, set).warnings.join()
  assert.match(warnings, /the arenas .* do not fit into the 256 MiB/)
  assert.deepEqual(load(4096, 8, set).warnings, [])
})

test('a limit that is too small for any broker refuses to start, and says how much it needs', () => {
  assert.throws(
    () => load(128, 2),
    (error: ConfigError) => {
      assert.ok(error instanceof ConfigError)
      assert.match(error.message, /128 MiB of memory are too little.* 1 shard needs 152 MiB/)
      return true
    },
  )
  assert.throws(() => load(256, 2, ['millrace.shards=8']), /8 shards needs? \d+ MiB/)
})
