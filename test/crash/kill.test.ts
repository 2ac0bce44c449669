import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testSeed } from '../support/seed.ts'
import { crashRounds, type RoundReport } from './rounds.ts'

const ROUNDS = 3
const seed = testSeed()
const rerun = `MILLRACE_SEED=${seed} npm test -- crash/kill`

test(`every acknowledged record survives kill -9, once and in order (${rerun})`, async () => {
  const reports: RoundReport[] = []
  await crashRounds({ seed, rounds: ROUNDS, onRound: (report) => reports.push(report) })
  assert.equal(reports.length, ROUNDS)
  for (const report of reports) assert.ok(report.acknowledgedBatches > 0, 'a round without load')
})
