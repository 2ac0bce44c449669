/** The measurement of planted bugs: its command line, and what is said of its trials. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePlantOptions, UsageError } from './plant-options.ts'
import { lineOf, medianOf, mostOf, summaryOf, type Trial, tableOf } from './plant-trials.ts'
import { PLANT_KINDS, PLANTS_BY_KIND } from './planted-copy.ts'

function trial(seeds: number, invariant: string | null = null): Trial {
  const seed = invariant === null ? null : seeds
  const rest = { dismissed: [], trouble: null }
  return { from: 1, seeds, seconds: seeds / 4, seed, invariant, ...rest }
}

const seedsOf = ({ seeds }: Trial) => seeds

test('parsePlantOptions, with nothing given, takes all plants of all kinds', () => {
  const options = parsePlantOptions(['--plants'])
  const count = PLANT_KINDS.reduce((sum, kind) => sum + PLANTS_BY_KIND[kind].length, 0)
  assert.equal(options?.plants.length, count)
  assert.equal(options?.trials, 5)
})

test('parsePlantOptions, with a kind and a text, takes the plants that have both', () => {
  const options = parsePlantOptions(['--what', 'raft', '--name', 'Votes TWICE', '--trials', '2'])
  assert.deepEqual(
    options?.plants.map(({ kind, plant }) => `${kind} ${plant.name}`),
    ['raft votes twice in an epoch'],
  )
})

test('parsePlantOptions, with --help, gives no options', () => {
  assert.equal(parsePlantOptions(['--plants', '--help']), undefined)
})

test('parsePlantOptions, with what cannot be meant, says what is wrong', () => {
  for (const [line, message] of [
    ['--what endurance', /^--what endurance: there are broker, raft/],
    ['--what raft --name acknowledges', /^--name acknowledges: no bug .*\n {2}raft: votes twice/],
    ['--trials 0', /^--trials 0: must be a whole number 1 to/],
    ['--seeds 100001', /^--seeds 100001: must be a whole number 1 to 100000/],
    ['--minutes soon', /^--minutes soon: must be a number/],
    ['--from 7', /'--from'/],
  ] as const) {
    assert.throws(
      () => parsePlantOptions(line.split(' ')),
      (error) => error instanceof UsageError && message.test(error.message),
      line,
    )
  }
})

test('medianOf, with few trials that found nothing, counts them as infinity', () => {
  const trials = [trial(9, 'a'), trial(2), trial(4, 'a'), trial(3), trial(7, 'a')]
  assert.deepEqual(medianOf(trials, seedsOf), { value: 9, isOver: false })
  assert.deepEqual(mostOf(trials, seedsOf), { value: 9, isOver: true })
})

test('medianOf, with as many trials that found nothing, tells the least that they had', () => {
  const trials = [trial(1, 'a'), trial(20), trial(30), trial(2, 'a')]
  assert.deepEqual(medianOf(trials, seedsOf), { value: 20, isOver: true })
  assert.deepEqual(mostOf(trials, seedsOf), { value: 30, isOver: true })
})

test('tableOf, with trials found and not, names what broke and what did not find it', () => {
  const trials = [trial(8, 'b'), trial(100), trial(4, 'a'), trial(2, 'a'), trial(44, 'a')]
  const measurement = { kind: 'raft', name: 'votes', focus: 'reigns', trials } as const
  const row = tableOf([measurement]).split('\n')[2]
  assert.equal(
    row,
    '| votes (`--focus reigns`) | raft | 4/5 (not found in 100 seeds) | 8 | ≥ 100 | 2.0 | ≥ 25 ' +
      '| a ×3, b |',
  )
})

test('lineOf, with a seed that fails without the bug, says how to run it', () => {
  const trials = [{ ...trial(8, 'b'), dismissed: [3] }]
  assert.equal(
    lineOf({ kind: 'raft', name: 'votes', focus: 'reigns', trials }),
    'raft: votes: 1/1; seeds 8; median 2.0 s\n' +
      '  fails without the bug as well: --what raft --from 3 --seeds 1 --focus reigns',
  )
})

test('lineOf, with a trial whose seeds did not run, says why', () => {
  const dead = { ...trial(3), trouble: 'from seed 4: the seeds did not run:' }
  const measurement = { kind: 'raft', name: 'votes', focus: null, trials: [dead] } as const
  assert.equal(
    lineOf(measurement),
    'raft: votes: 0/1 (not found in 3 seeds); seeds >3; median > 0.8 s\n' +
      '  from seed 4: the seeds did not run:',
  )
  assert.equal(summaryOf([measurement]), '1 planted: 0 found in every trial, 0 in some, 1 in none')
})
