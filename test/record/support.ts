/** What the tests of this folder share: seeds, records to choose from, foreign programs. */
import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import type { BatchRecord } from '../../src/record/record-reader.ts'

/** Every random choice of a run comes from here; set MILLRACE_SEED to repeat a failing one. */
export const seed = Number(process.env.MILLRACE_SEED ?? 1)

export type RecordInput = Omit<BatchRecord, 'offset'>

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })
const nullable = (maxLength: number): fc.Arbitrary<Uint8Array | null> =>
  fc.option(bytes(maxLength), { nil: null })

const header = fc.record({
  key: fc.string({ unit: 'grapheme', maxLength: 12 }),
  value: nullable(20),
})

export const recordInput: fc.Arbitrary<RecordInput> = fc.record({
  timestamp: fc.oneof(
    fc.integer({ min: -1, max: 2 ** 43 - 1 }),
    fc.constant(-1),
    fc.constant(1_700_000_000_000),
  ),
  key: nullable(40),
  value: fc.oneof(nullable(300), fc.constant(new Uint8Array(5000).fill(7))),
  headers: fc.array(header, { maxLength: 4 }),
})

export const recordInputs = fc.array(recordInput, { minLength: 1, maxLength: 30 })

/** Whether a program is there to check our output with. */
export function hasProgram(name: string): boolean {
  return spawnSync(name, ['--version']).error === undefined
}

/** Runs a program as a filter. */
export function filter(program: string, options: readonly string[], input: Uint8Array): Uint8Array {
  const { status, stdout, stderr, error } = spawnSync(program, options, {
    input,
    maxBuffer: 256 * 1024 * 1024,
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${program} exited with ${status}: ${stderr}`)
  return stdout
}

/** Compares contents, whatever the classes: libraries return Buffers. */
export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}
