/** What the fuzzer has found, each by the name of what was wrong. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { printerOf } from '../../src/cli/record-format.ts'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { checkpoint } from './targets/storage-targets.ts'

test('an option that is called like what every object has is unknown, not a TypeError', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-findings-'))
  try {
    const configFile = join(directory, 'options.properties')
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
      writeFileSync(configFile, `${name}=1\n`)
      const load = () => loadConfig({ configFile, currentDirectory: directory })
      assert.throws(load, (error) => {
        return error instanceof ConfigError && error.message.includes(`unknown option: ${name}`)
      })
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('a format with the name of what every object has is text', () => {
  const record = { topic: 't', partition: 0, offset: 0, timestamp: 0, headers: [] }
  const print = printerOf('constructor %v')
  const printed = print({ ...record, key: null, value: Buffer.from('x') })
  assert.equal(Buffer.from(printed).toString(), 'constructor x')
})

test('a checkpoint with a right CRC and impossible offsets is not believed', () => {
  const inputs = [
    // A log start below zero: an append would have been stamped with it.
    '014d524350000100000000000202112233445566778899000000000000000000000031000000000000003e' +
      '000000000000000000000000001800000040000000000000047400112233445566778899aa00ccddeeff' +
      '0000000100000000000000180000000000000000fffffffb0000001800000001000000000000847415bc6372',
    // A partition below zero.
    '034d5243500001ff000000000200112233ffff035566778899aabbccddeeff000000000000000000000018' +
      '00df000000000000000000000000001800003000000000000000047400000000000000000010099aabbcc' +
      'ddeeff00000000000000000f4240010000000000000018000000000000000000000000000000180000000100',
  ]
  for (const input of inputs) checkpoint.run(Buffer.from(input, 'hex'))
})
