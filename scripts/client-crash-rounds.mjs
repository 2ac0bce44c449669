/**
 * `node scripts/client-crash-rounds.mjs [rounds]` (30): our client library against a broker over
 * bad connections and against one that is killed, in turn on both web servers; each round has a
 * broker of its own and everything is compared. MILLRACE_SEED repeats a run, and with 1 as the
 * number of rounds a single one.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SingleBar } from 'cli-progress'
import { main, preparePackages, prepareTypeScript, root, StepError, say } from './lib/prepare.mjs'

await main(async () => {
  const rounds = Number(process.argv[2] ?? 30)
  if (!Number.isInteger(rounds) || rounds < 1) throw new StepError('rounds: a positive number')
  const seed = Number(process.env.MILLRACE_SEED ?? Math.floor(Math.random() * 2 ** 32))
  await preparePackages()
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  const load = (name) => import(pathToFileURL(join(root, 'build/test/crash', name)).href)
  const { clientRound, roundOptions } = await load('client-rounds.js')
  const again = (count, first) =>
    `MILLRACE_SEED=${first} node scripts/client-crash-rounds.mjs ${count}`
  say(`${rounds} rounds with seed ${seed}; again: ${again(rounds, seed)}`)
  const bar = process.stdout.isTTY
    ? new SingleBar({ format: '{bar} {value}/{total} rounds, {stored} events' })
    : null
  bar?.start(rounds, 0, { stored: 0 })
  const total = {}
  for (let round = 0; round < rounds; round++) {
    const options = roundOptions(seed + round)
    try {
      const { faults, ...report } = await clientRound(options)
      for (const [name, count] of Object.entries({ ...report, ...faults })) {
        total[name] = (total[name] ?? 0) + count
      }
    } catch (error) {
      bar?.stop()
      throw new StepError(`${error.stack}\nagain: ${again(1, seed + round)}`)
    }
    const done = round + 1
    bar?.update(done, { stored: total.stored })
    if (bar === null && done % 10 === 0) say(`round ${done}: ${total.stored} events are right`)
  }
  bar?.stop()
  const counts = Object.entries(total).map(([name, count]) => `${name} ${count}`)
  say(`${counts.join(', ')}; none lost, none twice, none out of order`)
})
