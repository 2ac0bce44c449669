/**
 * kcat (librdkafka). Producing: a process for each run of records that share what only the command
 * line can say (partition, headers, whether an empty field means null). Consuming: its JSON output
 * keeps bytes as they are, so it is read as Latin-1, one character a byte.
 *
 * Limits: no timestamps; headers are arguments, so text without NUL or '=' in the name.
 */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  ClientError,
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  type ConsumeRequest,
  type Header,
  INSTALL_HINT,
  type KafkaClient,
  type ProduceRequest,
  type ReceivedRecord,
  type RecordToSend,
  runProgram,
  type SentRecord,
} from './client.ts'

export const kcat: KafkaClient = {
  name: 'kcat',
  limits: {
    compressions: COMPRESSIONS,
    timestamps: false,
    nullHeaders: true,
    binaryHeaders: false,
    nullRecords: true,
    mixedEmpties: false,
    headerOrder: true,
    acknowledges: false,
  },

  available() {
    const found = spawnSync('kcat', ['-V']).error === undefined
    return found || `kcat is not installed: ${INSTALL_HINT}`
  },

  async produce(request): Promise<readonly SentRecord[]> {
    for (const run of runsOf(request.records)) await produceRun(request, run)
    return []
  },

  async consume(request) {
    const output = await kcatOutput(consumeOptions(request), '')
    const lines = output.toString('latin1').split('\n').filter(Boolean)
    if (lines.length < request.count) {
      throw new ClientError('kcat', 'Timeout', `got ${lines.length} of ${request.count} records`)
    }
    return lines.slice(0, request.count).map(parseRecord)
  },

  async listTopics(bootstrap) {
    const output = await kcatOutput(['-b', bootstrap, '-L', '-J'], '')
    const metadata = JSON.parse(output.toString()) as { topics: { topic: string }[] }
    return metadata.topics.map(({ topic }) => topic).sort()
  },

  async close() {},
}

/** Records one kcat process can send: `records` differ in key and value only. */
interface Run {
  readonly partition: number | undefined
  readonly headers: readonly Header[]
  /** Whether an empty field is sent as null (`-Z`). */
  readonly emptyIsNull: boolean
  readonly records: RecordToSend[]
}

function runsOf(records: readonly RecordToSend[]): Run[] {
  const runs: Run[] = []
  let signature = ''
  for (const record of records) {
    const headers = record.headers.map(({ key, value }) => [key, value && [...value]])
    const emptyIsNull = record.value === null
    const own = JSON.stringify([record.partition, headers, emptyIsNull])
    if (runs.length === 0 || own !== signature) {
      const { partition } = record
      runs.push({ partition, headers: record.headers, emptyIsNull, records: [] })
      signature = own
    }
    runs.at(-1)?.records.push(record)
  }
  return runs
}

async function produceRun(request: ProduceRequest, run: Run): Promise<void> {
  // No record holds these by chance: each is 16 random bytes in hexadecimal.
  const keyEnd = `<key ${randomBytes(16).toString('hex')}>`
  const recordEnd = `<end ${randomBytes(16).toString('hex')}>`
  const options = ['-P', '-b', request.bootstrap, '-t', request.topic, '-X', 'acks=all']
  options.push('-K', keyEnd, '-D', recordEnd, '-z', request.compression)
  if (run.partition !== undefined) options.push('-p', `${run.partition}`)
  if (run.emptyIsNull) options.push('-Z')
  for (const { key, value } of run.headers) {
    options.push('-H', value === null ? key : `${key}=${Buffer.from(value).toString()}`)
  }
  for (const [name, value] of Object.entries(request.config ?? {})) {
    options.push('-X', `${name}=${value}`)
  }
  const pieces: Uint8Array[] = []
  for (const { key, value } of run.records) {
    // Without the end of a key there is no key; with -Z an empty one becomes null.
    if (key !== null || run.emptyIsNull) pieces.push(key ?? Buffer.of(), Buffer.from(keyEnd))
    pieces.push(value ?? Buffer.of(), Buffer.from(recordEnd))
  }
  await kcatOutput(options, Buffer.concat(pieces))
}

function consumeOptions(request: ConsumeRequest): string[] {
  const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
  const { bootstrap, topic, partition, fromOffset, count } = request
  const options = ['-C', '-J', '-q', '-b', bootstrap, '-t', topic, '-p', `${partition}`]
  options.push('-o', `${fromOffset}`, '-c', `${count}`, '-m', `${Math.ceil(timeoutMs / 1000)}`)
  for (const [name, value] of Object.entries(request.config ?? {})) {
    options.push('-X', `${name}=${value}`)
  }
  return options
}

interface KcatRecord {
  readonly partition: number
  readonly offset: number
  readonly ts: number
  readonly key: string | null
  readonly payload: string | null
  /** Names and values in turn. */
  readonly headers?: readonly (string | null)[]
}

function parseRecord(line: string): ReceivedRecord {
  const record = JSON.parse(line) as KcatRecord
  const bytes = (text: string | null): Uint8Array | null =>
    text === null ? null : Buffer.from(text, 'latin1')
  const headers: Header[] = []
  const flat = record.headers ?? []
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const key = Buffer.from(flat[i] ?? '', 'latin1').toString()
    headers.push({ key, value: bytes(flat[i + 1] ?? null) })
  }
  return {
    partition: record.partition,
    offset: record.offset,
    timestamp: record.ts,
    key: bytes(record.key),
    value: bytes(record.payload),
    headers,
  }
}

async function kcatOutput(options: readonly string[], input: Uint8Array | string): Promise<Buffer> {
  const { status, stdout, stderr } = await runProgram('kcat', options, input)
  // It exits 0 after failed deliveries, too, and says so on standard error.
  if (status !== 0 || /failed|ERROR/.test(stderr)) {
    throw new ClientError('kcat', `exit ${status}`, stderr.trim())
  }
  return stdout
}
