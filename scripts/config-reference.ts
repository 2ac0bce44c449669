/**
 * Writes the tables of options in `src/config/README.md` anew from the tables in the code; a test
 * fails while they differ. `node build/scripts/config-reference.js`
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { withConfigReference } from './lib/config-reference.ts'

const path = new URL('../../src/config/README.md', import.meta.url)
writeFileSync(path, withConfigReference(readFileSync(path, 'utf8')))
