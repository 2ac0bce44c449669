/** The secret of a local cluster: made once, kept beside its data where only its owner reads it. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError } from './command-error.ts'

const FILE = 'cluster-secret'
const BYTES = 32
const OWNER_ONLY = 0o600
const OTHERS = 0o077

/** Of the data directory, which is made where it is missing. Throws CommandError. */
export function clusterSecret(dataDir: string): { secret: string; path: string } {
  const path = join(dataDir, FILE)
  try {
    mkdirSync(dataDir, { recursive: true })
    const made = randomBytes(BYTES).toString('base64url')
    try {
      writeFileSync(path, `${made}\n`, { flag: 'wx', mode: OWNER_ONLY })
      return { secret: made, path }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const isWindows = process.platform === 'win32'
    if (!isWindows && (statSync(path).mode & OTHERS) !== 0) {
      throw new CommandError(`${path} can be read by others: chmod 600 ${path}`)
    }
    return { secret: readFileSync(path, 'utf8').trim(), path }
  } catch (error) {
    if (error instanceof CommandError) throw error
    throw new CommandError(`cannot keep the cluster's secret: ${(error as Error).message}`)
  }
}
