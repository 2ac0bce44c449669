/**
 * confluent-kafka 1.7.0 on librdkafka 2.0.2 (Debian's python3-confluent-kafka): a process of
 * `python/confluent_client.py`.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  DEBIAN_PYTHON,
  decodeRecords,
  encodeRecord,
  INSTALL_HINT,
  type KafkaClient,
  repositoryRoot,
  type SentRecord,
} from './client.ts'
import { LineServer } from './line-server.ts'

const NAME = 'confluent-python'
const SCRIPT = join(repositoryRoot, 'test/e2e/clients/python/confluent_client.py')
const server = new LineServer(NAME, DEBIAN_PYTHON, [SCRIPT])

export const confluentPython: KafkaClient = {
  name: NAME,
  limits: {
    compressions: COMPRESSIONS,
    timestamps: true,
    nullHeaders: true,
    binaryHeaders: true,
    nullRecords: true,
    mixedEmpties: true,
    headerOrder: true,
    acknowledges: true,
  },

  available() {
    const { status } = spawnSync(DEBIAN_PYTHON, ['-c', 'import confluent_kafka'])
    return status === 0 || `python3-confluent-kafka is not installed: ${INSTALL_HINT}`
  },

  async produce({ records, ...request }) {
    const encoded = { ...request, records: records.map(encodeRecord) }
    return (await server.call('produce', encoded)) as SentRecord[]
  },

  async consume(request) {
    const timeoutMs = request.timeoutMs ?? CONSUME_TIMEOUT_MS
    return decodeRecords(await server.call('consume', { ...request, timeoutMs }))
  },

  async createTopic(request) {
    await server.call('createTopic', request)
  },

  async deleteTopic(bootstrap, topic) {
    await server.call('deleteTopic', { bootstrap, topic })
  },

  async listTopics(bootstrap) {
    return (await server.call('listTopics', { bootstrap })) as string[]
  },

  close: () => server.close(),
}
