/**
 * `npm run bench -- --suite headline --quick`: builds what is stale, then runs the suite.
 * `--help` says what it can do. `npm run bench -- idle …` runs build/bench/idle.js, and so on.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  main,
  prepareNative,
  preparePackages,
  prepareTypeScript,
  root,
  StepError,
} from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('dist')
  await prepareTypeScript('build')
  const addon = await prepareNative({ retry: false })
  if (addon === 'failed') throw new StepError('benchmarks need the addon; its build failed')
  const given = process.argv.slice(2)
  const isNamed = given[0] !== undefined && /^[a-z/-]+$/.test(given[0]) && !given[0].startsWith('-')
  const program = isNamed ? `${given[0]}.js` : 'suite/suite.js'
  const file = join(root, 'build', 'bench', program)
  if (!existsSync(file)) throw new StepError(`there is no benchmark ${given[0]}`)
  const child = spawn(process.execPath, [file, ...given.slice(isNamed ? 1 : 0)], {
    stdio: 'inherit',
  })
  // Ctrl-C reaches both; the child cleans up and ends first.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})
  process.exitCode = await new Promise((resolve) =>
    child.once('exit', (code) => resolve(code ?? 1)),
  )
})
