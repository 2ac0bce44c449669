/**
 * Kafka's own DumpLogSegments over files of a log: an independent reader of segments and indexes.
 * It prints problems and still exits 0, so its output is what counts (`complaints`).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { INSTALL_HINT, repositoryRoot, runProgram } from './client.ts'

const TOOLS = join(repositoryRoot, '.cache/java/tools-lib')
const OPTIONS = [
  '-Xmx256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
]
/** How its standard output words a problem; on standard error there is nothing else. */
const COMPLAINT =
  /^(Mismatches in|The following indexed offsets|Found timestamp mismatch|Found out of order|Found \d+ invalid bytes|Non-consecutive offsets)|^(baseOffset|offset): .* isvalid: false/

export function dumpLogAvailable(): true | string {
  return existsSync(TOOLS) || `Kafka's tools are not installed: ${INSTALL_HINT}`
}

export interface LogDump {
  readonly status: number | null
  /** Standard output, then standard error. */
  readonly output: string
  /** Lines that report a problem; empty for a sound log. */
  readonly complaints: readonly string[]
}

/** Dumps .log, .index, .timeindex, .snapshot and .txnindex files, with every record of a log. */
export function dumpLog(files: readonly string[]): Promise<LogDump> {
  return dump(files, [])
}

/** The same, the records shown as what they say of consumer groups. */
export function dumpGroupRecords(files: readonly string[]): Promise<LogDump> {
  return dump(files, ['--offsets-decoder'])
}

async function dump(files: readonly string[], options: readonly string[]): Promise<LogDump> {
  const { status, stdout, stderr } = await runProgram('java', [
    ...OPTIONS,
    '-cp',
    join(TOOLS, '*'),
    'org.apache.kafka.tools.DumpLogSegments',
    '--deep-iteration',
    '--print-data-log',
    ...options,
    '--files',
    files.join(','),
  ])
  const printed = stdout.toString()
  const complaints = printed.split('\n').filter((line) => COMPLAINT.test(line))
  complaints.push(...stderr.split('\n').filter((line) => line.trim() !== ''))
  return { status, output: printed + stderr, complaints }
}
