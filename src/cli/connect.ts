import { connect } from 'node:net'
import type { Client } from '../client/client.ts'
import { ConnectionError } from '../client/errors.ts'

/** A client of the WebSocket door for one command: connects, or says that nobody is there. */
const CONNECT_MS = 5000

/** True when somebody accepts connections at the port of one of the URLs. */
export async function isThere(urls: string): Promise<boolean> {
  const answers = await Promise.all(urls.split(',').map((url) => isOneThere(url.trim())))
  return answers.includes(true)
}

function isOneThere(url: string): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url)
  const at = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || defaultPort(protocol) }
  return new Promise((resolve) => {
    const socket = connect(at)
    const answer = (isOpen: boolean) => (): void => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.setTimeout(CONNECT_MS, answer(false))
    socket.once('connect', answer(true))
    socket.once('error', answer(false))
  })
}

function defaultPort(protocol: string): number {
  return protocol === 'wss:' ? 443 : 80
}

/** Throws ConnectionError when there is no broker at `url` within five seconds. */
export async function connectClient(url: string, clientId: string): Promise<Client> {
  // The client itself would try again and again: here nobody is there, and that is the answer.
  if (!(await isThere(url))) throw nobody(url, undefined)
  // Loaded only here: `start` should not wait for a client's code.
  const library = await import('../client/client.ts')
  const { nodePlatform } = await import('../client/platform-node.ts')
  const client = new library.Client({ url, clientId }, nodePlatform)
  try {
    await client.connect({ signal: AbortSignal.timeout(CONNECT_MS) })
    return client
  } catch (error) {
    await client.close().catch(() => {})
    throw nobody(url, error)
  }
}

function nobody(url: string, cause: unknown): ConnectionError {
  const hint = 'is the broker running? (millrace start; --url names another one)'
  return new ConnectionError(`no broker answers at ${url}: ${hint}`, cause)
}
