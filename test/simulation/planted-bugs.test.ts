/**
 * The simulation must find bugs, so bugs are planted: in a copy of the compiled tree one place is
 * changed, and seeds run on it until an invariant breaks. How long each bug takes, from anywhere,
 * measure-plants.ts tells.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { PLANT_KINDS, PLANTS_BY_KIND, PlantedCopy } from './planted-copy.ts'

/** Seeds that a plant may need at most. */
const SEEDS_MAX = 1000
const TIMEOUT_MS = 120_000

let copy: PlantedCopy

before(() => {
  copy = new PlantedCopy()
})

after(() => copy.remove())

test('simulation, finds nothing, in a copy without a plant', async () => {
  for (const what of ['broker', 'raft', 'replication'] as const) {
    const { seeds, failures } = await copy.run({ what, seeds: 8, timeoutMs: TIMEOUT_MS })
    assert.deepEqual({ seeds, failures }, { seeds: 8, failures: [] })
  }
})

for (const what of PLANT_KINDS) {
  for (const plant of PLANTS_BY_KIND[what]) {
    test(`simulation of ${what}, finds the bug, planted: ${plant.name}`, async (context) => {
      const { from, focus } = plant
      const range = { what, seeds: SEEDS_MAX, from, focus, timeoutMs: TIMEOUT_MS }
      const { seeds, failures } = await copy.withPlant(plant, () => copy.run(range))
      const [failure] = failures
      assert(failure !== undefined, `${seeds} seeds did not find it`)
      context.diagnostic(`found by seed ${failure.seed}: ${failure.invariant}`)
    })
  }
}
