/** The command line behind `npm run chaos`: reads the options, shows the report. */
import { Command, InvalidArgumentError } from 'commander'
import { type ChaosReport, runChaos, whyNoChaos } from './chaos.ts'
import { FAULT_KINDS, type FaultKind } from './faults.ts'

interface Options {
  readonly seed: number
  readonly minutes?: number
  readonly count?: number
  readonly brokers: number
  readonly faults: readonly FaultKind[]
  readonly rate: number
  readonly keep?: boolean
}

const MINUTES = 5
const EVENTS_PER_SECOND = 1000
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const program = new Command('npm run chaos --')
  .description('real brokers, real clients, real faults; then everything is judged')
  .option('--seed <n>', 'what decides the faults', number, Math.floor(Math.random() * 2 ** 32))
  .option('--minutes <n>', `how long faults are inflicted (default: ${MINUTES})`, number)
  .option('--count <n>', 'how many faults are inflicted, instead', number)
  .option('--brokers <n>', '3 to 9', number, 3)
  .option('--faults <kinds>', `comma-separated: ${FAULT_KINDS.join()}`, kindsOf, FAULT_KINDS)
  .option('--rate <n>', 'events a second', number, EVENTS_PER_SECOND)
  .option('--keep', 'keep the history also when nothing is wrong')
  .parse()

const { seed, minutes, count, brokers, faults, rate, keep } = program.opts<Options>()
const kinds = FAULT_KINDS.filter((kind) => faults.includes(kind))
const minutesMax = minutes ?? (count === undefined ? MINUTES : null)
const reason = whyNoChaos()
if (reason !== null) {
  say(`no chaos here: ${reason}`)
  process.exit(1)
}

const length = minutes === undefined && count !== undefined ? `--count ${count}` : ''
const again =
  `npm run chaos -- --seed ${seed} --brokers ${brokers} --faults ${kinds.join()} ` +
  `--rate ${rate} ${length || `--minutes ${minutesMax}`}`
say(`again: ${again}`)
const report = await runChaos({
  ...{ seed, brokers, kinds, minutesMax, say },
  faultsMax: count ?? null,
  eventsPerSecond: rate,
  isKept: keep === true,
})
show(report)
if (report.problems.length > 0) say(`again: ${again}`)
process.exit(report.problems.length > 0 ? 1 : 0)

function show(report: ChaosReport): void {
  const { faults, struck, slowestMs, gaps, seconds, verdict, problems, directory } = report
  say(`${struck} faults in ${seconds} s:`)
  for (const [kind, times] of Object.entries(faults)) {
    const slowest = slowestMs[kind as FaultKind]
    const { medianMs, worstMs } = gaps[kind as FaultKind] ?? {}
    say(
      `  ${kind.padEnd(10)} ${String(times).padStart(5)}   in sync again after ${slowest} ms at most; ` +
        `the worst partition took nothing for ${medianMs} ms (median), ${worstMs} ms at most`,
    )
  }
  if (verdict !== null) {
    const { sent, acknowledged, failed, unknown, unknownFound, resent, inLog, read } =
      verdict.counts
    say(
      `${sent} events sent: ${acknowledged} acknowledged, ${failed} refused, ${unknown} of unknown ` +
        `outcome, of which ${unknownFound} are in the log; ${resent} sent again under a new epoch; ${inLog} in the logs, ${read} read`,
    )
    for (const [error, times] of Object.entries(verdict.counts.errors)) {
      say(`  ${error}: ${times} events`)
    }
  }
  for (const problem of problems) say(`PROBLEM: ${problem}`)
  if (directory !== null) say(`history, faults, logs: ${directory}`)
  if (problems.length > 0) return
  // With n faults and no loss the bound at 95 % confidence is 3/n.
  const bound =
    struck === 0 ? '' : `: at 95 % confidence a fault loses one with p < ${(3 / struck).toFixed(4)}`
  say(`no acknowledged event lost, none doubled, none out of order${bound}`)
}

function number(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('a positive number')
  return value
}

function kindsOf(text: string): readonly FaultKind[] {
  const kinds = text.split(',').map((kind) => kind.trim())
  const unknown = kinds.find((kind) => !(FAULT_KINDS as readonly string[]).includes(kind))
  if (unknown !== undefined) throw new InvalidArgumentError(`${unknown} is no fault`)
  return kinds as FaultKind[]
}
