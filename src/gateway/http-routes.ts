import type { Broker } from '../broker/broker.ts'
import { writeBrokerMetrics } from '../broker/broker-metrics.ts'
import { dashboard } from '../metrics/dashboard.ts'
import type { Exposition } from '../metrics/exposition.ts'
import type { MetricsRegistry } from '../metrics/registry.ts'
import { errorResponse, jsonResponse } from './web/responses.ts'
import type { WebRequest, WebResponse } from './web/web-server.ts'

/** What is answered over HTTP: /health/live, /health/ready, /metrics. Runs on main. */
export interface HttpRouteParts {
  readonly metrics: MetricsRegistry
  /** Null until the broker serves, and again once it stops. */
  readonly broker: () => Broker | null
  /** Writes what `/metrics` says of the doors. */
  readonly writeDoors?: (exposition: Exposition) => void
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
  const served = `Served here: ${[...routes.keys()].join(', ')}`
  return (request) => {
    const route = routes.get(request.path)
    if (route === undefined) return errorResponse(404, 'NOT_FOUND', served)
    if (request.method === 'GET' || request.method === 'HEAD') return route()
    const message = 'Only GET and HEAD are served'
    return errorResponse(405, 'METHOD_NOT_ALLOWED', message, { allow: 'GET, HEAD' })
  }
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
