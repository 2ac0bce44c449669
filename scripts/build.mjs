/**
 * `npm run build`: packages, `dist/` (the command line, the broker, the client for browsers) and
 * the addon, each only where it is missing or stale. `--all` compiles `build/` (tests, benchmarks,
 * scripts) as well.
 */
import { prepareBrowserBundle } from './lib/browser-bundle.mjs'
import {
  main,
  prepareNative,
  preparePackages,
  prepareTypeScript,
  StepError,
} from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('dist')
  await prepareBrowserBundle()
  if (process.argv.includes('--all')) await prepareTypeScript('build')
  const addon = await prepareNative({ retry: true })
  if (addon === 'failed') throw new StepError('the build is complete except for the addon')
})
