/**
 * A copy of the compiled tree in which bugs are planted, and seeds that run on it, each run in a
 * process of its own. No hook in `src` is needed for it.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../support/package-root.ts'
import { CLUSTER_PLANTS } from './cluster/cluster-plants.ts'
import { PLANTS, type Plant } from './plants.ts'
import { RAFT_PLANTS } from './raft/raft-plants.ts'
import { REPLICATION_PLANTS } from './replication/replication-plants.ts'

const FOLDERS = [
  'src/base',
  'src/broker',
  'src/client',
  'src/cluster',
  'src/config',
  'src/coordinator',
  'src/errors',
  'src/gateway',
  'src/metadata',
  'src/metrics',
  'src/raft',
  'src/record',
  'src/replication',
  'src/ring',
  'src/shard',
  'src/storage',
  'src/wire',
  'test/simulation',
]

/** What run-seeds.ts calls them; those that are quick come first. */
export const PLANTS_BY_KIND = {
  broker: PLANTS,
  raft: RAFT_PLANTS,
  replication: REPLICATION_PLANTS,
  cluster: CLUSTER_PLANTS,
} as const satisfies Readonly<Record<string, readonly Plant[]>>

export type PlantKind = keyof typeof PLANTS_BY_KIND

export const PLANT_KINDS = Object.keys(PLANTS_BY_KIND) as readonly PlantKind[]

export interface Failure {
  readonly seed: number
  readonly invariant: string
  readonly message: string
}

export interface Outcome {
  /** That ran, the failing one included. */
  readonly seeds: number
  /** Without the start of the process. */
  readonly seconds: number
  readonly failures: readonly Failure[]
}

export interface SeedRange {
  readonly what: string
  readonly seeds: number
  readonly from?: number | undefined
  readonly focus?: string | undefined
  /** After which no other seed begins. */
  readonly minutes?: number | undefined
  /** After which the process is killed: a bug may keep a seed from ending. */
  readonly timeoutMs: number
}

/** Seeds that gave no result: a bug ended their process, or kept it from ending. */
export class SeedsDidNotRun extends Error {}

/** Of the compiled tree that this module runs in. */
const BUILD = join(dirname(fileURLToPath(import.meta.url)), '../..')

export class PlantedCopy {
  readonly #folder = mkdtempSync(join(tmpdir(), 'millrace-plants-'))
  #running: ChildProcess | undefined

  constructor() {
    for (const folder of FOLDERS) {
      cpSync(join(BUILD, folder), join(this.#folder, folder), { recursive: true })
    }
    const manifest = '{ "name": "millrace", "type": "module" }\n'
    writeFileSync(join(this.#folder, 'package.json'), manifest)
    symlinkSync(join(packageRoot(), 'node_modules'), join(this.#folder, 'node_modules'))
  }

  /** Ends the seeds that run in it, too. */
  remove(): void {
    this.#running?.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** The copy has the bug until what `use` returns is settled. */
  async withPlant<T>({ changes }: Plant, use: () => Promise<T>): Promise<T> {
    const originals = new Map<string, string>()
    try {
      for (const { file, find, replace } of changes) {
        const path = join(this.#folder, 'src', file)
        const text = readFileSync(path, 'utf8')
        if (!originals.has(path)) originals.set(path, text)
        assert.equal(text.split(find).length, 2, `"${find}" does not stand once in ${file}`)
        writeFileSync(
          path,
          text.replace(find, () => replace),
        )
      }
      return await use()
    } finally {
      for (const [path, text] of originals) writeFileSync(path, text)
    }
  }

  /** Runs seeds up to the first that fails. Rejects with SeedsDidNotRun if they have no result. */
  run({ what, seeds, from = 1, focus, minutes, timeoutMs }: SeedRange): Promise<Outcome> {
    const program = join(this.#folder, 'test/simulation/run-seeds.js')
    const range = ['--seeds', String(seeds), '--from', String(from)]
    const args = [program, '--what', what, ...range, '--json', '--stop']
    if (focus !== undefined) args.push('--focus', focus)
    if (minutes !== undefined) args.push('--minutes', String(minutes))
    return new Promise((resolve, reject) => {
      const options = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const
      this.#running = execFile(process.execPath, args, options, (error, stdout, stderr) => {
        // It exits with 1 when a seed failed.
        if (stdout.startsWith('{')) resolve(JSON.parse(stdout) as Outcome)
        else reject(new SeedsDidNotRun(`the seeds did not run: ${stderr}`, { cause: error }))
      })
    })
  }
}
