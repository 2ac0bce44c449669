/** What the tests of the addon share: the seed, and the addon or the reason why there is none. */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { loadNative, type NativeAddon, nativeLoadError } from '../../src/base/native.ts'

/** Set MILLRACE_SEED to repeat a run. */
export const seed = Number(process.env.MILLRACE_SEED ?? randomInt(2 ** 31))

/** Names the seed and a rerun line in whatever `body` throws. */
export function seeded(file: string, body: () => void): void {
  try {
    body()
  } catch (error) {
    const rerun = `MILLRACE_SEED=${seed} npm test -- ${file}`
    throw new Error(`seed ${seed}; rerun: ${rerun}`, { cause: error })
  }
}

/** For `{ skip }`: false where the addon loads, else why not. */
export const withoutAddon: string | false =
  loadNative() === null ? `no addon: ${nativeLoadError()}` : false

/** Call it inside tests that `withoutAddon` skips. */
export function addonOrThrow(): NativeAddon {
  const addon = loadNative()
  if (addon === null) throw new Error(nativeLoadError() ?? 'no addon')
  return addon
}

/** The file that `loadNative` loads here. */
export const addonPath =
  process.env.MILLRACE_NATIVE ?? join(import.meta.dirname, '../../../native/millrace.node')
