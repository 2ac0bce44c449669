/**
 * The runs of a suite as lines of a file, written as they end, so that an interrupted suite goes on
 * where it stopped.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Cell, TargetName } from './rows.ts'
import type { CellRun } from './run-cell.ts'

/** What two runs must share to stand in one table. */
export interface Conditions {
  readonly commit: string
  readonly seconds: number
  readonly memoryBytes: number | null
  readonly profile: string
  /** Of the build and of the way of measuring, whatever else makes runs differ. */
  readonly how: object
}

export class RunStore {
  readonly #file: string
  readonly #runs: CellRun[] = []

  /** Throws when `resume` finds runs of other conditions. */
  constructor(folder: string, conditions: Conditions, resume: boolean) {
    mkdirSync(folder, { recursive: true })
    this.#file = join(folder, 'runs.ndjson')
    if (!resume) rmSync(this.#file, { force: true })
    if (!existsSync(this.#file)) {
      appendFileSync(this.#file, `${JSON.stringify(conditions)}\n`)
      return
    }
    const [head = '', ...lines] = readFileSync(this.#file, 'utf8').split('\n')
    if (head !== JSON.stringify(conditions)) {
      throw new Error(
        `${this.#file} was measured under other conditions (${head}); start without --resume`,
      )
    }
    // The last line may have been cut by the interruption.
    for (const line of lines) if (line.endsWith('}')) this.#runs.push(JSON.parse(line) as CellRun)
  }

  get runs(): readonly CellRun[] {
    return this.#runs
  }

  has(cell: Cell, target: TargetName, round: number): boolean {
    return this.#runs.some(
      (run) => run.cell === cell.name && run.target === target && run.round === round,
    )
  }

  add(run: CellRun): void {
    this.#runs.push(run)
    appendFileSync(this.#file, `${JSON.stringify(run)}\n`)
  }
}
