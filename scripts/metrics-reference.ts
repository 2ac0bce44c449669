/**
 * Writes the table of metrics in `src/metrics/README.md` anew from `metric-table.ts`; a test fails
 * while they differ. `node build/scripts/metrics-reference.js`
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { withReference } from './lib/metrics-reference.ts'

const path = new URL('../../src/metrics/README.md', import.meta.url)
writeFileSync(path, withReference(readFileSync(path, 'utf8')))
