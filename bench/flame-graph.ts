/**
 * A flame graph of a CPU profile of V8, such as Node writes with `--cpu-prof`: of one thread, idle
 * time left out.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { type CpuProfile, flameGraph } from './lib/flame-graph.ts'

const USAGE = `npm run bench -- flame-graph FILE.cpuprofile [--title TEXT] [--out FILE.svg]

To get a profile, one a thread, start a broker with
  node --cpu-prof --cpu-prof-dir=DIR dist/main.js start …
or give a benchmark --node-arg --cpu-prof --node-arg --cpu-prof-dir=DIR`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { help: { type: 'boolean' }, title: { type: 'string' }, out: { type: 'string' } },
})
const [file] = positionals
if (values.help === true || file === undefined) {
  process.stdout.write(`${USAGE}\n`)
  process.exitCode = values.help === true ? 0 : 2
} else {
  const profile = JSON.parse(readFileSync(file, 'utf8')) as CpuProfile
  const out = values.out ?? `${file.replace(/\.cpuprofile$/, '')}.svg`
  writeFileSync(out, flameGraph(profile, values.title ?? basename(file)))
  process.stdout.write(`${out}\n`)
}
