/**
 * What happened, line by line, for whoever looks into a failing seed: MILLRACE_JOURNAL=1 prints it.
 * Costs nothing otherwise.
 */
const isOn = process.env.MILLRACE_JOURNAL === '1'

export function journal(line: () => string): void {
  if (isOn) process.stdout.write(`| ${line()}\n`)
}
