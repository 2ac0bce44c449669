import type { RequestMetrics } from '../metrics/request-metrics.ts'
import type { WebRequest, WebResponse } from './web/web-server.ts'

/**
 * Times what is served over HTTP, by method and route. A route is the path with its names and
 * numbers taken out, so that there are as many as there are doors to knock at; what is answered
 * 404 or 405 has none, because anybody can make one up. Runs on main.
 */
type Serve = (request: WebRequest) => WebResponse | Promise<WebResponse>

/** `metrics` is null while the broker does not serve: nothing is counted then. */
export function timedRequests(metrics: () => RequestMetrics | null, serve: Serve): Serve {
  return async (request) => {
    const startedMs = performance.now()
    const response = await serve(request)
    const isKnown = response.status !== 404 && response.status !== 405
    const api = isKnown ? `${request.method} ${routeOf(request.path)}` : 'other'
    const row = metrics()?.row('rest', api)
    row?.latency.observe(performance.now() - startedMs)
    if (response.status >= 400) row?.failed(String(response.status))
    return response
  }
}

/** `/topics/orders/partitions/3/events` → `/topics/{topic}/partitions/{partition}/events`. */
export function routeOf(path: string): string {
  const parts = path.split('/')
  if (parts[1] === 'topics' && parts.length > 2) parts[2] = '{topic}'
  if (parts[3] === 'partitions' && parts.length > 4) parts[4] = '{partition}'
  return parts.join('/')
}
