/**
 * Who may open a WebSocket: the one decision for both engines, without any I/O. A browser opens a
 * WebSocket to any host for any page, with the reader's network position: the Origin rule is what
 * keeps a foreign page from talking to a broker on the reader's own machine.
 */
import { isLoopback } from '../../config/listeners.ts'
import { foreignHost, isOwnName } from './own-name.ts'
import { errorResponse, type TextResponse } from './responses.ts'

export interface UpgradeOffer {
  readonly method: string
  /** `name` in lower case. */
  header(name: string): string | undefined
}

export interface UpgradeRules {
  readonly path: string
  readonly protocol: string
  readonly allowedOrigins: readonly string[]
  /** The server is bound to loopback: it answers to its own machine's names only. */
  readonly isLocal: boolean
}

/** Null when the offer is to be accepted, else what to answer. */
export function refuseUpgrade(offer: UpgradeOffer, rules: UpgradeRules): TextResponse | null {
  const { path, protocol } = rules
  if (offer.method !== 'GET') {
    const message = `${path} is opened with GET and "Upgrade: websocket"`
    return errorResponse(405, 'METHOD_NOT_ALLOWED', message, { allow: 'GET' })
  }
  if (!hasToken(offer, 'connection', 'upgrade') || !hasToken(offer, 'upgrade', 'websocket')) {
    const message = `${path} speaks WebSocket: connect with a WebSocket client to ws://HOST${path}`
    return errorResponse(426, 'UPGRADE_REQUIRED', message, { upgrade: 'websocket' })
  }
  if (offer.header('sec-websocket-version') !== '13') {
    const headers = { upgrade: 'websocket', 'sec-websocket-version': '13' }
    const message = 'Sec-WebSocket-Version must be 13'
    return errorResponse(426, 'UNSUPPORTED_VERSION', message, headers)
  }
  if (!/^[+/0-9A-Za-z]{22}==$/.test(offer.header('sec-websocket-key') ?? '')) {
    const message = 'Sec-WebSocket-Key must be 16 bytes in base64'
    return errorResponse(400, 'INVALID_REQUEST', message)
  }
  if (!hasToken(offer, 'sec-websocket-protocol', protocol)) {
    const message = `Offer the subprotocol: new WebSocket('ws://HOST${path}', '${protocol}')`
    return errorResponse(400, 'UNSUPPORTED_PROTOCOL', message)
  }
  const host = offer.header('host')
  if (rules.isLocal && host !== undefined && !isOwnName(host, rules.allowedOrigins)) {
    return errorResponse(403, 'HOST_NOT_ALLOWED', foreignHost(host))
  }
  const origin = offer.header('origin')
  if (!isOriginAllowed(origin, host, rules.allowedOrigins)) {
    const message = `Pages of ${origin} may not connect; millrace.http.allowed.origins allows more`
    return errorResponse(403, 'ORIGIN_NOT_ALLOWED', message)
  }
  return null
}

function hasToken(offer: UpgradeOffer, header: string, token: string): boolean {
  const value = offer.header(header)
  if (value === undefined) return false
  return value.split(',').some((item) => item.trim().toLowerCase() === token)
}

/** Programs send no Origin and are not what the rule is about. */
export function isOriginAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  if (origin === undefined || allowed.includes('*')) return true
  const page = parseUrl(origin)
  if (page === null || (page.protocol !== 'http:' && page.protocol !== 'https:')) {
    return allowed.includes(origin)
  }
  if (allowed.some((item) => parseUrl(item)?.origin === page.origin)) return true
  if (isLoopback(page.hostname.replace(/^\[|\]$/g, ''))) return true
  // Through a URL of the same scheme, so that a default port counts whether it is said or not.
  return host !== undefined && parseUrl(`${page.protocol}//${host}`)?.host === page.host
}

function parseUrl(text: string): URL | null {
  try {
    return new URL(text)
  } catch {
    return null // "null", or what no browser sends.
  }
}
