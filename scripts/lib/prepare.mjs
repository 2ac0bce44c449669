/**
 * Makes what is missing or stale, says what it does, and does nothing twice: packages, compiled
 * TypeScript, the Rust addon. Plain JavaScript without dependencies, because it runs before
 * anything is installed and Node 20 runs no TypeScript.
 *
 * "Stale" is decided by content (a hash over the sources, kept beside the output), never by times:
 * a checkout, a copy or a `touch` makes nothing stale.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** A step that failed. Its message says what to do; the caller prints it and exits. */
export class StepError extends Error {}

/** One progress line on standard error, so that output meant for pipes stays clean. */
export function say(text) {
  process.stderr.write(`millrace: ${text}\n`)
}

function seconds(startedMs) {
  return `${((performance.now() - startedMs) / 1000).toFixed(1)} s`
}

/** Runs `action`, between a line that says what begins and one that says how it ended and when. */
export async function timed(doing, action) {
  const startedMs = performance.now()
  say(`${doing} …`)
  const result = await action()
  say(`${doing}: ${result === 'failed' ? 'failed after' : 'done in'} ${seconds(startedMs)}`)
  return result
}

/**
 * Runs a program in the project's folder. With `quiet` its output is kept and returned, not shown.
 * `code` is -1 when the program could not be started.
 */
export function run(command, args, { quiet = false, env = process.env, cwd = root } = {}) {
  return new Promise((resolve) => {
    const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit']
    const child = spawn(command, args, { cwd, env, stdio })
    let output = ''
    const keep = (chunk) => {
      output += chunk
    }
    child.stdout?.setEncoding('utf8').on('data', keep)
    child.stderr?.setEncoding('utf8').on('data', keep)
    child.on('error', (error) => resolve({ code: -1, output: `${error.message}\n` }))
    child.on('close', (code, signal) => resolve({ code: code ?? 1, signal, output }))
  })
}

/** Runs a compiled program of `build/` with our arguments; its exit code becomes ours. */
export async function runBuilt(file) {
  const args = ['--enable-source-maps', join(root, 'build', file), ...process.argv.slice(2)]
  const { code } = await run(process.execPath, args)
  process.exitCode = code
}

/** A program of node_modules/.bin. */
export function bin(name) {
  return join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name)
}

/** Whether a program stands on the PATH. */
export function onPath(name) {
  const names = process.platform === 'win32' ? [`${name}.exe`, `${name}.cmd`] : [name]
  return (process.env.PATH ?? '')
    .split(delimiter)
    .some(
      (directory) => directory !== '' && names.some((file) => existsSync(join(directory, file))),
    )
}

/** Every file below `directory` (sorted, relative to the root) that `accept` takes. */
export function filesBelow(directory, accept) {
  const found = []
  const visit = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (accept(entry.name)) found.push(relative(root, path))
    }
  }
  if (existsSync(join(root, directory))) visit(join(root, directory))
  return found.sort()
}

export function hashOf(paths, salt) {
  const hash = createHash('sha256').update(salt)
  for (const path of paths) {
    hash.update(`\0${path}\0`).update(readFileSync(join(root, path)))
  }
  return hash.digest('hex')
}

export function readText(path) {
  try {
    return readFileSync(join(root, path), 'utf8')
  } catch {
    return ''
  }
}

// —— packages ————————————————————————————————————————————————————————————————————————————————————

/**
 * What node_modules lacks of the lockfile, from npm's own record of what it installed. Packages for
 * other platforms (optional ones) may be absent.
 */
function missingPackages() {
  const installed = readText('node_modules/.package-lock.json')
  if (installed === '') return ['everything']
  const have = JSON.parse(installed).packages ?? {}
  const want = JSON.parse(readText('package-lock.json')).packages ?? {}
  return Object.keys(want).filter((path) => {
    if (path === '') return false
    const present = have[path]
    if (present === undefined) return want[path].optional !== true && want[path].peer !== true
    return present.version !== want[path].version || present.integrity !== want[path].integrity
  })
}

