/**
 * The Python client of `millrace.v1` that was written from the protocol's page with the standard
 * library alone: a process of `websocket_client.py` for each request, and for each partition that
 * is written. It finds the broker by its HTTP address: `bootstrap` does not concern it, and its
 * time limits are its own.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  ClientError,
  DEBIAN_PYTHON,
  fromBase64,
  INSTALL_HINT,
  type KafkaClient,
  NO_LIMITS,
  type RecordToSend,
  repositoryRoot,
  runProgram,
  type SentRecord,
  toBase64,
} from './client.ts'

const NAME = 'millrace-python'
const SCRIPT = join(repositoryRoot, 'test/conformance/websocket_client.py')

interface ScriptRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

export function pythonAvailable(): true | string {
  const found = spawnSync(DEBIAN_PYTHON, ['--version']).status === 0
  return found || `${DEBIAN_PYTHON} is not installed: ${INSTALL_HINT}`
}

/** `httpUrl`: where the broker serves HTTP. */
export function millracePython(httpUrl: string): KafkaClient {
  const { hostname, port } = new URL(httpUrl)

  async function lines(args: readonly string[], input = ''): Promise<string[]> {
    const options = [SCRIPT, hostname, port, ...args]
    const { status, stdout, stderr } = await runProgram(DEBIAN_PYTHON, options, input)
    if (status === 0) return stdout.toString().split('\n').filter(Boolean)
    throw new ClientError(NAME, status === null ? 'Timeout' : `exit ${status}`, stderr.trim())
  }

  async function write(
    topic: string,
    partition: number,
    records: readonly RecordToSend[],
  ): Promise<number> {
    const input = records.map((record) => JSON.stringify(scriptRecord(record))).join('\n')
    const [line = '{}'] = await lines(['produce', topic, `${partition}`], input)
    const answer = JSON.parse(line) as { errorCode: number; baseOffset: number; message: string }
    if (answer.errorCode === 0) return answer.baseOffset
    throw new ClientError(NAME, `error ${answer.errorCode}`, answer.message)
  }

  return {
    name: NAME,
    limits: { ...NO_LIMITS, compressions: ['none'], readsCompressions: ['none', 'gzip'] },

    available: pythonAvailable,

    async produce({ topic, records }): Promise<readonly SentRecord[]> {
      const next = new Map<number, number>()
      for (const partition of new Set(records.map(partitionOf))) {
        const own = records.filter((record) => partitionOf(record) === partition)
        next.set(partition, await write(topic, partition, own))
      }
      return records.map((record) => {
        const partition = partitionOf(record)
        const offset = next.get(partition) ?? -1
        next.set(partition, offset + 1)
        return { partition, offset }
      })
    },

    async consume({ topic, partition, fromOffset, count }) {
      const records = await lines(['consume', topic, `${partition}`, `${fromOffset}`, `${count}`])
      return records.map((line) => {
        const record = JSON.parse(line) as ScriptRecord
        return {
          ...record,
          partition,
          key: fromBase64(record.key),
          value: fromBase64(record.value),
          headers: record.headers.map(([key, value]) => ({ key, value: fromBase64(value) })),
        }
      })
    },

    listTopics: () => lines(['topics']),

    async close() {},
  }
}

/** It has no partitioner. */
function partitionOf(record: RecordToSend): number {
  return record.partition ?? 0
}

function scriptRecord(record: RecordToSend): Omit<ScriptRecord, 'offset'> {
  return {
    timestamp: record.timestamp ?? Date.now(),
    key: toBase64(record.key),
    value: toBase64(record.value),
    headers: record.headers.map(({ key, value }) => [key, toBase64(value)]),
  }
}
