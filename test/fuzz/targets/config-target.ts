/** A file of options that somebody wrote by hand. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { ConfigError, loadConfig } from '../../../src/config/load.ts'
import { BROKER_OPTIONS } from '../../../src/config/options.ts'
import type { FuzzTarget } from '../target.ts'

const directory = mkdtempSync(joinPath(tmpdir(), 'millrace-fuzz-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

const EXAMPLES = [
  'num.partitions=3\nlog.retention.ms = 1000\n# comment\nlisteners=PLAINTEXT://127.0.0.1:1\n',
  'log.dirs=/a,\\\n  /b\nadvertised.listeners:PLAINTEXT://host:1\nmessage.max.bytes 100',
  'constructor=1\ntoString=\n__proto__=2',
  '{"log": {"dirs": ["a", "b"]}, "num.partitions": 2}',
  'log:\n  dirs: [a, b]\n  retention.ms: 5\nmillrace: &x {shards: 2}\nother: *x\n',
]

/** The first byte chooses properties or YAML: a configuration, or a ConfigError that says why. */
export const configFile: FuzzTarget = {
  name: 'config-file',
  bytesMax: 600,
  seeds: () =>
    EXAMPLES.map((text, i) => Buffer.concat([Buffer.of(i < 3 ? 0 : 1), Buffer.from(text)])),
  dictionary: [
    ...Object.keys(BROKER_OPTIONS).map((name) => Buffer.from(`${name}=`)),
    ...['-1', '1e9', '9223372036854775808', 'NaN', '0x10', 'true', '\\u0000', '\\', '=', ':'].map(
      (text) => Buffer.from(text),
    ),
    ...['&a', '*a', '!!binary ', '!!set ', '<<: ', '? ', '- ', '|\n', '"', '[::1]:1', '://'].map(
      (text) => Buffer.from(text),
    ),
    ...['constructor', '__proto__', 'hasOwnProperty', 'valueOf'].map((text) => Buffer.from(text)),
  ],
  run(input) {
    const isYaml = ((input[0] ?? 0) & 1) !== 0
    const path = joinPath(directory, isYaml ? 'options.yaml' : 'options.properties')
    writeFileSync(path, input.subarray(1))
    try {
      loadConfig({ configFile: path, currentDirectory: '/' })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
    }
  },
}
