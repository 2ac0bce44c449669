/**
 * `node scripts/crash-rounds.mjs [rounds]` (50): loads a broker, kills it with kill -9 at a random
 * moment, starts it again and compares everything, round by round. MILLRACE_SEED repeats a run.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SingleBar } from 'cli-progress'
import { main, preparePackages, prepareTypeScript, root, StepError, say } from './lib/prepare.mjs'

await main(async () => {
  const rounds = Number(process.argv[2] ?? 50)
  if (!Number.isInteger(rounds) || rounds < 1) throw new StepError('rounds: a positive number')
  const seed = Number(process.env.MILLRACE_SEED ?? Math.floor(Math.random() * 2 ** 32))
  await preparePackages()
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  const { crashRounds } = await import(pathToFileURL(join(root, 'build/test/crash/rounds.js')).href)
  const again = `MILLRACE_SEED=${seed} node scripts/crash-rounds.mjs ${rounds}`
  say(`${rounds} rounds with seed ${seed}; again: ${again}`)
  const bar = process.stdout.isTTY
    ? new SingleBar({ format: '{bar} {value}/{total} rounds, {records} records' })
    : null
  bar?.start(rounds, 0, { records: 0 })
  const total = { batches: 0, unanswered: 0, records: 0 }
  try {
    await crashRounds({
      seed,
      rounds,
      onRound: ({ round, acknowledgedBatches, unansweredBatches, records }) => {
        total.batches += acknowledgedBatches
        total.unanswered += unansweredBatches
        total.records = records
        bar?.update(round, { records })
        if (bar === null && round % 10 === 0) say(`round ${round}: ${records} records are right`)
      },
    })
  } catch (error) {
    bar?.stop()
    throw new StepError(`${error.stack}\nagain: ${again}`)
  }
  bar?.stop()
  say(
    `${rounds} kills: ${total.batches} batches acknowledged, ${total.unanswered} unanswered, ` +
      `${total.records} records in the log; none lost, none twice, none out of order`,
  )
})
