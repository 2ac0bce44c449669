/**
 * `npm start`: makes what is missing or stale, then becomes the broker. The broker runs in this
 * very process, not in a child of it: signals reach it as they are, and no second process costs
 * memory. Arguments follow two dashes: `npm start -- --shards 3`.
 */
import { main, prepareNative, preparePackages, prepareTypeScript } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('dist')
  await prepareNative()
})

const entry = new URL('../dist/main.js', import.meta.url)
// What came before was building: the broker's own start is counted from here.
performance.mark('millrace-start')
process.argv = [process.argv[0], entry.pathname, 'start', ...process.argv.slice(2)]
await import(entry.href)
