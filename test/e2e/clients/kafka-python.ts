/**
 * kafka-python 2.0.2 (Debian's python3-kafka), which hard-codes old protocol versions: a process of
 * `python/kafka_python_client.py`.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  COMPRESSIONS,
  DEBIAN_PYTHON,
  INSTALL_HINT,
  type KafkaClient,
  repositoryRoot,
} from './client.ts'
import { LineServer, served } from './line-server.ts'

const NAME = 'kafka-python'
const SCRIPT = join(repositoryRoot, 'test/e2e/clients/python/kafka_python_client.py')
const server = new LineServer(NAME, DEBIAN_PYTHON, [SCRIPT])

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
    const { status } = spawnSync(DEBIAN_PYTHON, ['-c', modules])
    return status === 0 || `python3-kafka or a codec is not installed: ${INSTALL_HINT}`
  },

  ...served(server),

  async listOffset(request) {
    return (await server.call('listOffset', request)) as number
  },

  async alterConfigs(bootstrap, topic, configs) {
    const codes = (await server.call('alterConfigs', { bootstrap, topic, configs })) as number[]
    assert.deepEqual(codes, [0])
  },

  async describeConfigs(bootstrap, topic) {
    const found = await server.call('describeConfigs', { bootstrap, topic })
    return found as Record<string, string | null>
  },
}
