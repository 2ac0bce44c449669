import type { Broker } from '../broker/broker.ts'
import { writeBrokerMetrics } from '../broker/broker-metrics.ts'
import { dashboard } from '../metrics/dashboard.ts'
import type { Exposition } from '../metrics/exposition.ts'
import type { MetricsRegistry } from '../metrics/registry.ts'
import type { PageRules } from './rest/page-rules.ts'
import type { RestDoor } from './rest/rest-door.ts'
import { foreignHost, isOwnName } from './web/own-name.ts'
import { errorResponse, jsonResponse } from './web/responses.ts'
import type { WebRequest, WebResponse } from './web/web-server.ts'

/**
 * What is answered over HTTP: /health/live, /health/ready, /metrics; everything else is the REST
 * door's, which is loaded when somebody first asks for it. A controller that is no broker has none.
 * Runs on main.
 */
export interface HttpRouteParts {
  readonly metrics: MetricsRegistry
  /** Null until the broker serves, and again once it stops. */
  readonly broker: () => Broker | null
  /** False: there is no REST door. */
  readonly isForClients: boolean
  /** Writes what `/metrics` says of the doors. */
  readonly writeDoors?: (exposition: Exposition) => void
  /** Which web pages may use the REST door. */
  readonly rules: PageRules
}

type Route = () => WebResponse | Promise<WebResponse>

/** The handler of every HTTP request that opens no WebSocket. */
export function httpRoutes(
  parts: HttpRouteParts,
): (request: WebRequest) => WebResponse | Promise<WebResponse> {
  const routes = new Map<string, Route>([
    ['/health/live', () => jsonResponse(200, { status: 'live' })],
    ['/health/ready', () => ready(parts.broker())],
    ['/metrics', () => metrics(parts)],
    ['/metrics/dashboard.json', () => jsonResponse(200, dashboard())],
  ])
  const { isForClients } = parts
  const ofRest = isForClients ? ['/topics', '/consumer-groups', '/openapi.json'] : []
  const who = isForClients ? '' : 'This node is a controller and no broker: ask a broker. '
  const served = `${who}Served here: ${[...routes.keys(), ...ofRest].join(', ')}`
  let rest: { readonly broker: Broker; readonly door: Promise<RestDoor> } | null = null
  const restDoor = (broker: Broker): Promise<RestDoor> => {
    if (rest?.broker === broker) return rest.door
    const { rules } = parts
    const door = import('./rest/rest-door.ts').then(({ RestDoor }) => new RestDoor(broker, rules))
    rest = { broker, door }
    return door
  }
  return (request) => {
    const route = routes.get(request.path)
    if (route === undefined) {
      if (!isForClients || !isOfRest(request.path)) return errorResponse(404, 'NOT_FOUND', served)
      const broker = parts.broker()
      if (broker === null) return notServing()
      return restDoor(broker).then((door) => door.handle(request))
    }
    const { rules } = parts
    const host = request.header('host')
    // Also what is only looked at: a page whose name points here reads topics and folders off it.
    if (rules.isLocal && host !== undefined && !isOwnName(host, rules.allowedOrigins)) {
      return errorResponse(403, 'HOST_NOT_ALLOWED', foreignHost(host))
    }
    if (request.method === 'GET' || request.method === 'HEAD') return route()
    const message = 'Only GET and HEAD are served'
    return errorResponse(405, 'METHOD_NOT_ALLOWED', message, { allow: 'GET, HEAD' })
  }
}

function isOfRest(path: string): boolean {
  return path === '/' || path === '/openapi.json' || /^\/(topics|consumer-groups)(\/|$)/.test(path)
}

function notServing(): WebResponse {
  const message = 'The broker starts or stops; try again in a second'
  return errorResponse(503, 'BROKER_NOT_AVAILABLE', message, { 'retry-after': '1' })
}

function ready(broker: Broker | null): WebResponse {
  if (broker === null) return jsonResponse(503, { status: 'starting' })
  const directories = broker.directoryStates.all.filter(({ condition }) => condition !== 'online')
  if (directories.length === 0) return jsonResponse(200, { status: 'ready' })
  // What the other directories hold is served: taking the broker away would take that away too.
  return jsonResponse(broker.directoryStates.isAnyUsable ? 200 : 503, {
    status: 'degraded',
    directories,
  })
}

async function metrics({ broker, metrics, writeDoors }: HttpRouteParts): Promise<WebResponse> {
  const serving = broker()
  const body = await metrics.text(
    serving === null
      ? null
      : async (exposition) => {
          writeDoors?.(exposition)
          await writeBrokerMetrics(serving, exposition)
        },
  )
  return { status: 200, headers: { 'content-type': metrics.contentType }, body }
}
