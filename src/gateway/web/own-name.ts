import { isIP } from 'node:net'
import { isLoopback } from '../../config/listeners.ts'

/**
 * Whether a Host header calls this machine by a name of its own: an address, a loopback name, or
 * the name of an allowed origin. A page's own name can be made to point at a server on its reader's
 * machine (DNS rebinding), and an Origin that equals Host then proves nothing: a server that serves
 * its own machine only answers to its own names. Pure.
 */

/** What nearly every request says. */
const USUAL_HOST = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/

export function isOwnName(host: string, allowedOrigins: readonly string[]): boolean {
  if (USUAL_HOST.test(host)) return true
  if (allowedOrigins.includes('*')) return true
  const name = hostnameOf(`http://${host}`)
  if (name === null) return false
  // An address is nobody's name.
  if (isLoopback(name) || isIP(name) !== 0) return true
  return allowedOrigins.some((origin) => hostnameOf(origin) === name)
}

/** What to say to one that does not. */
export function foreignHost(host: string): string {
  return (
    `This broker serves its own machine: call it 127.0.0.1 or localhost, not "${host}". ` +
    'millrace.http.allowed.origins allows more names'
  )
}

function hostnameOf(url: string): string | null {
  try {
    return new URL(url).hostname.replace(/^\[|\]$/g, '')
  } catch {
    return null
  }
}
