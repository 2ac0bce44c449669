/**
 * The simulation must find bugs, so bugs are planted: the compiled tree is copied, one place in it
 * is changed, and seeds run on the copy until an invariant breaks. No hook in `src` is needed for
 * it.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../support/package-root.ts'
import { CLUSTER_PLANTS } from './cluster/cluster-plants.ts'
import { PLANTS, type Plant } from './plants.ts'
import { RAFT_PLANTS } from './raft/raft-plants.ts'
import { REPLICATION_PLANTS } from './replication/replication-plants.ts'

/** Seeds that a plant may need at most. */
const SEEDS_MAX = 1000
const TIMEOUT_MS = 120_000
const FOLDERS = [
  'src/base',
  'src/broker',
  'src/client',
  'src/cluster',
  'src/config',
  'src/coordinator',
  'src/errors',
  'src/gateway',
  'src/metadata',
  'src/metrics',
  'src/raft',
  'src/record',
  'src/replication',
  'src/ring',
  'src/shard',
  'src/storage',
  'src/wire',
  'test/simulation',
]

interface Outcome {
  readonly seeds: number
  readonly failures: readonly { seed: number; invariant: string; message: string }[]
}

/** Of the compiled tree that this test runs in. */
const BUILD = join(dirname(fileURLToPath(import.meta.url)), '../..')
let copy = ''

before(() => {
  copy = mkdtempSync(join(tmpdir(), 'millrace-plants-'))
  for (const folder of FOLDERS) {
    cpSync(join(BUILD, folder), join(copy, folder), { recursive: true })
  }
  writeFileSync(join(copy, 'package.json'), '{ "name": "millrace", "type": "module" }\n')
  symlinkSync(join(packageRoot(), 'node_modules'), join(copy, 'node_modules'))
})

after(() => rmSync(copy, { recursive: true, force: true }))

test('simulation, finds nothing, in a copy without a plant', async () => {
  for (const what of ['broker', 'raft', 'replication'] as const) {
    const { seeds, failures } = await run(what, 8)
    assert.deepEqual({ seeds, failures }, { seeds: 8, failures: [] })
  }
})

for (const [what, plants] of [
  ['broker', PLANTS],
  ['raft', RAFT_PLANTS],
  ['replication', REPLICATION_PLANTS],
  ['cluster', CLUSTER_PLANTS],
] as const) {
  for (const plant of plants) {
    test(`simulation of ${what}, finds the bug, planted: ${plant.name}`, async (context) => {
      const { seeds, failures } = await withPlant(plant, () => run(what, SEEDS_MAX, plant))
      const [failure] = failures
      assert(failure !== undefined, `${seeds} seeds did not find it`)
      context.diagnostic(`found by seed ${failure.seed}: ${failure.invariant}`)
    })
  }
}

async function withPlant<T>({ changes }: Plant, use: () => Promise<T>): Promise<T> {
  const originals = new Map<string, string>()
  try {
    for (const { file, find, replace } of changes) {
      const path = join(copy, 'src', file)
      const text = readFileSync(path, 'utf8')
      if (!originals.has(path)) originals.set(path, text)
      assert.equal(text.split(find).length, 2, `"${find}" does not stand once in ${file}`)
      writeFileSync(
        path,
        text.replace(find, () => replace),
      )
    }
    return await use()
  } finally {
    for (const [path, text] of originals) writeFileSync(path, text)
  }
}

/** Runs seeds in a process of its own, up to the first that fails. */
function run(
  what: string,
  seeds: number,
  { focus, from = 1 }: Pick<Plant, 'focus' | 'from'> = {},
): Promise<Outcome> {
  const program = join(copy, 'test/simulation/run-seeds.js')
  const range = ['--seeds', String(seeds), '--from', String(from)]
  const args = [program, '--what', what, ...range, '--json', '--stop']
  if (focus !== undefined) args.push('--focus', focus)
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      // It exits with 1 when a seed failed.
      if (stdout.startsWith('{')) resolve(JSON.parse(stdout) as Outcome)
      else reject(new Error(`the seeds did not run: ${stderr}`, { cause: error }))
    })
  })
}
