/**
 * Makes `dist/browser/millrace.js` of `src/browser.ts`: one minified ES module with its source map
 * and the licences of what it contains. Fails when anything in it needs Node, or what a strict
 * Content-Security-Policy refuses.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import {
  bin,
  filesBelow,
  hashOf,
  licencesOf,
  readText,
  root,
  run,
  StepError,
  say,
  timed,
} from './prepare.mjs'

const FOLDER = 'dist/browser'
const CONFIG = 'tsconfig.browser.json'
const STAMP = join(FOLDER, '.stamp')

/**
 * Names that packages ask for and do without. msgpackr compiles readers with `new Function` for a
 * format that is not used here and goes on without where that throws: this is what its own build
 * without eval does, which cannot be taken apart (tree-shaken).
 */
const ABSENT = { Buffer: 'undefined', Function: 'undefined', process: 'undefined' }

/** What must not be left: Node's modules and globals, code made of text. */
const FORBIDDEN = [
  /["'`]node:/,
  /\brequire\s*\(/,
  /(?<![\w$])Buffer[.(]|\btypeof Buffer\b/,
  /\bnew Function\b/,
  /(?<![\w$.])eval\s*\(/,
  /(?<![\w$."' ])process\./,
]

/** Bundles when a source, an option, the bundler or a package inside has changed. */
export async function prepareBrowserBundle() {
  if (!existsSync(join(root, 'src/browser.ts'))) return
  const sources = [
    CONFIG,
    'tsconfig.json',
    'scripts/lib/browser-bundle.mjs',
    ...filesBelow('src', (name) => name.endsWith('.ts')),
  ]
  const packages = ['esbuild', 'msgpackr', 'typescript'].map(
    (name) => `${name} ${JSON.parse(readText(`node_modules/${name}/package.json`)).version}`,
  )
  const stamp = hashOf(sources, packages.join(' '))
  if (readText(STAMP) === stamp) return
  await timed('bundling for browsers (dist/browser/)', async () => {
    rmSync(join(root, FOLDER), { recursive: true, force: true })
    await checkTypes()
    await bundle()
    writeFileSync(join(root, STAMP), stamp)
  })
}

/** Compiled with a browser's names only, so that a use of Node's is an error at its place. */
async function checkTypes() {
  const { code, output } = await run(bin('tsc'), ['-p', CONFIG, '--pretty', 'false'], {
    quiet: true,
  })
  if (code !== 0) {
    throw new StepError(`src/browser.ts needs what browsers have not:\n${output.trimEnd()}`)
  }
}

async function bundle() {
  // Not there before `npm ci` has run.
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/browser.ts'],
    outfile: join(FOLDER, 'millrace.js'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    sourcemap: true,
    define: ABSENT,
    banner: { js: '/*! Millrace, Apache-2.0. What it contains: millrace.LICENSES.txt */' },
    metafile: true,
    write: false,
    logLevel: 'silent',
  }).catch((error) => {
    throw new StepError(`the bundle for browsers fails:\n${error.message}`)
  })
  const code = outputFiles.find((file) => file.path.endsWith('.js'))
  refuseForbidden(code.text)
  mkdirSync(join(root, FOLDER), { recursive: true })
  for (const { path, contents } of outputFiles) writeFileSync(path, contents)
  const licences = licencesOf(Object.keys(metafile.inputs))
  writeFileSync(join(root, FOLDER, 'millrace.LICENSES.txt'), licences)
  const zipped = gzipSync(code.contents, { level: 9 }).length
  say(`dist/browser/millrace.js: ${code.contents.length} bytes, ${zipped} with gzip`)
}

/** Throws StepError. */
function refuseForbidden(text) {
  for (const pattern of FORBIDDEN) {
    const found = pattern.exec(text)
    if (found === null) continue
    const around = text.slice(Math.max(0, found.index - 60), found.index + 60)
    throw new StepError(`the bundle for browsers contains ${found[0]}: … ${around} …`)
  }
}
