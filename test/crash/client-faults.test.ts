/**
 * Our client library against a real broker over bad connections, and against one that is killed:
 * what is acknowledged is in the log once and in order, and the consumer sees the log as it is.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadNative, nativeLoadError } from '../../src/base/native.ts'
import { loadUws, uwsLoadError } from '../../src/gateway/web/uws-library.ts'
import { testSeed } from '../support/seed.ts'
import { TROUBLES } from './client-plan.ts'
import { clientRound } from './client-rounds.ts'

const seed = testSeed()
const rerun = `MILLRACE_SEED=${seed} npm test -- crash/client-faults`

const missing = {
  native: loadNative() === null ? `the addon: ${nativeLoadError()}` : false,
  uws: loadUws() === null ? `uWebSockets.js: ${uwsLoadError()}` : false,
  node: false,
} as const

for (const engine of ['native', 'uws', 'node'] as const) {
  const skip = process.env.CI ? false : missing[engine]
  for (const [index, trouble] of TROUBLES.entries()) {
    const name = `a client, with trouble "${trouble}", on ${engine}, loses nothing (${rerun})`
    test(name, { skip }, async () => {
      const report = await clientRound({ seed: seed + index, engine, trouble })
      assert.ok(report.acknowledged > 0, 'a round without load')
    })
  }
}
