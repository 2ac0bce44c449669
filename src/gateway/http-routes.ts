import type { Broker } from '../broker/broker.ts'
import { brokerSamples } from '../broker/broker-metrics.ts'
import type { MetricsRegistry } from '../metrics/registry.ts'
import type { PageRules } from './rest/page-rules.ts'
import type { RestDoor } from './rest/rest-door.ts'
import { errorResponse, jsonResponse } from './web/responses.ts'
import type { WebRequest, WebResponse } from './web/web-server.ts'

/**
 * What is answered over HTTP: /health/live, /health/ready, /metrics; everything else is the REST
 * door's, which is loaded when somebody first asks for it. Runs on main.
 */
export interface HttpRouteParts {
  readonly metrics: MetricsRegistry
  /** Null until the broker serves, and again once it stops. */
  readonly broker: () => Broker | null
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
  ])
  const served = `Served here: ${[...routes.keys(), '/topics', '/openapi.json'].join(', ')}`
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
      if (!isOfRest(request.path)) return errorResponse(404, 'NOT_FOUND', served)
      const broker = parts.broker()
      if (broker === null) return notServing()
      return restDoor(broker).then((door) => door.handle(request))
    }
    if (request.method === 'GET' || request.method === 'HEAD') return route()
    const message = 'Only GET and HEAD are served'
    return errorResponse(405, 'METHOD_NOT_ALLOWED', message, { allow: 'GET, HEAD' })
  }
}

function isOfRest(path: string): boolean {
  return path === '/' || path === '/openapi.json' || /^\/topics(\/|$)/.test(path)
}

function notServing(): WebResponse {
  const message = 'The broker starts or stops; try again in a second'
  return errorResponse(503, 'BROKER_NOT_AVAILABLE', message, { 'retry-after': '1' })
}

function ready(broker: Broker | null): WebResponse {
  if (broker === null) return jsonResponse(503, { status: 'starting' })
  return jsonResponse(200, { status: 'ready' })
}

async function metrics({ broker, metrics }: HttpRouteParts): Promise<WebResponse> {
  const serving = broker()
  const text = await metrics.text(serving === null ? null : () => brokerSamples(serving))
  return { status: 200, headers: { 'content-type': metrics.contentType }, body: text }
}
