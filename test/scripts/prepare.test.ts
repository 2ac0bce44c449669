/**
 * The preparation behind `npm start` and `npm test`, on a small project whose npm, compiler and
 * cargo are scripts that note each call: what is stale is made, and nothing is made twice.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** scripts/ of the project: one level higher from the compiled test. */
function scriptsFolder(): string {
  const paths = ['../../scripts/', '../../../scripts/'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  const path = paths.find((candidate) => existsSync(join(candidate, 'build.mjs')))
  assert.ok(path !== undefined, 'scripts/build.mjs is not where it should be')
  return path
}

const LOCK = JSON.stringify({
  packages: {
    '': {},
    'node_modules/typescript': { version: '1.0.0' },
    'node_modules/elsewhere': { version: '1.0.0', optional: true },
  },
})

let root = ''

function put(path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
  chmodSync(join(root, path), mode)
}

/** A program that notes its name and arguments and then does `action`. */
function putProgram(path: string, action: string): void {
  const name = path.split('/').at(-1)
  put(path, `#!/bin/sh\necho "${name} $*" >> "${root}/calls"\n${action}\n`, 0o755)
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'millrace-prepare-'))
  cpSync(scriptsFolder(), join(root, 'scripts'), { recursive: true, dereference: true })
  put('package.json', '{"type":"module"}')
  put('package-lock.json', LOCK)
  put('tsconfig.json', '{}')
  put('tsconfig.dist.json', '{}')
  put('src/main.ts', 'export {}')
  put('src/other.ts', 'export {}')
  put('npm.mjs', `import './note.mjs'`)
  // npm ci, in short: what the lockfile says is then installed.
  put(
    'note.mjs',
    `import { appendFileSync, cpSync, mkdirSync } from 'node:fs'
     appendFileSync('calls', 'npm ' + process.argv[2] + '\\n')
     mkdirSync('node_modules', { recursive: true })
     cpSync('package-lock.json', 'node_modules/.package-lock.json')`,
  )
  put('node_modules/typescript/package.json', '{"version":"1.0.0"}')
  // The compiler, in short: an output for each source.
  const compile =
    'mkdir -p dist; for f in src/*.ts; do n=$(basename "$f" .ts); cp "$f" "dist/$n.js"; done'
  putProgram('node_modules/.bin/tsc', compile)
})

afterEach(() => rmSync(root, { recursive: true, force: true }))

interface Outcome {
  readonly code: number | null
  readonly said: string
  /** What ran, in order. */
  readonly calls: string[]
}

function build(path = `${join(root, 'bin')}:/usr/bin:/bin`): Outcome {
  writeFileSync(join(root, 'calls'), '')
  const env = { PATH: path, npm_execpath: join(root, 'npm.mjs') }
  const options = { cwd: root, env, encoding: 'utf8' } as const
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build.mjs'], options)
  const calls = readFileSync(join(root, 'calls'), 'utf8').split('\n').slice(0, -1)
  return { code: status, said: stderr, calls: calls.map((line) => line.split(' ')[0] as string) }
}

test('build, makes everything once and is then quiet', () => {
  const first = build()
  assert.equal(first.code, 0, first.said)
  assert.deepEqual(first.calls, ['npm', 'tsc'])
  assert.match(first.said, /installing packages .* done in \d+\.\d s/)
  assert.deepEqual(build(), { code: 0, said: '', calls: [] })
})

test('build, compiles again for a changed text, not for a touched file', () => {
  build()
  utimesSync(join(root, 'src/main.ts'), new Date(), new Date())
  assert.deepEqual(build().calls, [])
  appendFileSync(join(root, 'src/main.ts'), '\n')
  assert.deepEqual(build().calls, ['tsc'])
  put('tsconfig.json', '{ }')
  assert.deepEqual(build().calls, ['tsc'])
  put('node_modules/typescript/package.json', '{"version":"1.0.1"}')
  assert.deepEqual(build().calls, ['tsc'])
})

test('build, removes the output of a source that is gone', () => {
  build()
  assert.ok(existsSync(join(root, 'dist/other.js')))
  rmSync(join(root, 'src/other.ts'))
  assert.deepEqual(build().calls, ['tsc'])
  assert.ok(!existsSync(join(root, 'dist/other.js')))
})

test('build, installs again, when the lockfile names another version', () => {
  build()
  put('package-lock.json', LOCK.replace('"1.0.0"', '"1.0.2"'))
  assert.deepEqual(build().calls, ['npm'])
  rmSync(join(root, 'node_modules/.package-lock.json'))
  assert.deepEqual(build().calls, ['npm'])
})