export async function preparePackages() {
  if (missingPackages().length === 0) return
  await timed('installing packages (npm ci)', async () => {
    // `npm start` and `npm test` may be asked for under NODE_ENV=production: the compiler is
    // needed.
    const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
    const npm = process.env.npm_execpath
    const { code, output } = npm
      ? await run(process.execPath, [npm, ...args], { quiet: true })
      : await run(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, { quiet: true })
    if (code !== 0) {
      // npm says what is wrong first, and how `npm ci` is used at length after it.
      const reason = output.trim().split('\n').slice(0, 20).join('\n')
      throw new StepError(`npm ci failed:\n${reason}`)
    }
  })
}

// —— TypeScript ——————————————————————————————————————————————————————————————————————————————————

/** What is compiled: `build` is everything (tests, scripts), `dist` is what a user runs. */
const TARGETS = {
  build: { config: 'tsconfig.json', folders: ['src', 'test', 'bench', 'scripts'], base: '' },
  dist: { config: 'tsconfig.dist.json', folders: ['src'], base: 'src' },
}

/** Compiles a target when a source, a compiler option or the compiler has changed. */
export async function prepareTypeScript(target) {
  const { config, folders, base } = TARGETS[target]
  const sources = folders.flatMap((folder) => filesBelow(folder, (name) => name.endsWith('.ts')))
  const options = ['tsconfig.json', 'tsconfig.dist.json'].filter((path) =>
    existsSync(join(root, path)),
  )
  const compiler = JSON.parse(readText('node_modules/typescript/package.json')).version
  const stamp = hashOf([...options, ...sources], `typescript ${compiler}`)
  const stampPath = join(target, '.stamp')
  if (readText(stampPath) !== stamp) await compile(target, { config, base, stamp, stampPath })
  if (target === 'dist') await prepareCommand(sources)
}

async function compile(target, { config, base, stamp, stampPath }) {
  await timed(`compiling TypeScript (${target}/)`, async () => {
    // Without a stamp nothing says that the outputs still stand: the compiler must not skip any.
    if (readText(stampPath) === '') {
      rmSync(join(root, target), { recursive: true, force: true })
    }
    rmSync(join(root, stampPath), { force: true })
    const { code, output } = await run(bin('tsc'), ['-p', config, '--pretty', 'false'], {
      quiet: true,
    })
    if (code !== 0) throw new StepError(`TypeScript finds errors:\n${output.trimEnd()}`)
    removeOrphans(target, base)
    // The compiler has put a module in the bundle's place.
    if (target === 'dist') rmSync(join(root, COMMAND_STAMP), { force: true })
    writeFileSync(join(root, stampPath), stamp)
  })
}

const COMMAND_STAMP = 'dist/command/.stamp'

/** Bundles the command when the compiler has run, or when what goes in has changed. */
async function prepareCommand(sources) {
  const stamp = hashOf(['scripts/lib/command-bundle.mjs', 'package-lock.json', ...sources], '')
  if (readText(COMMAND_STAMP) === stamp) return
  const { bundleCommand } = await import('./command-bundle.mjs')
  await bundleCommand({ root, say, licencesOf })
  chmodSync(join(root, 'dist/main.js'), 0o755)
  writeFileSync(join(root, COMMAND_STAMP), stamp)
}

/** A package's licence: its text, or at least its name. */
function licenceOf(folder) {
  for (const file of ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'LICENCE', 'License', 'license']) {
    const text = readText(join(folder, file))
    if (text !== '') return text
  }
  const { license, author } = JSON.parse(readText(join(folder, 'package.json')))
  if (typeof license !== 'string') throw new StepError(`${folder} says nothing of its licence`)
  return `${license}\n${typeof author === 'object' ? author?.name : (author ?? '')}`
}

