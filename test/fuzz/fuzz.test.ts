/**
 * Every fuzz target for a fixed number of executions, from the corpus that is kept. The seed is
 * MILLRACE_SEED, else always the same: scripts/fuzz.mjs runs longer, with others.
 */
import { describe, test } from 'node:test'
import { readCorpus } from './corpus.ts'
import { fuzz } from './fuzzer.ts'
import { FUZZ_TARGETS } from './targets/index.ts'

const EXECUTIONS = 1000
const SEED = Number(process.env.MILLRACE_SEED ?? 1)

describe('fuzz', () => {
  for (const target of FUZZ_TARGETS) {
    test(`${target.name}, ${EXECUTIONS} executions`, async () => {
      await fuzz(target, {
        seed: SEED,
        executions: EXECUTIONS,
        corpus: readCorpus(target.name),
      })
    })
  }
})