test('build, fails and tries again the next time, when the compiler finds errors', () => {
  build()
  putProgram('node_modules/.bin/tsc', 'echo "src/main.ts(1,1): error"; exit 2')
  appendFileSync(join(root, 'src/main.ts'), '\n')
  for (let i = 0; i < 2; i++) {
    const { code, said, calls } = build()
    assert.equal(code, 1)
    assert.match(said, /TypeScript finds errors:\nsrc\/main\.ts\(1,1\): error/)
    assert.deepEqual(calls, ['tsc'])
  }
})

test('build, goes on without the addon, where there is no Rust', () => {
  build()
  put('native/Cargo.toml', '')
  put('native/src/lib.rs', '')
  const { code, said } = build(join(root, 'bin'))
  assert.equal(code, 0)
  assert.match(said, /Rust is not here: the portable tier runs/)
})

test('build, builds the addon once, and puts a new file in the place of the old', () => {
  put('native/Cargo.toml', '')
  put('native/src/lib.rs', 'one')
  const extension = process.platform === 'darwin' ? 'dylib' : 'so'
  const library = `target/release/libmillrace_native.${extension}`
  putProgram('bin/cargo', `mkdir -p target/release; cp src/lib.rs ${library}`)
  assert.deepEqual(build().calls, ['npm', 'tsc', 'cargo'])
  assert.equal(readFileSync(join(root, 'native/millrace.node'), 'utf8'), 'one')
  assert.deepEqual(build().calls, [])
  put('native/src/lib.rs', 'two')
  assert.deepEqual(build().calls, ['cargo'])
  assert.equal(readFileSync(join(root, 'native/millrace.node'), 'utf8'), 'two')

  putProgram('bin/cargo', 'echo "error[E1]: no" >&2; exit 101')
  put('native/src/lib.rs', 'three')
  const failed = build()
  assert.equal(failed.code, 1)
  assert.match(failed.said, /error\[E1\]: no/)
  assert.match(failed.said, /complete except for the addon/)
  assert.ok(!existsSync(join(root, 'native/millrace.node')), 'no addon of other sources is left')
})

/** A bundler that gives `code`, whatever the source. */
function putBundler(code: string): void {
  put('src/browser.ts', 'export {}')
  put('tsconfig.browser.json', '{}')
  put('LICENSE', 'licence of millrace')
  put('node_modules/msgpackr/package.json', '{"version":"1.0.0"}')
  put('node_modules/msgpackr/LICENSE', 'licence of msgpackr')
  put('node_modules/esbuild/package.json', '{"version":"1.0.0","type":"module","main":"./main.js"}')
  put(
    'node_modules/esbuild/main.js',
    `import { appendFileSync } from 'node:fs'
     export async function build({ absWorkingDir, outfile }) {
       if (outfile === undefined) return { metafile: { inputs: {} } } // The command's bundle.
       appendFileSync('calls', 'esbuild\\n')
       const text = ${JSON.stringify(code)}
       const file = { path: absWorkingDir + '/' + outfile, text, contents: Buffer.from(text) }
       const inputs = { 'src/browser.ts': {}, 'node_modules/msgpackr/pack.js': {} }
       return { outputFiles: [file], metafile: { inputs } }
     }`,
  )
}

test('build, bundles for browsers once, and again for a changed source', () => {
  putBundler('export const a = new ArrayBuffer(1), b = "a Buffer, node:fs or process.env"')
  assert.deepEqual(build().calls, ['npm', 'tsc', 'tsc', 'esbuild'])
  assert.match(readFileSync(join(root, 'dist/browser/millrace.js'), 'utf8'), /ArrayBuffer/)
  const licences = readFileSync(join(root, 'dist/browser/millrace.LICENSES.txt'), 'utf8')
  assert.match(licences, /licence of millrace\n\n\nmsgpackr\n\nlicence of msgpackr/)
  assert.deepEqual(build(), { code: 0, said: '', calls: [] })
  appendFileSync(join(root, 'src/main.ts'), '\n')
  assert.deepEqual(build().calls, ['tsc', 'tsc', 'esbuild'])
  assert.ok(existsSync(join(root, 'dist/browser/millrace.js')))
})

test('build, refuses a bundle for browsers that needs Node or makes code of text', () => {
  const refused = [
    'import{readFileSync}from"node:fs";readFileSync("a")',
    'const a=Buffer.from("a")',
    'const a=typeof Buffer',
    'const a=new Function("return 1")',
    'const a=eval("1")',
    'const a=process.env.A',
    'const a=require("fs")',
  ]
  for (const code of refused) {
    putBundler(code)
    const { code: status, said } = build()
    assert.equal(status, 1, code)
    assert.match(said, /the bundle for browsers contains/, code)
    assert.ok(!existsSync(join(root, 'dist/browser/millrace.js')), code)
  }
})
