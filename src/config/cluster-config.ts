/**
 * What a node of a cluster is told at its start: what it is there, who the controllers are, where
 * the others reach it, and what it needs to be let in. Null for a broker that is alone.
 */
import { type Endpoint, formatEndpoint, isLoopback, parseEndpoint } from './listeners.ts'

export interface Controller extends Endpoint {
  readonly id: number
}

export interface ClusterConfig {
  readonly controllers: readonly Controller[]
  readonly isController: boolean
  /** It has partitions and serves clients; else it is a controller and nothing else. */
  readonly isBroker: boolean
  /** Where the other brokers connect. */
  readonly listener: Endpoint
  readonly secret: string
  /** Null: it follows from the secret and the controllers. */
  readonly clusterId: string | null
}

const CONTROLLERS_MAX = 15
/** Anything shorter is guessed. */
const SECRET_CHARACTERS_MIN = 8

/** Reads ID@HOST:PORT,…; null when it is anything else, or names an id or an address twice. */
export function parseControllers(text: string): readonly Controller[] | null {
  const controllers: Controller[] = []
  for (const item of text.split(',')) {
    const match = /^\s*(\d{1,9})@(.+)$/.exec(item)
    const endpoint = match === null ? null : parseEndpoint(match[2] as string)
    if (match === null || endpoint === null || endpoint.port === 0) return null
    controllers.push({ id: Number(match[1]), ...endpoint })
  }
  const ids = new Set(controllers.map(({ id }) => id))
  const places = new Set(controllers.map(formatEndpoint))
  const areDifferent = ids.size === controllers.length && places.size === controllers.length
  return areDifferent && controllers.length <= CONTROLLERS_MAX ? controllers : null
}

export function checkRoles(text: string): string | null {
  const roles = rolesOf(text)
  const areKnown = roles.every((role) => role === 'broker' || role === 'controller')
  const areOnce = new Set(roles).size === roles.length
  return areKnown && areOnce ? null : 'broker, controller, or both'
}

function rolesOf(text: string): string[] {
  return text.split(',').map((role) => role.trim())
}

/** Texts of options, '' where one has none. */
export interface ClusterTexts {
  readonly nodeId: string
  readonly controllers: string
  readonly roles: string
  readonly listener: string
  readonly clusterId: string
  readonly secret: string
  readonly insecure: boolean
}

/** What is wrong goes to `problems`, one line each. */
export function parseCluster(texts: ClusterTexts, problems: string[]): ClusterConfig | null {
  const roles = rolesOf(texts.roles)
  if (texts.controllers === '') {
    if (!roles.includes('broker')) {
      problems.push('process.roles: a controller needs a cluster: name it in --controllers')
    }
    for (const [name, text] of [
      ['millrace.cluster.listener', texts.listener],
      ['millrace.cluster.id', texts.clusterId],
    ] as const) {
      if (text !== '') problems.push(`${name}: there is no cluster without --controllers`)
    }
    return null
  }
  const controllers = parseControllers(texts.controllers)
  if (controllers === null) return null // Said already.
  const nodeId = Number(texts.nodeId)
  const own = controllers.find(({ id }) => id === nodeId)
  const isBroker = roles.includes('broker')
  const isController = own !== undefined && roles.includes('controller')
  if (own !== undefined && !isController) {
    problems.push(
      `process.roles: node ${nodeId} is one of the controllers in controller.quorum.voters: take ` +
        'it out of them, on all nodes, or give it the role controller as well',
    )
  }
  if (own === undefined && !isBroker) {
    problems.push(
      `process.roles: node ${nodeId} is to be a controller, but is not among the controllers in ` +
        'controller.quorum.voters: name it there, on all nodes, or correct node.id',
    )
  }
  const listener = texts.listener === '' ? (own ?? null) : parseEndpoint(texts.listener)
  if (listener === null) {
    problems.push(
      `millrace.cluster.listener: node ${nodeId} is not one of the controllers, so it has to say ` +
        'where the other brokers connect',
    )
    return null
  }
  if (texts.secret.length < SECRET_CHARACTERS_MIN) {
    problems.push(
      'millrace.cluster.secret: all brokers of a cluster need the same one, of at least ' +
        `${SECRET_CHARACTERS_MIN} characters (MILLRACE_CLUSTER_SECRET in the environment)`,
    )
  }
  if (!texts.insecure && !isLoopback(listener.host)) {
    problems.push(
      `cluster listener on ${formatEndpoint(listener)} is open beyond this machine, and what ` +
        'brokers say there is not encrypted: bind 127.0.0.1, or say --insecure if that is meant',
    )
  }
  return {
    controllers,
    isController,
    isBroker,
    listener: { host: listener.host, port: listener.port },
    secret: texts.secret,
    clusterId: texts.clusterId === '' ? null : texts.clusterId,
  }
}
