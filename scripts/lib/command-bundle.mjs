/**
 * Makes the command's program load fast: `dist/main.js` and the shard's thread become a few files
 * instead of some three hundred, packages in JavaScript included. Everything else of `dist/` stays
 * a file a module: that is the library.
 *
 * The parts lie in dist/command/, as deep as the modules they are made of, so that what looks for
 * its neighbours by its own place (the shard's thread, the addon) finds them there.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = 'dist/command'

/** With native parts, or with files that they look up beside themselves: loaded as they are. */
const APART = [
  '@mongodb-js/zstd',
  '@node-rs/crc32',
  'lz4-napi',
  'pino',
  'pino-pretty',
  'snappy',
  'uWebSockets.js',
]

/** Packages in CommonJS ask for `require`, which a module does not have. */
const REQUIRE =
  "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);"

/** `licencesOf`: the text for the files that went into a bundle. */
export async function bundleCommand({ root, say, licencesOf }) {
  rmSync(join(root, FOLDER), { recursive: true, force: true })
  mkdirSync(join(root, FOLDER), { recursive: true })
  let esbuild
  try {
    esbuild = await import('esbuild')
  } catch {
    say('esbuild is not installed: the command starts from single modules, a little slower')
    return
  }
  const { metafile } = await esbuild.build({
    absWorkingDir: root,
    entryPoints: {
      main: 'src/main.ts',
      'command/shard-thread': 'src/shard/shard-thread.ts',
      'command/compaction-thread': 'src/shard/compaction-thread.ts',
    },
    outdir: 'dist',
    chunkNames: 'command/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    external: APART,
    banner: { js: REQUIRE },
    metafile: true,
    logLevel: 'silent',
  })
  writeFileSync(join(root, FOLDER, 'LICENSES.txt'), licencesOf(Object.keys(metafile.inputs)))
}
