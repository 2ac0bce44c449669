/**
 * confluent-kafka 1.7.0 on librdkafka 2.0.2 (Debian's python3-confluent-kafka): a process of
 * `python/confluent_client.py`.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import {
  DEBIAN_PYTHON,
  INSTALL_HINT,
  type KafkaClient,
  NO_LIMITS,
  repositoryRoot,
} from './client.ts'
import { LineServer, served } from './line-server.ts'

const NAME = 'confluent-python'
const SCRIPT = join(repositoryRoot, 'test/e2e/clients/python/confluent_client.py')
const server = new LineServer(NAME, DEBIAN_PYTHON, [SCRIPT])

export const confluentPython: KafkaClient = {
  name: NAME,
  limits: NO_LIMITS,

  available() {
    const { status } = spawnSync(DEBIAN_PYTHON, ['-c', 'import confluent_kafka'])
    return status === 0 || `python3-confluent-kafka is not installed: ${INSTALL_HINT}`
  },

  ...served(server),
}
