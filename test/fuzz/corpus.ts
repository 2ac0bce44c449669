/** Inputs that earlier runs found, one file each, in `test/fuzz/corpus/TARGET`. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'

function folderOf(target: string): string {
  return join(packageRoot(), 'test/fuzz/corpus', target)
}

/** In a fixed order. */
export function readCorpus(target: string): Uint8Array[] {
  const folder = folderOf(target)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(folder, name))))
}

/** Named by their content, so that nothing is there twice. Returns the file's path. */
export function writeCorpus(target: string, input: Uint8Array): string {
  const folder = folderOf(target)
  mkdirSync(folder, { recursive: true })
  const name = createHash('sha256').update(input).digest('hex').slice(0, 16)
  writeFileSync(join(folder, name), input)
  return join(folder, name)
}
