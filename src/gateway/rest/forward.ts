import { Agent, type IncomingMessage, request as send } from 'node:http'
import type { Broker } from '../../broker/broker.ts'
import { CONSUMER_OFFSETS } from '../../broker/topic-name.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { WebRequest, WebResponse } from '../web/web-server.ts'
import { HTTP_LISTENER } from '../websocket/leaders.ts'
import { kafkaError } from './rest-error.ts'

/**
 * Requests about a group that another broker coordinates: they go there as they are, and its answer
 * comes back as it is, for clients that know one address. One step and no more: who is asked by a
 * broker and does not coordinate the group says so. The header grants nothing, so that nobody has
 * to prove it. Runs on main.
 */
const FORWARDED = 'x-millrace-forwarded'
/** The largest body of a request about groups. */
const BODY_BYTES_MAX = 4 * 1024 * 1024
const CONNECT_MS = 5000
/** Beyond the longest poll. */
const SILENCE_MS_MAX = 90_000
/** An answer that is no larger is passed on whole. */
const WHOLE_BYTES_MAX = 64 * 1024
/** What says how an answer is to be read. */
const PASSED_ON = ['content-type', 'cache-control', 'location', 'retry-after', 'allow']

/** Below what a server keeps a silent connection for. */
const agent = new Agent({ keepAlive: true, timeout: 5000, maxSockets: 512 })

/** The broker that the request has to go to; −1: this one. Throws RestError. */
export async function coordinatorElsewhere(
  broker: Broker,
  request: WebRequest,
  { group, creates }: { readonly group: string; readonly creates: boolean },
): Promise<number> {
  if (broker.elsewhere === null) return -1
  const isThere = broker.topicByName(CONSUMER_OFFSETS) !== undefined
  if (!isThere && !creates) return -1
  const errorCode = await broker.groups.prepare()
  if (errorCode !== ErrorCode.NONE) throw kafkaError(errorCode)
  const node = broker.groups.coordinatorOf(group)
  if (node === broker.nodeId) return -1
  if (node >= 0 && !isForwarded(request)) return node
  const message = `Another broker is about to coordinate the group "${group}"`
  throw kafkaError(ErrorCode.NOT_COORDINATOR, `${message}. Try again in a second`)
}

/** Whether another broker has passed the request on. */
export function isForwarded(request: WebRequest): boolean {
  return request.header(FORWARDED) !== undefined
}

/** The other broker's answer. Throws RestError when there is none. */
export async function forward(
  broker: Broker,
  request: WebRequest,
  node: number,
): Promise<WebResponse> {
  const hasBody = request.method === 'POST' || request.method === 'PUT'
  const body = hasBody ? await request.body(BODY_BYTES_MAX) : null
  return answerOf(await ask(broker, { request, node, body: body === null ? null : copy(body) }))
}

/** What the other broker says to the same GET, as text. Throws RestError. */
export async function askAlso(broker: Broker, request: WebRequest, node: number): Promise<string> {
  const message = await ask(broker, { request, node, body: null })
  const text = (await collect(message)).toString()
  if (message.statusCode === 200) return text
  throw silent(node)
}

interface Asked {
  readonly request: WebRequest
  readonly node: number
  readonly body: Uint8Array | null
}

function ask(broker: Broker, { request, node, body }: Asked): Promise<IncomingMessage> {
  const at = broker.node(node, HTTP_LISTENER)
  if (at === null) throw silent(node)
  const { method, path, query, signal } = request
  const headers: Record<string, string | number> = { [FORWARDED]: broker.nodeId }
  for (const name of ['accept', 'content-type']) {
    const value = request.header(name)
    if (value !== undefined) headers[name] = value
  }
  if (body !== null) headers['content-length'] = body.length
  return new Promise((resolve, reject) => {
    const asked = send({
      agent,
      host: at.host,
      port: at.port,
      method,
      path: query === '' ? path : `${path}?${query}`,
      headers,
      signal,
      timeout: SILENCE_MS_MAX,
    })
    const timer = setTimeout(() => asked.destroy(new Error('no connection')), CONNECT_MS)
    asked.on('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => clearTimeout(timer))
      else clearTimeout(timer)
    })
    asked.on('timeout', () => asked.destroy(new Error('silence')))
    asked.on('error', () => {
      clearTimeout(timer)
      reject(silent(node))
    })
    asked.on('response', resolve)
    asked.end(body ?? undefined)
  })
}

async function answerOf(message: IncomingMessage): Promise<WebResponse> {
  const headers: Record<string, string> = {}
  for (const name of PASSED_ON) {
    const value = message.headers[name]
    if (typeof value === 'string') headers[name] = value
  }
  const status = message.statusCode ?? 502
  const length = Number(message.headers['content-length'] ?? Number.POSITIVE_INFINITY)
  if (length > WHOLE_BYTES_MAX) return { status, headers, body: pieces(message) }
  return { status, headers, body: await collect(message) }
}

async function collect(message: IncomingMessage): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const piece of pieces(message)) all.push(piece)
  return Buffer.concat(all)
}

/** An answer that breaks off is the world's fault. */
async function* pieces(message: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of message) yield piece as Uint8Array
  } catch (error) {
    const action = "pass on another broker's answer"
    throw new BrokerError(ErrorCode.NETWORK_EXCEPTION, action, error)
  }
}

/** The body may lie in memory that others get. */
function copy(body: Uint8Array): Uint8Array {
  return new Uint8Array(body)
}

function silent(node: number) {
  const message = `Broker ${node}, which has to be asked, does not answer. Try again in a second`
  return kafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, message)
}
