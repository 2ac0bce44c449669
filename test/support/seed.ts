import { inspect } from 'node:util'
import { Random } from '../../src/base/random.ts'

/** The seed of this run: MILLRACE_SEED, or a fresh one. */
export function testSeed(): number {
  const given = process.env.MILLRACE_SEED
  return given === undefined ? Math.floor(Math.random() * 0xffff_ffff) : Number(given)
}

/**
 * Runs `body` with a seeded generator. When it fails, the error says the seed and how to run it
 * again.
 */
export async function withSeed(
  file: string,
  body: (random: Random, seed: number) => void | Promise<void>,
): Promise<void> {
  const seed = testSeed()
  try {
    await body(new Random(seed), seed)
  } catch (error) {
    const rerun = `MILLRACE_SEED=${seed} npm test -- ${file}`
    // With its causes: what failed inside of what.
    const reason = inspect(error)
    throw new Error(`failed with seed ${seed}; run again with: ${rerun}\n${reason}`)
  }
}
