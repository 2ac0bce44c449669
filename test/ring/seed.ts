/**
 * Seeds for the random tests of the ring: from MILLRACE_SEED when set, else fresh. A failure names
 * the seed and the line that runs the test again with it.
 */
import { randomInt } from 'node:crypto'

function testSeed(): number {
  const given = process.env.MILLRACE_SEED
  return given === undefined ? randomInt(2 ** 31) : Number(given)
}

/** Runs `body` with a seed; what it throws carries the seed and the rerun line. */
export async function withSeed(
  file: string,
  body: (seed: number) => void | Promise<void>,
): Promise<void> {
  const seed = testSeed()
  try {
    await body(seed)
  } catch (error) {
    throw new Error(`seed ${seed}; rerun: MILLRACE_SEED=${seed} npm test -- ${file}`, {
      cause: error,
    })
  }
}