/** The licences of what a bundle contains, by the files that went into it. */
export function licencesOf(inputs) {
  const names = new Set()
  for (const path of inputs) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]
    if (name !== undefined) names.add(name)
  }
  const texts = [['millrace', readFileSync(join(root, 'LICENSE'), 'utf8')]]
  for (const name of [...names].sort()) {
    texts.push([name, licenceOf(join('node_modules', name))])
  }
  return texts.map(([name, text]) => `${name}\n\n${text.trim()}\n`).join('\n\n')
}

/** Removes outputs whose source is gone: a deleted test must not go on running. */
function removeOrphans(target, base) {
  const isOutput = (name) => /\.(js|js\.map|d\.ts)$/.test(name)
  for (const path of filesBelow(target, isOutput)) {
    // Their bundles own them.
    if (/^dist[/\\](browser|command)[/\\]/.test(path)) continue
    const source = relative(target, path).replace(/\.(js|js\.map|d\.ts)$/, '.ts')
    if (!existsSync(join(root, base, source))) rmSync(join(root, path))
  }
}

// —— the addon ———————————————————————————————————————————————————————————————————————————————————

const ADDON = 'native/millrace.node'
const NATIVE_STAMP = 'native/target/.stamp'

/**
 * Builds the addon when its sources changed. Returns 'ready', 'absent' (no Rust: the portable tier
 * runs) or 'failed'. A build that failed is not tried again on unchanged sources unless `retry`.
 */
export async function prepareNative({ retry = false } = {}) {
  if (!existsSync(join(root, 'native/Cargo.toml'))) return 'absent'
  const sources = [
    ...['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo/config.toml', 'rust-toolchain.toml']
      .map((name) => join('native', name))
      .filter((path) => existsSync(join(root, path))),
    ...filesBelow('native/src', (name) => name.endsWith('.rs')),
  ]
  const stamp = hashOf(sources, `${process.platform} ${process.arch}`)
  const before = readText(NATIVE_STAMP)
  if (before === stamp && existsSync(join(root, ADDON))) return 'ready'
  if (!onPath('cargo')) {
    if (existsSync(join(root, ADDON)) && before === '') return 'ready' // Built elsewhere, put here.
    say('Rust is not here: the portable tier runs (for the native one: https://rustup.rs)')
    return 'absent'
  }
  if (before === `failed ${stamp}` && !retry) {
    say('the addon did not build and has not changed since: the portable tier runs')
    return 'failed'
  }
  return await timed('building the addon (cargo build --release)', () => buildNative(stamp))
}

async function buildNative(stamp) {
  const locked = existsSync(join(root, 'native/Cargo.lock')) ? ['--locked'] : []
  const { code, output } = await run('cargo', ['build', '--release', ...locked], {
    quiet: true,
    cwd: join(root, 'native'),
  })
  mkdirSync(join(root, dirname(NATIVE_STAMP)), { recursive: true })
  const extension = process.platform === 'darwin' ? 'dylib' : 'so'
  const library = join(root, 'native/target/release', `libmillrace_native.${extension}`)
  if (code !== 0 || !existsSync(library)) {
    say(`the addon does not build, so that the portable tier runs; the end of cargo's output:`)
    process.stderr.write(`${tail(output)}\n`)
    rmSync(join(root, ADDON), { force: true }) // An addon of older sources would mislead.
    writeFileSync(join(root, NATIVE_STAMP), `failed ${stamp}`)
    return 'failed'
  }
  // A running process may have the old file mapped: a new file takes its name, none is overwritten.
  const temporary = join(root, `${ADDON}.${process.pid}.tmp`)
  copyFileSync(library, temporary)
  renameSync(temporary, join(root, ADDON))
  writeFileSync(join(root, NATIVE_STAMP), stamp)
  return 'ready'
}

export function tail(text, lines = 40) {
  return text.trimEnd().split('\n').slice(-lines).join('\n')
}

/** Runs a script's main function: a StepError becomes its message and exit code 1. */
export async function main(action) {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof StepError)) throw error
    say(error.message)
    process.exit(1)
  }
}
