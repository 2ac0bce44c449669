/**
 * Runs one target, or all, as a program (scripts/fuzz.mjs):
 *
 *   node run-fuzz.js [--target NAME] [--seconds N | --executions N] [--seed S] [--keep]
 *                    [--input HEX]
 *
 * `--keep` adds the shortest inputs that reached something new to the corpus; `--input` runs one
 * input and nothing else.
 */
import { parseArgs } from 'node:util'
import { readCorpus, writeCorpus } from './corpus.ts'
import { FuzzFailure, fuzz } from './fuzzer.ts'
import type { FuzzTarget } from './target.ts'
import { FUZZ_TARGETS } from './targets/index.ts'

/** Files added to a target's corpus in one run, at most. */
const KEPT_MAX = 24

const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    seconds: { type: 'string' },
    executions: { type: 'string' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
    input: { type: 'string' },
  },
})

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const targets = FUZZ_TARGETS.filter(
  ({ name }) => values.target === undefined || name === values.target,
)
if (targets.length === 0) {
  say(`no target is called ${values.target}: ${FUZZ_TARGETS.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
for (const target of targets) {
  if (values.input !== undefined) await target.run(new Uint8Array(Buffer.from(values.input, 'hex')))
  else if (!(await runTarget(target))) process.exitCode = 1
}

async function runTarget(target: FuzzTarget): Promise<boolean> {
  const seed = Number(values.seed ?? Date.now() % 0xffff_ffff)
  const executions =
    values.executions === undefined ? {} : { executions: Number(values.executions) }
  const seconds = Number(values.seconds ?? (values.executions === undefined ? 60 : Infinity))
  say(`${target.name}: seed ${seed}`)
  try {
    const result = await fuzz(target, {
      seed,
      seconds,
      ...executions,
      corpus: readCorpus(target.name),
      onProgress: (now) => say(`  ${now.executions} executions, ${now.blocks} blocks`),
    })
    const rate = Math.round(result.executions / result.seconds)
    say(
      `${target.name}: ${result.executions} executions in ${Math.round(result.seconds)} s ` +
        `(${rate}/s), ${result.blocks} blocks, corpus ${result.corpus} (${result.found.length} new), ` +
        'no findings',
    )
    if (!values.keep) return true
    const shortest = [...result.found].sort((a, b) => a.length - b.length).slice(0, KEPT_MAX)
    for (const input of shortest) writeCorpus(target.name, input)
    return true
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error
    say(error.message)
    return false
  }
}
