/** The command line: help, exit codes, and messages that say what to do. No broker is needed. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { test } from 'node:test'
import { ExitCode, runProgram } from '../../src/cli/program.ts'
import type { BrokerConfig } from '../../src/config/broker-config.ts'

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
  readonly config: BrokerConfig | null
}

async function run(...args: string[]): Promise<Outcome> {
  const out: string[] = []
  const err: string[] = []
  let config: BrokerConfig | null = null
  const streams = { out: (text: string) => out.push(text), err: (text: string) => err.push(text) }
  const runBroker = async (given: BrokerConfig): Promise<void> => {
    config = given
  }
  const code = await runProgram(args, runBroker, streams)
  return { code, out: out.join('\n'), err: err.join('\n'), config }
}

test('runProgram, prints help with examples, for every command', async () => {
  const commands = [
    [],
    ['start'],
    ['config'],
    ['config', 'list'],
    ['config', 'get'],
    ['config', 'set'],
    ['topic'],
    ['topic', 'create'],
    ['topic', 'list'],
    ['topic', 'describe'],
    ['topic', 'alter'],
    ['topic', 'trim'],
    ['topic', 'delete'],
    ['group'],
    ['group', 'list'],
    ['group', 'describe'],
    ['group', 'reset-offsets'],
    ['group', 'delete'],
    ['produce'],
    ['consume'],
    ['demo'],
    ['bench'],
    ['bench', 'produce'],
    ['bench', 'consume'],
    ['bench', 'end-to-end'],
    ['completion'],
  ]
  for (const command of commands) {
    const { code, out, err } = await run(...command, '--help')
    assert.equal(code, ExitCode.DONE)
    assert.match(out, /Usage: millrace/, command.join(' '))
    assert.equal(err, '')
    for (const line of out.split('\n')) assert.ok([...line].length <= 100, line)
  }
  for (const command of [
    [],
    ['start'],
    ['topic'],
    ['group'],
    ['config'],
    ['consume'],
    ['demo'],
    ['bench'],
  ]) {
    assert.match((await run(...command, '--help')).out, /Examples:\n {2}\$ millrace/)
  }
})

test('runProgram, prints the version of the package', async () => {
  const { code, out } = await run('--version')
  assert.equal(code, ExitCode.DONE)
  assert.match(out, /^\d+\.\d+\.\d+/)
})

test('runProgram, suggests the nearest name, for a wrong command or option', async () => {
  const command = await run('topics')
  assert.equal(command.code, ExitCode.USAGE)
  assert.match(command.err, /unknown command 'topics'/)
  assert.match(command.err, /Did you mean topic\?/)
  const option = await run('start', '--shard', '3')
  assert.equal(option.code, ExitCode.USAGE)
  assert.match(option.err, /Did you mean --shards\?/)
})

test('start, hands a checked configuration to the broker', async () => {
  const { code, config, err } = await run(
    ...['start', '--kafka', '127.0.0.1:19092', '--http', 'off', '--shards', '3'],
    ...['--data-dir', '/somewhere/data', '--set', 'num.partitions=6', '-s', 'node.id=2'],
  )
  assert.equal(code, ExitCode.DONE, err)
  assert.ok(config !== null)
  assert.equal(config.listeners[0]?.port, 19_092)
  assert.equal(config.httpListener, null)
  assert.equal(config.get('millrace.shards'), 3)
  assert.equal(config.get('num.partitions'), 6)
  assert.equal(config.get('node.id'), 2)
  assert.deepEqual(config.logDirs, ['/somewhere/data'])
})

test('start, refuses and starts nothing, when the configuration is bad', async () => {
  const { code, config, err } = await run('start', '--set', 'num.partition=6', '--shards', 'many')
  assert.equal(code, ExitCode.USAGE)
  assert.equal(config, null)
  assert.match(err, /The configuration has 2 problems:/)
  assert.match(err, /did you mean num\.partitions\?/)
  assert.match(err, /millrace\.shards: expected a whole number from 0 to 256, got "many"/)
})

test('start, opens nothing to the network, unless --insecure says so', async () => {
  const refused = await run('start', '--kafka', '0.0.0.0:9092')
  assert.equal(refused.code, ExitCode.USAGE)
  assert.match(refused.err, /--insecure/)
  const allowed = await run('start', '--kafka', '0.0.0.0:9092', '--insecure')
  assert.equal(allowed.code, ExitCode.DONE)
})

test('config, lists options, filtered, as table and as JSON', async () => {
  const table = await run('config', 'retention.ms', '--scope', 'topic')
  assert.equal(table.code, ExitCode.DONE)
  assert.match(table.out, /^SCOPE +NAME +TYPE +DEFAULT +MEANING\n/)
  assert.match(table.out, /\ntopic +retention\.ms +long +604800000 /)
  assert.ok(!table.out.includes('log.retention.ms'))
  const json = await run('config', 'node.id', '--format', 'json')
  assert.deepEqual(
    JSON.parse(json.out).map((one: { name: string }) => one.name),
    ['node.id'],
  )
})

test('topic, refuses bad arguments before it connects anywhere', async () => {
  const cases: [string[], RegExp][] = [
    [['create'], /missing required argument 'name'/],
    [['create', 'a/b'], /letters, digits/],
    [['create', '..'], /is not '\.' or '\.\.'/],
    [['create', 'x'.repeat(250)], /At most 249 characters/],
    [['create', 'a', '--partitions', '0'], /whole number from 1 to 2147483647/],
    [['create', 'a', '--replication-factor', '99999'], /from 1 to 32767/],
    [['create', 'a', '--config', 'retention.ms'], /Expected name=value/],
    [['create', 'a', '-c', 'retention.ms=1', '-c', 'retention.ms=2'], /set twice/],
    [['list', '--bootstrap', 'nowhere'], /Expected HOST:PORT/],
    [['list', '--bootstrap', 'host:0'], /Expected HOST:PORT/],
    [['list', '--format', 'xml'], /Allowed choices are table, json/],
    [['describe', 'a/b'], /letters, digits/],
    [['alter', 'a', '--unset'], /argument missing/],
    [['trim', 'a', '--before', '-1'], /whole number/],
    [['trim', 'a', '--before-time', 'soon'], /a date such as/],
    [['delete'], /missing required argument 'names'/],
    [['delete', 'good', 'b d'], /letters, digits/],
  ]
  for (const [args, pattern] of cases) {
    const { code, err } = await run('topic', ...args)
    assert.equal(code, ExitCode.USAGE, args.join(' '))
    assert.match(err, pattern)
    assert.match(err, /--help shows what is possible/)
  }
})

/** A server on a free port of loopback, and what it does with a connection. */
async function serve(onBytes: 'answer-nonsense' | 'stay-silent' | 'close'): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      if (onBytes === 'answer-nonsense') socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')
      if (onBytes === 'close') socket.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

function portOf(server: Server): number {
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

test('topic, says what to do, when nothing listens', async () => {
  const server = await serve('close')
  const port = portOf(server)
  await new Promise((resolve) => server.close(resolve))
  const { code, err } = await run('topic', 'list', '--bootstrap', `127.0.0.1:${port}`)
  assert.equal(code, ExitCode.FAILED)
  assert.match(err, /nothing listens there; is the broker running\?/)
})

test('topic, fails in time, when what listens is no broker', async () => {
  const cases = [
    ['answer-nonsense', /is it a Kafka broker that listens there\?/],
    ['close', /closed the connection/],
    ['stay-silent', /no answer to API_VERSIONS within 200 ms/],
  ] as const
  for (const [behaviour, pattern] of cases) {
    const server = await serve(behaviour)
    const bootstrap = `127.0.0.1:${portOf(server)}`
    const { code, err } = await run('topic', 'list', '-b', bootstrap, '--timeout', '200')
    assert.equal(code, ExitCode.FAILED)
    assert.match(err, pattern)
    assert.ok(!err.includes('    at '), 'an expected failure shows no stack')
    server.close()
  }
})
