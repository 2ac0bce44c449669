/**
 * House rules that neither the compiler nor the linter knows, as a test: who may import whom, which
 * folders are pure, how long a file and a line may be. Part of `npm test`; prints one finding a
 * line and exits with 1 when one of them is an error.
 *
 * `node build/scripts/tidy.js [FOLDER]` checks another tree than this one.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkSources, formatFinding, type Rules, type Sources } from './lib/tidy-rules.ts'

/**
 * Imports go one way. Think hard before adding to a row: each one is a promise about what can be
 * tested, simulated and replaced without the rest.
 */
const RULES: Rules = {
  everywhere: ['base', 'errors'],
  imports: {
    base: { allowed: [] },
    errors: { allowed: ['base'] },
    config: { allowed: [] },
    record: { allowed: [] },
    ring: { allowed: [] },
    raft: { allowed: [] },
    replication: { allowed: [] },
    metrics: { allowed: [] },
    wire: { allowed: ['record', 'config'] },
    storage: { allowed: ['record', 'config'] },
    metadata: {
      allowed: ['record', 'config', 'wire'],
      because: 'persisted records come from the versioned wire schema: upgrades and hashes need it',
    },
    security: { allowed: ['record', 'config'] },
    'schema-registry': { allowed: ['record', 'config'] },
    coordinator: { allowed: ['record', 'metadata', 'wire'] },
    cluster: { allowed: ['wire', 'raft', 'record', 'metrics'] },
    shard: { allowed: ['ring', 'storage', 'replication', 'record', 'metrics'] },
    broker: {
      allowed: [
        'config',
        'record',
        'ring',
        'raft',
        'replication',
        'metrics',
        'wire',
        'storage',
        'metadata',
        'security',
        'schema-registry',
        'coordinator',
        'cluster',
        'shard',
      ],
    },
    gateway: {
      allowed: ['broker', 'client', 'wire', 'security', 'metrics', 'config', 'ring'],
      because:
        'it is configured, receives frames straight into extents of an arena, and is a client of ' +
        'other brokers for its own clients',
    },
    client: { allowed: ['wire', 'record'] },
    load: { allowed: ['client', 'wire', 'record', 'metrics'] },
    cli: { allowed: ['client', 'load', 'broker', 'gateway', 'config'] },
    'index.ts': {
      allowed: ['client', 'gateway'],
      because: 'it is the public interface of the package: what it exports lies there',
    },
    'browser.ts': { allowed: ['client'], because: 'it is the same for browsers' },
    'main.ts': { allowed: ['cli', 'gateway', 'config'], because: 'it joins the two' },
    console: { allowed: [] },
  },
  pureFolders: [
    'raft',
    'replication',
    'metadata',
    'coordinator',
    'shard',
    'storage',
    'record',
    'ring',
    'wire',
  ],
  nodeAllowed: {
    'src/record/compression.ts': {
      modules: ['node:zlib'],
      because: 'gzip: computation, without time or input and output',
    },
    'src/record/crc32c.ts': {
      modules: ['node:module'],
      because: 'loads the optional checksum package where it is there',
    },
    'src/shard/compaction-thread.ts': {
      modules: ['node:crypto', 'node:os', 'node:worker_threads'],
      because: 'the shell that drives a compaction: its secret, its priority, its messages',
    },
    'src/shard/port-compactor.ts': {
      modules: ['node:worker_threads'],
      because: 'takes reports from its port without a turn of the event loop',
    },
    'src/shard/shard-host.ts': {
      modules: ['node:worker_threads'],
      because: 'starts the thread; nothing of the turn is in it',
    },
    'src/shard/shard-thread.ts': {
      modules: ['node:worker_threads'],
      because: 'the shell that calls the turn',
    },
    'src/storage/node-files.ts': {
      modules: ['node:fs', 'node:path'],
      because: 'the real disk behind the Files interface, portable tier',
    },
    'src/storage/native-files.ts': {
      modules: ['node:util'],
      because: 'the real disk behind the Files interface, native tiers: names of error numbers',
    },
  },
  addonLoader: 'src/base/native.ts',
  linesWarned: 400,
  linesMax: 600,
  columnsMax: 100,
}

const FOLDERS = ['src', 'test', 'bench', 'scripts']

/** The root of the project, from build/scripts/ as well as from scripts/. */
function projectRoot(): string {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const above = join(here, '..')
  return existsSync(join(above, 'package.json')) ? above : join(above, '..')
}

function readSources(root: string): Sources {
  const sources = new Map<string, string>()
  const visit = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        if (entry.name !== 'fixtures' && entry.name !== 'node_modules') visit(path)
      } else if (/\.(ts|mjs)$/.test(entry.name)) {
        sources.set(relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8'))
      }
    }
  }
  for (const folder of FOLDERS) {
    if (existsSync(join(root, folder))) visit(join(root, folder))
  }
  return sources
}

const root = process.argv[2] ?? projectRoot()
const findings = checkSources(readSources(root), RULES)
for (const finding of findings) process.stdout.write(`${formatFinding(finding)}\n`)
process.exitCode = findings.some((finding) => finding.severity === 'error') ? 1 : 0
