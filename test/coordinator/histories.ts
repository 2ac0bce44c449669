import { Random } from '../../src/base/random.ts'
import { withSeed } from '../support/seed.ts'

/** Many short random histories, each with a seed of its own, which runs it again as the first. */
export interface History {
  run(): void
}

/** `seen` runs after each history: whether they were worth running is asserted of all together. */
export async function runHistories<H extends History>(
  file: string,
  { count, make, seen }: { count: number; make: (random: Random) => H; seen: (one: H) => void },
): Promise<void> {
  await withSeed(file, (_, seed) => {
    for (let i = 0; i < count; i++) {
      const history = make(new Random(seed + i))
      try {
        history.run()
      } catch (error) {
        throw new Error(`history ${i}, which is MILLRACE_SEED=${seed + i}`, { cause: error })
      }
      seen(history)
    }
  })
}
