/** HTTP as bytes: what a test sends, in pieces if it likes, and what comes back until the end. */
import { connect, type Socket } from 'node:net'

export interface HttpAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export class RawHttp {
  readonly socket: Socket
  /** Everything that was received, when the server has ended the connection. */
  readonly ended: Promise<string>
  #text = ''
  #wake: (() => void) | null = null
  #isEnded = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {}) // 'close' follows.
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => {
      this.#text += chunk
      this.#wake?.()
    })
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isEnded = true
        this.#wake?.()
        resolve(this.#text)
      })
    })
  }

  static open(port: number): Promise<RawHttp> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new RawHttp(socket)))
    })
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text)
  }

  /** The next answer, by its content-length; `isHead` when it has a length and no body. */
  async answer({ isHead = false } = {}): Promise<HttpAnswer> {
    for (;;) {
      const answer = this.#take(isHead)
      if (answer !== null) return answer
      if (this.#isEnded) throw new Error(`closed before an answer: ${JSON.stringify(this.#text)}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #take(isHead: boolean): HttpAnswer | null {
    const end = this.#text.indexOf('\r\n\r\n')
    if (end === -1) return null
    const [first = '', ...lines] = this.#text.slice(0, end).split('\r\n')
    const headers = new Map(
      lines.map((line): [string, string] => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
    )
    const status = Number(first.split(' ')[1])
    const length = isHead || status === 100 ? 0 : Number(headers.get('content-length') ?? 0)
    const start = end + 4
    if (this.#text.length < start + length) return null
    const body = this.#text.slice(start, start + length)
    this.#text = this.#text.slice(start + length)
    return { status, headers, body }
  }
}

/** One request on a connection of its own. */
export async function rawRequest(port: number, text: string): Promise<HttpAnswer> {
  const http = await RawHttp.open(port)
  http.write(text)
  try {
    return await http.answer({ isHead: text.startsWith('HEAD ') })
  } finally {
    http.socket.destroy()
  }
}
