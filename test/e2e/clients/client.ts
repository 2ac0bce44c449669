/**
 * One shape for the real clients that the end-to-end tests drive, so that each of them writes what
 * every other one reads. What a client cannot do stands in its `limits`; nothing here speaks Kafka.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type Compression = (typeof COMPRESSIONS)[number]

export interface Header {
  readonly key: string
  readonly value: Uint8Array | null
}

export interface RecordToSend {
  /** Without one the client's own partitioner chooses. */
  readonly partition?: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly Header[]
  /** Milliseconds since the Unix epoch; without one the client takes its clock. */
  readonly timestamp?: number
}

export interface ReceivedRecord {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly Header[]
}

export interface SentRecord {
  readonly partition: number
  readonly offset: number
}

export interface ProduceRequest {
  readonly bootstrap: string
  readonly topic: string
  readonly compression: Compression
  /** Sent in this order. */
  readonly records: readonly RecordToSend[]
  /** Settings in the client's own words, over its defaults. */
  readonly config?: Readonly<Record<string, unknown>>
}

export interface ConsumeRequest {
  readonly bootstrap: string
  readonly topic: string
  readonly partition: number
  /** Inclusive. */
  readonly fromOffset: number
  /** How many records to wait for. */
  readonly count: number
  /** Default: CONSUME_TIMEOUT_MS. */
  readonly timeoutMs?: number
  readonly config?: Readonly<Record<string, unknown>>
}

export interface CreateTopicRequest {
  readonly bootstrap: string
  readonly topic: string
  readonly partitions: number
  readonly configs?: Readonly<Record<string, string>>
}

export interface ClientLimits {
  /** Those that it writes. */
  readonly compressions: readonly Compression[]
  /** Those that it reads. Default: all. */
  readonly readsCompressions?: readonly Compression[]
  /** Sends the `timestamp` of a record; otherwise it is ignored. */
  readonly timestamps: boolean
  /** Null header values. */
  readonly nullHeaders: boolean
  /** Header values that are no text. */
  readonly binaryHeaders: boolean
  /** A record whose key and value are both null. */
  readonly nullRecords: boolean
  /** A null value behind an empty key, and an empty value behind a null key. */
  readonly mixedEmpties: boolean
  /** Writes and reads headers in their order; otherwise equal names come together, in theirs. */
  readonly headerOrder: boolean
  /** `produce` tells where each record went. */
  readonly acknowledges: boolean
}

/** Of a client that can do all of it. */
export const NO_LIMITS: ClientLimits = {
  compressions: COMPRESSIONS,
  timestamps: true,
  nullHeaders: true,
  binaryHeaders: true,
  nullRecords: true,
  mixedEmpties: true,
  headerOrder: true,
  acknowledges: true,
}

export interface KafkaClient {
  readonly name: string
  readonly limits: ClientLimits
  /** True, or what is missing and how to get it. */
  available(): true | string
  /** Resolves once every record is acknowledged (acks=all); [] when the client does not tell. */
  produce(request: ProduceRequest): Promise<readonly SentRecord[]>
  consume(request: ConsumeRequest): Promise<readonly ReceivedRecord[]>
  createTopic?(request: CreateTopicRequest): Promise<void>
  deleteTopic?(bootstrap: string, topic: string): Promise<void>
  /** Sorted names. */
  listTopics(bootstrap: string): Promise<readonly string[]>
  /** Ends processes that the client keeps. */
  close(): Promise<void>
}

export const CONSUME_TIMEOUT_MS = 20_000
/** Longer than any wait inside a client: it reports its own trouble first. */
export const PROGRAM_TIMEOUT_MS = 60_000
/** Debian's interpreter: others do not see Debian's packages, or are wrappers that take longer. */
export const DEBIAN_PYTHON = '/usr/bin/python3'
export const INSTALL_HINT = 'run scripts/install-test-clients.sh'

/**
 * For a test's `skip`: false when everything is there, else what is missing. Where CI runs nothing
 * is skipped: a missing client fails there.
 */
export function skipUnless(...available: readonly (true | string)[]): string | false {
  const missing = available.filter((each) => each !== true)
  if (missing.length === 0) return false
  if (process.env.CI === 'true') throw new Error(missing.join('; '))
  return missing.join('; ')
}

/** The repository, wherever the compiled tests lie: scripts and jars are found from there. */
export const repositoryRoot = findRoot([dirname(fileURLToPath(import.meta.url)), process.cwd()])

function findRoot(starts: readonly string[]): string {
  const marker = join('test', 'e2e', 'clients', 'java', 'pom.xml')
  for (const start of starts) {
    for (let folder = start; ; folder = dirname(folder)) {
      if (existsSync(join(folder, marker))) return folder
      if (folder === dirname(folder)) break
    }
  }
  return process.cwd()
}

export interface ProgramResult {
  readonly status: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/**
 * Runs a program to its end, with `input` as its standard input; rejects only when it cannot run.
 */
export function runProgram(
  program: string,
  options: readonly string[],
  input: Uint8Array | string = '',
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, options, { timeout: PROGRAM_TIMEOUT_MS, killSignal: 'SIGKILL' })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.stdin.on('error', () => {}) // A program that ended early says why on its own.
    child.on('error', reject)
    child.on('close', (status) => {
      resolve({ status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() })
    })
    child.stdin.end(input)
  })
}

// —— JSON with bytes as base64, as the scripts in other languages speak it ——

export function toBase64(bytes: Uint8Array | null): string | null {
  return bytes === null
    ? null
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

export function fromBase64(text: string | null): Uint8Array | null {
  return text === null ? null : Buffer.from(text, 'base64')
}

export function encodeRecord(record: RecordToSend): unknown {
  return {
    partition: record.partition,
    timestamp: record.timestamp,
    key: toBase64(record.key),
    value: toBase64(record.value),
    headers: record.headers.map(({ key, value }) => ({ key, value: toBase64(value) })),
  }
}

interface EncodedRecord {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly { readonly key: string; readonly value: string | null }[]
}

export function decodeRecords(encoded: unknown): ReceivedRecord[] {
  return (encoded as EncodedRecord[]).map((record) => ({
    partition: record.partition,
    offset: record.offset,
    timestamp: record.timestamp,
    key: fromBase64(record.key),
    value: fromBase64(record.value),
    headers: record.headers.map(({ key, value }) => ({ key, value: fromBase64(value) })),
  }))
}

/** The `ok` of an answer; throws what the client raised. */
export function answerOf(client: string, line: string): unknown {
  const answer = JSON.parse(line) as { ok?: unknown; error?: string; message?: string }
  if (answer.error !== undefined) throw new ClientError(client, answer.error, answer.message ?? '')
  return answer.ok
}

/** What a client raised; `kind` is the class of the exception, or the program's own complaint. */
export class ClientError extends Error {
  readonly kind: string

  constructor(client: string, kind: string, message: string) {
    super(`${client}: ${kind}: ${message}`)
    this.name = 'ClientError'
    this.kind = kind
  }
}
