/**
 * `kafkajs.json`: every spec file of kafkajs's own suite, with what of it runs here, or the key of
 * the reason why it does not run.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'

/** A spec file that runs. */
export interface AllowedFile {
  /** How many of its tests pass: one that has vanished is a failure as well. Null: whoever does. */
  readonly passes: number | null
  /** Tests that do not run, by full name (its groups' and its own, between spaces): reasons. */
  readonly not?: Readonly<Record<string, string>>
}

export interface SuiteList {
  readonly repository: string
  readonly commit: string
  /** What the client calls itself at that commit. */
  readonly version: string
  /** Options of the broker that the suite expects. */
  readonly settings: Readonly<Record<string, string>>
  /** Why a test does not run, by key. */
  readonly reasons: Readonly<Record<string, string>>
  /** Folders none of whose files run, with a slash at their end: reasons. */
  readonly folders: Readonly<Record<string, string>>
  /** The other spec files: what of it runs, or a reason. */
  readonly files: Readonly<Record<string, AllowedFile | string>>
}

/** What is another way with the suite's own three brokers. */
interface ThreeBrokers {
  readonly settings: Readonly<Record<string, string>>
  readonly reasons: Readonly<Record<string, string>>
  readonly files: Readonly<Record<string, AllowedFile | string>>
}

/** The list as it is for so many brokers. */
export function readSuiteList(brokers: 1 | 3): SuiteList {
  const path = join(packageRoot(), 'test', 'suites', 'kafkajs.json')
  const { three, ...one } = JSON.parse(readFileSync(path, 'utf8')) as SuiteList & {
    readonly three: ThreeBrokers
  }
  if (brokers === 1) return one
  const files = { ...one.files, ...three.files }
  const used = new Set(Object.values(one.folders))
  for (const file of Object.values(files)) {
    if (typeof file === 'string') used.add(file)
    else for (const key of Object.values(file.not ?? {})) used.add(key)
  }
  const reasons = Object.fromEntries(Object.entries(one.reasons).filter(([key]) => used.has(key)))
  return { ...one, settings: three.settings, reasons: { ...reasons, ...three.reasons }, files }
}

/** What of a file runs, in the list's order. */
export function allowedFiles(list: SuiteList): [path: string, file: AllowedFile][] {
  return Object.entries(list.files).filter(
    (entry): entry is [string, AllowedFile] => typeof entry[1] !== 'string',
  )
}

/**
 * For jest's `--testNamePattern`: matches every test but those that are not to run. Null: all run.
 * Jest compares with the names of the groups and of the test, between spaces, in any case.
 */
export function namePattern(file: AllowedFile): string | null {
  const names = Object.keys(file.not ?? {})
  if (names.length === 0) return null
  const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'))
  return `^(?!(?:${escaped.join('|')})$)`
}

/** Spec files of a checkout that the list does not speak of, and the other way round. */
export function differencesFrom(list: SuiteList, specs: readonly string[]): string[] {
  const there = new Set(specs)
  const folders = Object.keys(list.folders)
  return [
    ...specs
      .filter((path) => !Object.hasOwn(list.files, path))
      .filter((path) => !folders.some((folder) => path.startsWith(folder)))
      .map((path) => `${path} is not in the list`),
    ...Object.keys(list.files)
      .filter((path) => !there.has(path))
      .map((path) => `${path} is not in the suite`),
  ]
}

/** What is wrong with the list itself; nothing: an empty array. */
export function problemsOf(list: SuiteList): string[] {
  const problems: string[] = []
  const used = new Set<string>()
  const useReason = (where: string, key: string): void => {
    if (!Object.hasOwn(list.reasons, key)) problems.push(`${where}: what is ${key}?`)
    used.add(key)
  }
  for (const [folder, key] of Object.entries(list.folders)) {
    if (!folder.endsWith('/')) problems.push(`${folder} is no folder`)
    useReason(folder, key)
  }
  for (const [path, file] of Object.entries(list.files)) {
    if (!/^src\/.+\.spec\.js$/.test(path)) problems.push(`${path} is no spec file`)
    const folder = Object.keys(list.folders).find((name) => path.startsWith(name))
    if (folder !== undefined) problems.push(`${path} is in ${folder}, too`)
    if (typeof file === 'string') {
      useReason(path, file)
      continue
    }
    if (!Number.isInteger(file.passes) || Number(file.passes) < 1) {
      problems.push(`${path}: nothing runs`)
    }
    for (const [name, key] of Object.entries(file.not ?? {})) useReason(`${path}: ${name}`, key)
  }
  for (const [key, text] of Object.entries(list.reasons)) {
    if (!used.has(key)) problems.push(`${key} is not used`)
    if (text.trim().length < 20) problems.push(`${key} gives no reason`)
  }
  return problems
}
