import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { addonOrThrow, addonPath, withoutAddon } from './support.ts'

const loaderUrl = new URL('../../src/base/native.js', import.meta.url).href

/** What a fresh process says of the addon under an override. */
function loadWith(override: string): { loads: boolean; error: string | null } {
  const script = `
    import { loadNative, nativeLoadError } from ${JSON.stringify(loaderUrl)}
    const loads = loadNative() !== null
    console.log(JSON.stringify({ loads, error: nativeLoadError(), same: loadNative() === loadNative() }))`
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { env: { ...process.env, MILLRACE_NATIVE: override }, encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout)
}

test('loadNative answers null with a reason when the addon is off, absent, broken or stale', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-loader-'))
  try {
    const broken = join(directory, 'broken.node')
    const stale = join(directory, 'stale.cjs')
    writeFileSync(broken, 'not a shared object')
    writeFileSync(stale, 'module.exports = { abiVersion: 0, crc32c() {} }')
    const cases: [string, RegExp][] = [
      ['off', /MILLRACE_NATIVE is off/],
      [join(directory, 'absent.node'), /absent\.node is not built/],
      [broken, /broken\.node does not load: /],
      [stale, /stale\.cjs is stale \(interface 0, not \d+\): run npm run build/],
    ]
    for (const [override, reason] of cases) {
      const { loads, error } = loadWith(override)
      assert.equal(loads, false)
      assert.match(error ?? '', reason)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('loadNative finds the addon of the package that it belongs to, at any depth', {
  skip: withoutAddon,
}, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-loader-'))
  try {
    const deep = join(directory, 'dist', 'src', 'base')
    mkdirSync(deep, { recursive: true })
    mkdirSync(join(directory, 'native'))
    writeFileSync(join(directory, 'package.json'), '{"name":"millrace","type":"module"}')
    // An output directory has a package.json of its own that must not end the search.
    writeFileSync(join(directory, 'dist', 'package.json'), '{"type":"module"}')
    copyFileSync(fileURLToPath(loaderUrl), join(deep, 'native.js'))
    const script = `
      import { loadNative, nativeLoadError } from ${JSON.stringify(join(deep, 'native.js'))}
      console.log(loadNative() === null ? nativeLoadError() : 'loaded')`
    const env = { ...process.env }
    delete env.MILLRACE_NATIVE
    const run = (): string => {
      const args = ['--input-type=module', '--eval', script]
      return spawnSync(process.execPath, args, { env, encoding: 'utf8' }).stdout.trim()
    }
    assert.equal(run(), `${join(directory, 'native', 'millrace.node')} is not built`)
    symlinkSync(addonPath, join(directory, 'native', 'millrace.node'))
    assert.equal(run(), 'loaded')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

function startWorker(): Worker {
  return new Worker(fileURLToPath(new URL('./addon-worker.js', import.meta.url)))
}

async function nextMessage(worker: Worker): Promise<Record<string, number>> {
  const [message] = await once(worker, 'message')
  return message
}

test('the addon loads in three workers at once and outlives their ends', {
  skip: withoutAddon,
}, async () => {
  const addon = addonOrThrow()
  for (const end of ['close', 'exit', 'terminate'] as const) {
    const workers = [startWorker(), startWorker(), startWorker()]
    const hellos = await Promise.all(workers.map(nextMessage))
    for (const [i, worker] of workers.entries()) {
      assert.equal(hellos[i]?.crc, 0xe3069283)
      const answer = nextMessage(worker)
      addon.eventfdSignal(hellos[i]!.doorbell!)
      assert.deepEqual(await answer, { rang: 1, id: 41 })
    }
    const exits = workers.map((worker) => once(worker, 'exit'))
    for (const worker of workers) {
      if (end === 'terminate') void worker.terminate()
      else worker.postMessage(end)
    }
    for (const [code] of await Promise.all(exits)) assert.equal(code, end === 'terminate' ? 1 : 0)
  }
  assert.equal(addon.crc32c(new TextEncoder().encode('123456789'), 0, 9), 0xe3069283)
})

test('pollerOpen turns what onReady throws into an uncaught exception', {
  skip: withoutAddon,
}, async () => {
  const worker = startWorker()
  await nextMessage(worker)
  const failure = once(worker, 'error')
  worker.postMessage('throw')
  const [error] = await failure
  assert.equal(error.message, 'planted in onReady')
})

test('a process ends by itself and cleanly with a closed poller and an open ring', {
  skip: withoutAddon,
}, () => {
  const script = `
    import { loadNative } from ${JSON.stringify(loaderUrl)}
    const addon = loadNative()
    const eventfd = addon.eventfdCreate()
    addon.uringOpen(8, eventfd)
    const poller = addon.pollerOpen(() => {
      addon.pollerClose(poller)
      console.log('closed')
    })
    addon.pollerAdd(poller, eventfd, 0, false)
    addon.eventfdSignal(eventfd)`
  const options = { encoding: 'utf8', timeout: 20_000 } as const
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], options)
  assert.deepEqual([child.status, child.stdout, child.stderr], [0, 'closed\n', ''])
})
