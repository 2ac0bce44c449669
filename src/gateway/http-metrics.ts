import type { RequestMetrics } from '../metrics/request-metrics.ts'
import type { WebRequest, WebResponse } from './web/web-server.ts'

/**
 * Times what is served over HTTP, by method and route. A route is the path with its names and
 * numbers taken out, and it has a row of its own once it has answered without an error: anybody can
 * make up paths that have not. Runs on main.
 */
type Serve = (request: WebRequest) => WebResponse | Promise<WebResponse>

/** `metrics` is null while the broker does not serve: nothing is counted then. */
export function timedRequests(metrics: () => RequestMetrics | null, serve: Serve): Serve {
  const routes = new Set<string>()
  const ended = (request: WebRequest, startedMs: number, error: string | null): void => {
    const route = `${request.method} ${routeOf(request.path)}`
    if (error === null) routes.add(route)
    const row = metrics()?.row('rest', routes.has(route) ? route : 'other')
    row?.latency.observe(performance.now() - startedMs)
    if (error !== null) row?.failed(error)
  }
  return (request) => {
    const startedMs = performance.now()
    const answered = (response: WebResponse): WebResponse => {
      ended(request, startedMs, response.status < 400 ? null : String(response.status))
      return response
    }
    // The server answers: what its own errors mean is its matter.
    const failed = (error: unknown): never => {
      ended(request, startedMs, error instanceof Error ? error.name : 'error')
      throw error
    }
    try {
      // What is answered at once stays so: see `handle`.
      const result = serve(request)
      return result instanceof Promise ? result.then(answered, failed) : answered(result)
    } catch (error) {
      return failed(error)
    }
  }
}

/** Where in a path names and numbers stand, and behind what. */
const NAMES: readonly (readonly [at: number, before: string, name: string])[] = [
  [2, 'topics', '{topic}'],
  [4, 'partitions', '{partition}'],
  [2, 'consumer-groups', '{group}'],
  [4, 'members', '{member}'],
]

/** `/topics/orders/partitions/3/events` → `/topics/{topic}/partitions/{partition}/events`. */
export function routeOf(path: string): string {
  const parts = path.split('/')
  for (const [at, before, name] of NAMES) {
    if (parts[at - 1] === before && parts.length > at) parts[at] = name
  }
  return parts.join('/')
}
