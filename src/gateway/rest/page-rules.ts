import { foreignHost, isOwnName } from '../web/own-name.ts'
import { isOriginAllowed } from '../web/upgrade-rules.ts'
import type { WebRequest } from '../web/web-server.ts'
import { RestError } from './rest-error.ts'

/**
 * What keeps foreign web pages from a broker that their reader can reach: an Origin that is not
 * allowed is refused; and where only this machine is served, so is a name that is not this
 * machine's, because a page's own name can be made to point here (DNS rebinding). Programs are not
 * what this is about: they send no Origin, and call the machine by its address or as localhost.
 */
export interface PageRules {
  /** Besides this server's own and loopback; '*' for all. */
  readonly allowedOrigins: readonly string[]
  /** The door is bound to loopback. */
  readonly isLocal: boolean
}

export const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** Headers that let an allowed page read the answer; none for programs. Throws RestError. */
export function checkPage(request: WebRequest, rules: PageRules): Readonly<Record<string, string>> {
  const origin = request.header('origin')
  const host = request.header('host')
  const { allowedOrigins, isLocal } = rules
  if (isLocal && host !== undefined && !isOwnName(host, allowedOrigins)) {
    throw new RestError({ status: 403, error: 'HOST_NOT_ALLOWED' }, foreignHost(host))
  }
  if (origin === undefined) return NO_HEADERS
  if (!isOriginAllowed(origin, host, allowedOrigins)) {
    const message = `Pages of ${origin} may not ask; millrace.http.allowed.origins allows more`
    throw new RestError({ status: 403, error: 'ORIGIN_NOT_ALLOWED' }, message)
  }
  return { 'access-control-allow-origin': origin, vary: 'origin' }
}
