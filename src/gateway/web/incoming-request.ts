import type { BodyMemory } from './body-memory.ts'
import { BodyError, IncomingBody } from './incoming-body.ts'
import { errorResponse, headersTooLarge, type TextResponse, tooMuchUnderWay } from './responses.ts'
import {
  HEADER_BYTES_MAX,
  type WebRequest,
  type WebResponse,
  type WebServerParts,
} from './web-server.ts'

/** What both engines know of a request when its headers are there. */
export interface RequestHead {
  readonly method: string
  readonly path: string
  readonly query: string
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly remoteAddress: string
}

/** A request as handlers see it, fed by one of the engines. */
export class IncomingRequest implements WebRequest {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly remoteAddress: string
  readonly incoming: IncomingBody
  readonly #headers: ReadonlyMap<string, string>
  /** Made when somebody asks: most requests are answered at once. */
  #controller: AbortController | null = null
  #isAborted = false

  constructor(head: RequestHead, bodyBytesMax: number, memory: BodyMemory) {
    this.method = head.method
    this.path = head.path
    this.query = head.query
    this.remoteAddress = head.remoteAddress
    this.#headers = head.headers
    this.incoming = new IncomingBody(bodyBytesMax, memory, head.remoteAddress)
    if (!hasBody(head.headers)) this.incoming.complete()
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#isAborted) this.#controller.abort()
    return this.#controller.signal
  }

  header(name: string): string | undefined {
    return this.#headers.get(name)
  }

  body(bytesMax: number): Promise<Uint8Array> {
    return this.incoming.read(bytesMax)
  }

  /** The client is gone. */
  abort(): void {
    this.#isAborted = true
    this.incoming.abort()
    this.#controller?.abort()
  }
}

function hasBody(headers: ReadonlyMap<string, string>): boolean {
  const length = headers.get('content-length')
  return headers.has('transfer-encoding') || (length !== undefined && length !== '0')
}

/** What is refused before a handler sees it: headers or a body that are too large. */
export function refuseHead(
  headers: ReadonlyMap<string, string>,
  bodyBytesMax: number,
): TextResponse | null {
  let bytes = 0
  for (const [name, value] of headers) bytes += name.length + value.length
  if (bytes > HEADER_BYTES_MAX) return headersTooLarge()
  const length = headers.get('content-length') ?? '0'
  if (!/^\d+$/.test(length)) {
    // Also two of them, which uWebSockets.js lets pass: proxies disagree about which one counts.
    return errorResponse(400, 'INVALID_REQUEST', 'Content-Length must be one number')
  }
  if (Number(length) <= bodyBytesMax) return null
  return errorResponse(413, 'BODY_TOO_LARGE', `The body is larger than ${bodyBytesMax} bytes`)
}

/** Runs the handler and hands its answer, or that it failed, to `respond`: at most once. */
export function handle(
  parts: WebServerParts,
  request: IncomingRequest,
  respond: (response: WebResponse) => void,
): void {
  const onFailure = (error: unknown): void => {
    if (error instanceof BodyError) {
      if (error.kind === 'too-large') respond(errorResponse(413, 'BODY_TOO_LARGE', error.message))
      if (error.kind === 'no-room') respond(tooMuchUnderWay())
      return // Otherwise nobody waits for an answer.
    }
    respond(errorResponse(500, 'UNKNOWN_SERVER_ERROR', 'The broker failed; its log says why'))
    parts.onError(error)
  }
  let result: WebResponse | Promise<WebResponse>
  try {
    result = parts.onRequest(request)
  } catch (error) {
    onFailure(error)
    request.incoming.release()
    return
  }
  // At once where it can be: a pipelined request behind an open one costs the connection in uws.
  if (result instanceof Promise) {
    void result.then(respond, onFailure).finally(() => request.incoming.release())
    return
  }
  respond(result)
  request.incoming.release()
}
