import { relative } from 'node:path'

/** A reporter for node's test runner: seconds and names of the files that took longest. */
const SHOWN = 20

// biome-ignore lint/style/noDefaultExport: that is how the runner finds it
export default async function* slowFiles(source) {
  const msByFile = new Map()
  for await (const { type, data } of source) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting !== 0) continue
    const file = data.file ?? data.name
    msByFile.set(file, (msByFile.get(file) ?? 0) + (data.details?.duration_ms ?? 0))
  }
  const slowest = [...msByFile].sort(([, a], [, b]) => b - a).slice(0, SHOWN)
  for (const [file, ms] of slowest) yield `${(ms / 1000).toFixed(0)} s ${relative('', file)}\n`
}
