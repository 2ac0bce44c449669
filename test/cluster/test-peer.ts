/** The other end of a link: a real server on loopback that answers as the test says. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { newNonce, proofOf } from '../../src/cluster/cluster-proof.ts'
import type { Address } from '../../src/cluster/link.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  type AnyApiKey,
  ClusterApi,
  decodeRequest,
  decodeRequestHeader,
  encodeResponse,
  Reader,
  type RequestOf,
} from '../../src/wire/kafka/api.ts'
import { CLUSTER_ID, keyOf, SECRET } from './fixture.ts'

export interface Received {
  readonly apiKey: number
  readonly correlationId: number
  readonly body: unknown
  readonly peer: PeerConnection
}

export class PeerConnection {
  readonly socket: Socket
  readonly #peer: TestPeer
  #bytes = Buffer.alloc(0)
  #hello: RequestOf<200> | null = null
  #nonce: Uint8Array = new Uint8Array(0)

  constructor(peer: TestPeer, socket: Socket) {
    this.#peer = peer
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => this.#receive(chunk))
  }

  /** The answer's bytes, size first. */
  bytesOf(apiKey: number, correlationId: number, body: object): Buffer {
    const key = apiKey as AnyApiKey
    return Buffer.concat(encodeResponse(key, 0, correlationId, body as never))
  }

  answer({ apiKey, correlationId }: Received, body: object = { errorCode: 0 }): void {
    this.#peer.write(this.socket, this.bytesOf(apiKey, correlationId, body))
  }

  #receive(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= 4) {
      const size = this.#bytes.readInt32BE(0)
      if (this.#bytes.length < 4 + size) return
      const frame = this.#bytes.subarray(4, 4 + size)
      this.#bytes = this.#bytes.subarray(4 + size)
      const reader = new Reader(frame)
      const { requestApiKey: apiKey, correlationId } = decodeRequestHeader(reader)
      const body = decodeRequest(apiKey as AnyApiKey, 0, reader)
      this.#serve({ apiKey, correlationId, body, peer: this })
    }
  }

  #serve(received: Received): void {
    this.#peer.received.push(received)
    if (received.apiKey === ClusterApi.HELLO) this.#greet(received)
    else if (received.apiKey === ClusterApi.PROVE) this.#check(received)
    else this.#peer.onRequest(received)
  }

  #greet(received: Received): void {
    this.#hello = received.body as RequestOf<200>
    this.#nonce = newNonce()
    const proof = proofOf(this.#peer.secret, 'answerer', this.#handshake)
    const { id: nodeId, directoryId } = keyOf(this.#peer.nodeId)
    const hello = { errorCode: 0, errorMessage: null, nodeId, directoryId, clusterId: CLUSTER_ID }
    const rest = { voters: [], nonce: this.#nonce, proof, ...this.#peer.helloChanges }
    this.answer(received, { ...hello, ...rest })
  }

  #check(received: Received): void {
    const { proof } = received.body as RequestOf<201>
    const expected = proofOf(this.#peer.secret, 'caller', this.#handshake)
    const isRight = Buffer.compare(proof, expected) === 0
    const errorCode = isRight ? ErrorCode.NONE : ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    this.answer(received, { errorCode, errorMessage: isRight ? null : 'another secret' })
  }

  get #handshake() {
    const { nodeId: callerId, nonce: callerNonce } = this.#hello as RequestOf<200>
    return { callerId, answererId: this.#peer.nodeId, callerNonce, answererNonce: this.#nonce }
  }
}

export class TestPeer {
  secret = SECRET
  nodeId = 2
  helloChanges: object = {}
  readonly received: Received[] = []
  readonly connections: PeerConnection[] = []
  /** Answers at once by default. */
  onRequest: (received: Received) => void = (received) => received.peer.answer(received)
  write: (socket: Socket, bytes: Buffer) => void = (socket, bytes) => socket.write(bytes)
  readonly #server: Server
  #port = 0

  constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.connections.push(new PeerConnection(this, socket))
    })
  }

  static async open(): Promise<TestPeer> {
    const peer = new TestPeer()
    peer.#server.listen(0, '127.0.0.1')
    await once(peer.#server, 'listening')
    peer.#port = (peer.#server.address() as AddressInfo).port
    return peer
  }

  get address(): Address {
    return { host: '127.0.0.1', port: this.#port }
  }

  keys(): number[] {
    return this.received.map(({ apiKey }) => apiKey)
  }

  close(): void {
    for (const { socket } of this.connections) socket.destroy()
    this.#server.close()
  }
}
