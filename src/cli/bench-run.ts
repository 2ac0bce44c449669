/** What the three `millrace bench` commands share while they run and when they are done. */
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { inMicros, type LatencySummary } from '../load/latency-summary.ts'
import { LoadError } from '../load/load-error.ts'
import type { BenchFormat, TargetOptions } from './bench-options.ts'
import { BenchProgress, type BenchSnapshot } from './bench-progress.ts'
import { formatJson, type Streams } from './output.ts'

interface Measured {
  readonly latencyMs: LatencySummary | null
  readonly serviceMs: LatencySummary
}

export interface BenchShell {
  readonly streams: Streams
  readonly command: Command
}

/** A command's run: progress while it lasts, Ctrl-C to end it early, the result in its format. */
export class BenchRun {
  readonly #options: TargetOptions
  readonly #streams: Streams
  readonly #stop = new AbortController()
  #progress: BenchProgress | null = null
  readonly #onSignal = (): void => this.#stop.abort()

  constructor(options: TargetOptions, streams: Streams) {
    this.#options = options
    this.#streams = streams
    // The first Ctrl-C ends the measurement, the second one the process.
    process.once('SIGINT', this.#onSignal)
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Says what begins, and draws a line a second from now on. */
  begin(text: string, snapshot: () => BenchSnapshot): void {
    if (this.#options.quiet === true) return
    this.#streams.err(text)
    this.#progress = new BenchProgress(snapshot, (line) => this.#streams.err(line))
  }

  /** Whoever samples the broker needs both instants as they happen. */
  measure(at: 'start' | 'end'): void {
    if (this.#options.format === 'ndjson') {
      this.#streams.out(JSON.stringify({ event: `measure-${at}` }))
    }
  }

  /** Prints the result. Throws LoadError when it says that it proves nothing, or for the file. */
  async finish(
    result: Partial<Measured> & { readonly problem: string | null },
    { report, distribution }: { report(): string; readonly distribution: string | null },
  ): Promise<void> {
    this.end()
    print(result, this.#options.format, { streams: this.#streams, report })
    const { hdr } = this.#options
    if (hdr !== undefined && distribution !== null) await writeDistribution(hdr, distribution)
    if (result.problem !== null) throw new LoadError(`the run proves nothing: ${result.problem}`)
  }

  /** Also after a failure. */
  end(): void {
    this.#progress?.stop()
    process.off('SIGINT', this.#onSignal)
  }
}

/** Ends the command as a wrong option does. */
export function refuse(command: Command, problem: string | null): void {
  if (problem !== null) command.error(`error: ${problem}`, { exitCode: 2 })
}

function print(
  result: Partial<Measured>,
  format: BenchFormat,
  { streams, report }: { readonly streams: Streams; report(): string },
): void {
  if (format === 'table') streams.out(report())
  else if (format === 'json') streams.out(formatJson(result))
  else streams.out(JSON.stringify({ event: 'result', ...result, ...micros(result) }))
}

/** A line for harnesses has latencies in microseconds as well, as native generators give them. */
function micros({ latencyMs, serviceMs }: Partial<Measured>): object {
  if (!latencyMs || !serviceMs) return {}
  return { latencyMicros: inMicros(latencyMs), serviceMicros: inMicros(serviceMs) }
}

async function writeDistribution(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new LoadError(`cannot write ${path}: ${reason}`, error)
  }
}
