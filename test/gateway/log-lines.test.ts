import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { LogLines } from '../../src/gateway/log-lines.ts'
import { openLoggers } from '../../src/gateway/open-loggers.ts'

let directory = ''

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-log-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

function fifo(): string {
  const path = join(directory, 'fifo')
  assert.equal(spawnSync('mkfifo', [path]).status, 0)
  return path
}

function readAll(fd: number): string {
  const buffer = Buffer.alloc(1024 * 1024)
  try {
    return buffer.toString('utf8', 0, readSync(fd, buffer))
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN')
    return ''
  }
}

describe('LogLines', () => {
  test('keeps nobody waiting for a reader that is stuck, and goes on when it reads', async () => {
    const path = fifo()
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY) // Blocking, as a shell's pipe is.
    const lines = new LogLines(writer)
    const lost: number[] = []
    lines.onLost = (count) => lost.push(count)
    const line = `${'x'.repeat(999)}\n`
    const count = 2000
    for (let i = 0; i < count; i++) lines.write(line)
    assert.ok(lines.dropped > 0)
    let text = ''
    while (text.length < (count - lines.dropped) * line.length) {
      text += readAll(reader)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    assert.equal(text, line.repeat(count - lines.dropped), 'whole lines, in order')
    assert.deepEqual(lost, [lines.dropped])
    lines.close()
    closeSync(reader)
    closeSync(writer)
  })

  test('a pipe that nobody reads any more costs lines and nothing else', () => {
    const path = fifo()
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY)
    const lines = new LogLines(writer)
    lines.write('heard\n')
    assert.equal(readAll(reader), 'heard\n')
    closeSync(reader)
    lines.write('lost\n')
    lines.write('lost\n')
    assert.equal(lines.dropped, 2)
    lines.close()
    closeSync(writer)
  })

  test('a full disk costs lines and nothing else', () => {
    const full = openSync('/dev/full', constants.O_WRONLY)
    const lines = new LogLines(full)
    lines.write('lost\n')
    assert.equal(lines.dropped, 1)
    lines.close()
    closeSync(full)
  })
})

describe('openLoggers', () => {
  test('writes what the level of its component lets through, and hides secrets', async () => {
    const path = join(directory, 'log')
    const fd = openSync(path, 'a')
    const lines = new LogLines(fd)
    const levels = { all: 'warn', components: new Map([['storage', 'debug']] as const) } as const
    const loggers = await openLoggers(levels, 'json', lines)
    loggers('broker').info({}, 'not this')
    loggers('broker').warn({ password: 'hunter2', user: { token: 'hunter2', name: 'a' } }, 'this')
    loggers('storage').debug({ request: { headers: { authorization: 'hunter2' } } }, 'and this')
    const deep = { a: [{ b: { c: { 'ssl.keystore.password': 'hunter2', d: [1, null] } } }] }
    loggers('storage').debug({ deep, apiKey: 'hunter2' }, 'deep')
    const err = Object.assign(new Error('no'), { options: { saslJaasConfig: 'hunter2', at: 1 } })
    loggers('storage').debug({ err }, 'failed')
    lines.close()
    closeSync(fd)
    const text = readFileSync(path, 'utf8')
    assert.doesNotMatch(text, /hunter2|not this/)
    const written = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(
      written.map(({ component, msg }) => [component, msg]),
      [
        ['broker', 'this'],
        ['storage', 'and this'],
        ['storage', 'deep'],
        ['storage', 'failed'],
      ],
    )
    const shown = { a: [{ b: { c: { 'ssl.keystore.password': '(hidden)', d: [1, null] } } }] }
    assert.deepEqual(written[2]?.deep, shown)
    const { message, stack, options } = written[3]!.err as Record<string, unknown>
    assert.deepEqual(options, { saslJaasConfig: '(hidden)', at: 1 })
    assert.equal(message, 'no')
    assert.match(String(stack), /log-lines/)
    assert.deepEqual(written[0]?.user, { token: '(hidden)', name: 'a' })
  })

  test('writes lines for people', async () => {
    const path = join(directory, 'log')
    const fd = openSync(path, 'a')
    const lines = new LogLines(fd)
    const loggers = await openLoggers({ all: 'info', components: new Map() }, 'pretty', lines)
    loggers('kafka').info({ peer: '10.0.0.1' }, 'hello')
    lines.close()
    closeSync(fd)
    assert.match(readFileSync(path, 'utf8'), /INFO: hello \{"peer":"10\.0\.0\.1"\}\n$/)
  })
})
