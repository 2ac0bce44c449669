/**
 * Where the broker listens and what it tells clients to connect to.
 *
 * A listener is NAME://HOST:PORT. The name picks the security protocol through
 * `listener.security.protocol.map`, and joins a listener with what is advertised for it. An empty
 * host binds every interface. IPv6 addresses stand in brackets.
 */
import { lookup } from 'node:dns/promises'
import { hostname } from 'node:os'

export interface Endpoint {
  /** Without brackets; '' binds every interface. */
  readonly host: string
  /** 0: any free port; what is advertised then is the port that was taken. */
  readonly port: number
}

export type SecurityProtocol = 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'

export interface Listener extends Endpoint {
  /** In upper case, unique among the listeners. */
  readonly name: string
  readonly protocol: SecurityProtocol
}

export interface AdvertisedListener extends Endpoint {
  readonly name: string
}

const PROTOCOLS: readonly string[] = ['PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL']
const LISTENERS_MAX = 16

/** Reads HOST:PORT, :PORT or PORT (on loopback); null when it is none of them. */
export function parseEndpoint(text: string): Endpoint | null {
  const match = /^(?:(\[[0-9a-fA-F:.%a-z]+\]|[A-Za-z0-9._-]*):)?(\d{1,5})$/.exec(text.trim())
  if (match === null) return null
  const port = Number(match[2])
  if (port > 65_535) return null
  const host = match[1] === undefined ? '127.0.0.1' : match[1].replace(/^\[|\]$/g, '')
  return { host, port }
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * Whether only this machine can reach a host. A name other than localhost is taken not to be so.
 */
export function isLoopback(host: string): boolean {
  const lower = host.toLowerCase()
  if (lower === 'localhost' || lower.endsWith('.localhost')) return true
  return /^127(\.\d{1,3}){3}$/.test(lower) || lower === '::1' || lower.startsWith('::ffff:127.')
}

/** Whether a host binds every interface: nothing that anybody can connect to. */
export function isWildcard(host: string): boolean {
  return host === '' || host === '0.0.0.0' || /^[0:]*:[0:]*$/.test(host)
}

/** Reads `listener.security.protocol.map`; what is wrong goes to `problems`. */
function parseProtocolMap(text: string, problems: string[]): Map<string, SecurityProtocol> {
  const protocols = new Map<string, SecurityProtocol>()
  for (const item of text.split(',')) {
    const [name = '', protocol = '', ...rest] = item.trim().split(':')
    if (name === '' || rest.length > 0 || !PROTOCOLS.includes(protocol)) {
      problems.push(
        `listener.security.protocol.map: "${item.trim()}" should be NAME:PROTOCOL ` +
          `with one of ${PROTOCOLS.join(', ')}`,
      )
    } else if (protocols.has(name.toUpperCase())) {
      problems.push(`listener.security.protocol.map: ${name} stands there twice`)
    } else {
      protocols.set(name.toUpperCase(), protocol as SecurityProtocol)
    }
  }
  return protocols
}

function parseNamed(option: string, text: string, problems: string[]): AdvertisedListener[] {
  const named: AdvertisedListener[] = []
  for (const item of text.split(',').map((one) => one.trim())) {
    const match = /^([A-Za-z0-9_.-]+):\/\/(.*)$/.exec(item)
    const endpoint = match === null ? null : parseEndpoint(match[2] as string)
    if (match === null || endpoint === null || !item.includes(':', item.indexOf('//'))) {
      problems.push(`${option}: "${item}" should be NAME://HOST:PORT`)
      continue
    }
    const name = (match[1] as string).toUpperCase()
    if (named.some((other) => other.name === name)) {
      problems.push(`${option}: the listener ${name} stands there twice`)
    }
    named.push({ name, ...endpoint })
  }
  if (named.length > LISTENERS_MAX) problems.push(`${option}: more than ${LISTENERS_MAX} listeners`)
  return named
}

export interface ListenerOptions {
  readonly listeners: string
  readonly advertised: string | null
  readonly protocolMap: string
}

/** Reads the three options together; what is wrong goes to `problems`, one line each. */
export function parseListeners(
  options: ListenerOptions,
  problems: string[],
): { listeners: Listener[]; advertised: AdvertisedListener[] } {
  const protocols = parseProtocolMap(options.protocolMap, problems)
  const listeners: Listener[] = []
  for (const listener of parseNamed('listeners', options.listeners, problems)) {
    const protocol = protocols.get(listener.name)
    if (protocol === undefined) {
      problems.push(`listeners: ${listener.name} is not in listener.security.protocol.map`)
    } else if (protocol !== 'PLAINTEXT') {
      problems.push(`listeners: ${listener.name} is ${protocol}; only PLAINTEXT is spoken so far`)
    } else {
      listeners.push({ ...listener, protocol })
    }
  }
  refuseSamePort(listeners, problems)

  const stated =
    options.advertised === null || options.advertised.trim() === ''
      ? []
      : parseNamed('advertised.listeners', options.advertised, problems)
  for (const { name } of stated) {
    if (!listeners.some((listener) => listener.name === name)) {
      problems.push(`advertised.listeners: ${name} is not one of the listeners`)
    }
  }
  const advertised = listeners.map(({ name, host, port }) => {
    const own = stated.find((one) => one.name === name)
    return own ?? { name, host: isWildcard(host) ? hostname() : host, port }
  })
  return { listeners, advertised }
}

function refuseSamePort(listeners: readonly Listener[], problems: string[]): void {
  const taken = new Set<string>()
  for (const listener of listeners) {
    const endpoint = formatEndpoint(listener)
    if (listener.port !== 0 && taken.has(endpoint)) {
      problems.push(`listeners: ${endpoint} is used twice`)
    }
    taken.add(endpoint)
  }
}

/** Turns a host name into an address, or throws. */
export type Resolve = (host: string) => Promise<unknown>

/** How long a start may wait for a name server that does not answer. */
const RESOLVE_TIMEOUT_MS = 2_000

/**
 * What clients could stumble over, one line each: an advertised address that nobody can connect to,
 * that only this machine can, or that does not resolve. Never throws, takes 2 s at most.
 */
export async function advertisedWarnings(
  listeners: readonly Listener[],
  advertised: readonly AdvertisedListener[],
  resolve: Resolve = (host) => lookup(host),
): Promise<string[]> {
  const warnings: string[] = []
  for (const listener of listeners) {
    const told = advertised.find((one) => one.name === listener.name)
    if (told === undefined) continue
    const address = `${told.name}://${formatEndpoint(told)}`
    const fix = `set advertised.listeners=${told.name}://HOST:${told.port || 'PORT'}`
    if (isWildcard(told.host)) {
      warnings.push(`clients are told ${address}, which nobody can connect to: ${fix}`)
    } else if (isLoopback(told.host) && !isLoopback(listener.host)) {
      warnings.push(`clients are told ${address}, which only this machine can reach: ${fix}`)
    } else if (isLoopback(listener.host) && !isLoopback(told.host)) {
      warnings.push(
        `clients are told ${address}, but the listener is bound to ${formatEndpoint(listener)}, ` +
          'where only this machine can reach it',
      )
    } else if (!isLoopback(told.host) && !(await resolves(told.host, resolve))) {
      warnings.push(`clients are told ${address}, which does not resolve here: ${fix}`)
    } else if (isWildcard(listener.host) && told.host === hostname()) {
      warnings.push(`clients are told ${address}; where they cannot reach that, ${fix}`)
    }
  }
  return warnings
}

async function resolves(host: string, resolve: Resolve): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<false>((done) => {
    timer = setTimeout(() => done(false), RESOLVE_TIMEOUT_MS)
  })
  const found = resolve(host).then(
    () => true,
    () => false,
  )
  const result = await Promise.race([found, timeout])
  clearTimeout(timer)
  return result
}
