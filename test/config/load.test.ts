/** Where options come from, which of them wins, and how wrong ones are reported. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ConfigError, type ConfigInputs, loadConfig } from '../../src/config/load.ts'
import { BROKER_OPTIONS } from '../../src/config/options.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function problemsOf(inputs: ConfigInputs): readonly string[] {
  try {
    loadConfig(inputs)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems
  }
  return []
}

test('loadConfig, gives sensible defaults, with no input at all', () => {
  const config = loadConfig({ currentDirectory: '/somewhere' })
  assert.deepEqual(config.logDirs, ['/somewhere/millrace-data'])
  assert.equal(config.listeners.length, 1)
  assert.deepEqual(config.listeners[0], {
    name: 'PLAINTEXT',
    protocol: 'PLAINTEXT',
    host: '127.0.0.1',
    port: 9092,
  })
  assert.deepEqual(config.httpListener, { host: '127.0.0.1', port: 8080 })
  assert.equal(config.get('num.partitions'), 1)
  assert.equal(config.get('log.flush.interval.messages'), Number.POSITIVE_INFINITY)
  assert.equal(config.get('log.retention.ms'), null)
  assert.deepEqual(config.warnings, [])
})

test('options, have defaults that their own rules accept, every one', () => {
  for (const [name, option] of Object.entries(BROKER_OPTIONS)) {
    if (option.defaultText === null) continue
    const parsed = option.parse(option.defaultText)
    assert.ok(parsed.ok, `${name}=${option.defaultText}`)
    assert.ok(option.doc.endsWith('.') || option.doc.endsWith(')'), name)
  }
})

test('loadConfig, lets flags win over environment over file over default, option by option', () => {
  const configFile = file(
    'order.properties',
    'num.partitions=2\nfetch.max.bytes=2048\nmax.connections=7\nnode.id=9\n',
  )
  const config = loadConfig({
    configFile,
    environment: { MILLRACE_NUM_PARTITIONS: '3', KAFKA_FETCH_MAX_BYTES: '4096' },
    set: ['num.partitions=4'],
  })
  assert.equal(config.get('num.partitions'), 4)
  assert.equal(config.source('num.partitions'), 'flag')
  assert.equal(config.get('fetch.max.bytes'), 4096)
  assert.equal(config.source('fetch.max.bytes'), 'environment')
  assert.equal(config.get('max.connections'), 7)
  assert.equal(config.source('max.connections'), 'file')
  assert.equal(config.source('log.dirs'), 'default')
})

test('loadConfig, refuses, when MILLRACE_ and KAFKA_ variables disagree', () => {
  const environment = { KAFKA_NUM_PARTITIONS: '5', MILLRACE_NUM_PARTITIONS: '6' }
  assert.deepEqual(problemsOf({ environment }), [
    'num.partitions is set twice: by MILLRACE_NUM_PARTITIONS and by KAFKA_NUM_PARTITIONS',
  ])
  const same = { KAFKA_NUM_PARTITIONS: '6', MILLRACE_NUM_PARTITIONS: '6' }
  assert.equal(loadConfig({ environment: same }).get('num.partitions'), 6)
})

test('loadConfig, takes its own options without their prefix, from MILLRACE_ variables', () => {
  const environment = { MILLRACE_SHARDS: '3', MILLRACE_HTTP_LISTENER: '127.0.0.1:1' }
  const config = loadConfig({ environment })
  assert.equal(config.get('millrace.shards'), 3)
  assert.equal(config.httpListener?.port, 1)
})

test('loadConfig, reads YAML, nested and dotted', () => {
  const configFile = file('broker.yaml', 'log:\n  dirs: [/a, /b]\nnum.partitions: 8\n')
  const config = loadConfig({ configFile })
  assert.deepEqual(config.logDirs, ['/a', '/b'])
  assert.equal(config.get('num.partitions'), 8)
})

test('loadConfig, reports everything at once, for unknown names and bad values', () => {
  const configFile = file('bad.properties', 'num.partition=2\nretention.ms=5\nmax.connections=x\n')
  const problems = problemsOf({
    configFile,
    environment: { MILLRACE_NUM_PARTITONS: '2' },
    set: ['nonsense', 'message.max.bytes=-4', 'quite.unheard.of=1'],
    kafka: 'nowhere',
  })
  const expected = [
    /^--kafka: expected HOST:PORT, got "nowhere"/,
    /^--set: expected name=value, got "nonsense"/,
    /^message\.max\.bytes: expected a whole number of at least 0, got "-4" \(--set\)/,
    /^unknown option: quite\.unheard\.of \(--set\)$/,
    /MILLRACE_NUM_PARTITONS; did you mean MILLRACE_NUM_PARTITIONS\?$/,
    /^unknown option: num\.partition .*; did you mean num\.partitions\?$/,
    /^unknown option: retention\.ms .*whose default is log\.retention\.ms$/,
    /^max\.connections: expected a whole number of at least 0, got "x"/,
  ]
  for (const pattern of expected) {
    assert.ok(
      problems.some((line) => pattern.test(line)),
      `${pattern} is not among:\n${problems.join('\n')}`,
    )
  }
  assert.equal(problems.length, expected.length, problems.join('\n'))
})

test('loadConfig, finds a bad value in the file, although a flag overrides it', () => {
  const configFile = file('hidden.properties', 'num.partitions=many\n')
  assert.equal(problemsOf({ configFile, set: ['num.partitions=1'] }).length, 1)
})

test('loadConfig, refuses, when two flags disagree', () => {
  assert.match(problemsOf({ kafka: '9093', set: ['listeners=A://h:1'] }).join(), /set twice/)
  assert.match(problemsOf({ set: ['node.id=1', 'node.id=2'] }).join(), /set twice/)
  assert.deepEqual(problemsOf({ set: ['node.id=2', 'node.id=2'] }), [])
})

test('loadConfig, says what is wrong with the file, when it cannot be read', () => {
  assert.match(problemsOf({ configFile: join(folder, 'absent') }).join(), /ENOENT/)
  const configFile = file('list.yaml', '- a\n- b\n')
  assert.match(problemsOf({ configFile }).join(), /expected a mapping/)
})

test('loadConfig, warns and goes on, for options of Kafka that change nothing', () => {
  const config = loadConfig({ set: ['num.io.threads=8'] })
  assert.deepEqual(config.warnings, ['num.io.threads (--set) has no effect in this version'])
})

test('loadConfig, ignores variables that are no options, but warns of near misses', () => {
  const config = loadConfig({
    environment: {
      KAFKA_HEAP_OPTS: '-Xmx1g',
      KAFKA_SERVICE_HOST: '10.0.0.1',
      KAFKA_NUM_PARTITIONZ: '3',
      MILLRACE_SEED: '7',
      MILLRACE_PORT_8080_TCP_ADDR: '10.0.0.2',
      HOME: '/',
    },
  })
  assert.deepEqual(config.warnings, [
    'KAFKA_NUM_PARTITIONZ is no option; did you mean num.partitions?',
  ])
})

test('loadConfig, takes the old names, of node.id and log.dirs', () => {
  const config = loadConfig({ set: ['broker.id=4', 'log.dir=/x'] })
  assert.equal(config.get('node.id'), 4)
  assert.deepEqual(config.logDirs, ['/x'])
})

test('loadConfig, opens nothing beyond loopback, without --insecure', () => {
  const problems = problemsOf({ kafka: '0.0.0.0:9092', http: ':8080' })
  assert.equal(problems.length, 2)
  assert.match(problems[0] as string, /listener PLAINTEXT on 0\.0\.0\.0:9092 .*--insecure/)
  assert.match(problems[1] as string, /HTTP listener on :8080 .*--insecure/)
  assert.equal(loadConfig({ kafka: '0.0.0.0:9092', insecure: true }).listeners[0]?.host, '0.0.0.0')
  assert.deepEqual(problemsOf({ kafka: '[::1]:9092', http: 'localhost:80' }), [])
})

test('loadConfig, takes HTTP off, on request', () => {
  assert.equal(loadConfig({ http: 'off' }).httpListener, null)
  assert.match(problemsOf({ http: 'nowhere' }).join(), /expected HOST:PORT or off/)
})

test('loadConfig, refuses values that are good alone and contradict each other', () => {
  const cases: [string[], RegExp][] = [
    [['log.retention.hours=0'], /^log\.retention\.hours: expected -1 \(never\) or at least 1/],
    [['message.max.bytes=100000000'], /must not exceed a tenth of millrace\.arena\.ingress\.bytes/],
    [
      ['log.cleaner.min.compaction.lag.ms=9', 'log.cleaner.max.compaction.lag.ms=8'],
      /must not exceed log\.cleaner\.max\.compaction\.lag\.ms/,
    ],
  ]
  for (const [set, pattern] of cases) assert.match(problemsOf({ set }).join('\n'), pattern)
})

test('millrace.http.allowed.origins, takes origins and a star, and nothing else', () => {
  const option = BROKER_OPTIONS['millrace.http.allowed.origins']
  for (const text of ['', '*', 'https://console.example', 'http://a:1, chrome-extension://abc']) {
    assert.ok(option.parse(text).ok, text)
  }
  for (const text of ['console.example', 'https://a/', 'https://a/b', 'https://', 'a b']) {
    assert.ok(!option.parse(text).ok, text)
  }
})
