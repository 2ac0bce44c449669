/** How a benchmark begins and ends as a program. */
import { cleanUpAtExit } from './children.ts'
import { UsageError } from './number-option.ts'

/** What `main` has started ends with it; of a UsageError the message is shown, and the usage. */
export async function runBenchmark(usage: string, main: () => Promise<void>): Promise<void> {
  cleanUpAtExit()
  try {
    await main()
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${error.message}\n\n${usage}\n`)
    process.exitCode = 2
  }
}
