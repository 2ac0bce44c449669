/**
 * Completes package-lock.json after `npm install`: a registry mirror that does not serve the binary
 * packages of other platforms makes npm leave them out, and then `npm ci` refuses the lockfile
 * everywhere. This adds what is missing: the version from the package that wants it, the platform
 * from its name. npm fetches none of them where the platform does not fit.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, say } from './lib/prepare.mjs'

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openbsd', 'win32']
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64']
const LIBRARIES = { gnu: 'glibc', musl: 'musl' }

const path = join(root, 'package-lock.json')
const lock = JSON.parse(readFileSync(path, 'utf8'))
const added = []

for (const entry of Object.values(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key] !== undefined) continue
    lock.packages[key] = platformPackage(name, range, entry.dev === true)
    added.push(name)
  }
}

if (added.length > 0) {
  const [top, ...rest] = Object.entries(lock.packages)
  rest.sort(([a], [b]) => a.localeCompare(b, 'en'))
  lock.packages = Object.fromEntries([top, ...rest])
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
}
say(added.length === 0 ? 'package-lock.json is complete' : `added ${added.join(', ')}`)

function platformPackage(name, range, dev) {
  if (!/^\d+\.\d+\.\d+$/.test(range)) throw new Error(`${name}: ${range} is no exact version`)
  const words = name.split(/[/-]/)
  const system = SYSTEMS.find((word) => words.includes(word))
  const processor = PROCESSORS.find((word) => words.includes(word))
  const library = Object.keys(LIBRARIES).find((word) => words.includes(word))
  return {
    version: range,
    ...(dev ? { dev } : {}),
    optional: true,
    ...(processor === undefined ? {} : { cpu: [processor] }),
    ...(library === undefined || system !== 'linux' ? {} : { libc: [LIBRARIES[library]] }),
    ...(system === undefined ? {} : { os: [system] }),
  }
}
