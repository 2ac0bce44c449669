/**
 * kafka-python 2.0.2 (Debian's python3-kafka), which hard-codes old protocol versions: a process of
 * `kafka_python_client.py` for each request.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  answerOf,
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  decodeRecords,
  encodeRecord,
  INSTALL_HINT,
  type KafkaClient,
  repositoryRoot,
  runProgram,
  type SentRecord,
} from './client.ts'

const NAME = 'kafka-python'
/** Debian's interpreter: others do not see Debian's packages. */
const PYTHON = '/usr/bin/python3'
const SCRIPT = join(repositoryRoot, 'test/e2e/clients/kafka_python_client.py')

export interface KafkaPythonClient extends KafkaClient {
  /** At 'earliest', 'latest', or the first record at or after a time (−1: none). */
  listOffset(request: {
    readonly bootstrap: string
    readonly topic: string
    readonly partition: number
    readonly at: 'earliest' | 'latest' | number
  }): Promise<number>
  /** AlterConfigs: what the topic sets becomes exactly `configs`. */
  alterConfigs(
    bootstrap: string,
    topic: string,
    configs: Readonly<Record<string, string>>,
  ): Promise<void>
  /** By name. */
  describeConfigs(
    bootstrap: string,
    topic: string,
  ): Promise<Readonly<Record<string, string | null>>>
}

export const kafkaPython: KafkaPythonClient = {
  name: NAME,
  limits: {
    compressions: COMPRESSIONS,
    timestamps: true,
    nullHeaders: false,
    binaryHeaders: true,
    nullRecords: false,
    mixedEmpties: true,
    headerOrder: true,
    acknowledges: true,
  },

  available() {
    const modules = 'import kafka, snappy, lz4.frame, zstandard'
    const { status } = spawnSync(PYTHON, ['-c', modules])
    return status === 0 || `python3-kafka or a codec is not installed: ${INSTALL_HINT}`
  },

  async produce({ records, ...request }) {
    const encoded = { ...request, records: records.map(encodeRecord) }
    return (await call('produce', encoded)) as SentRecord[]
  },

  async consume(request) {
    const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
    return decodeRecords(await call('consume', { ...request, timeoutMs }))
  },

  async createTopic(request) {
    await call('createTopic', request)
  },

  async deleteTopic(bootstrap, topic) {
    await call('deleteTopic', { bootstrap, topic })
  },

  async listTopics(bootstrap) {
    return (await call('listTopics', { bootstrap })) as string[]
  },

  async listOffset(request) {
    return (await call('listOffset', request)) as number
  },

  async alterConfigs(bootstrap, topic, configs) {
    const codes = (await call('alterConfigs', { bootstrap, topic, configs })) as number[]
    assert.deepEqual(codes, [0])
  },

  async describeConfigs(bootstrap, topic) {
    const found = await call('describeConfigs', { bootstrap, topic })
    return found as Record<string, string | null>
  },

  async close() {},
}

async function call(operation: string, request: object): Promise<unknown> {
  const input = JSON.stringify({ ...request, operation })
  const { status, stdout, stderr } = await runProgram(PYTHON, [SCRIPT], input)
  if (status !== 0) throw new Error(`${SCRIPT} exited with ${status}: ${stderr}`)
  return answerOf(NAME, stdout.toString())
}
