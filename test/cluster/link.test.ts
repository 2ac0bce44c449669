/** One connection to another broker: proofs, answers, and what it takes to lose it. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { isProof, newNonce, proofOf } from '../../src/cluster/cluster-proof.ts'
import { type Address, Link, type LinkParts, type PeerHello } from '../../src/cluster/link.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ClusterApi } from '../../src/wire/kafka/api.ts'
import { CLUSTER_ID, keyOf, SaidLogger, SECRET } from './fixture.ts'
import { type Received, TestPeer } from './test-peer.ts'

const TIMEOUT_MS = 20_000
const BEAT = {
  brokerId: 1,
  brokerEpoch: 5,
  metadataOffset: 9,
  wantsFence: false,
  wantsShutdown: false,
}
const BEAT_ANSWER = { errorCode: 0, isFenced: false, mayShutDown: false }

class Fixture {
  readonly peer: TestPeer
  readonly logger = new SaidLogger()
  readonly hellos: PeerHello[] = []
  readonly refused: ErrorCode[] = []
  lost = 0
  address: Address | null
  readonly link: Link
  #wakes: (() => void)[] = []

  private constructor(peer: TestPeer, more: Partial<LinkParts>) {
    this.peer = peer
    this.address = peer.address
    peer.onRequest = (received) => received.peer.answer(received, BEAT_ANSWER)
    this.link = new Link({
      peerId: 2,
      address: () => this.address,
      identity: () => ({
        nodeId: 1,
        directoryId: keyOf(1).directoryId,
        clusterId: CLUSTER_ID,
        secret: SECRET,
      }),
      onHello: (hello) => {
        this.hellos.push(hello)
        this.#wake()
      },
      onLost: () => {
        this.lost++
        this.#wake()
      },
      onRefused: (code) => {
        this.refused.push(code)
        this.#wake()
      },
      logger: this.logger,
      silenceMsMax: TIMEOUT_MS,
      ...more,
    })
  }

  static async open(t: TestContext, more: Partial<LinkParts> = {}): Promise<Fixture> {
    const fixture = new Fixture(await TestPeer.open(), more)
    t.after(() => {
      fixture.link.close()
      fixture.peer.close()
    })
    return fixture
  }

  beat(): Promise<unknown> {
    return this.link.request(ClusterApi.BROKER_BEAT, BEAT, TIMEOUT_MS)
  }

  /** Waits until something that the link tells makes `isSo` true. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#wakes.push(resolve))
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake()
  }
}

function unreached(error: unknown): boolean {
  return error instanceof BrokerError && error.code === ErrorCode.NETWORK_EXCEPTION
}

describe('a proof of the cluster secret', () => {
  const callerNonce = newNonce()
  const at = { callerId: 1, answererId: 2, callerNonce, answererNonce: newNonce() }
  const proof = proofOf(SECRET, 'caller', at)

  test('is of one secret, one direction, these names and nonces', () => {
    assert.ok(isProof(proofOf(SECRET, 'caller', at), proof))
    const others = [
      proofOf('another', 'caller', at),
      proofOf(SECRET, 'answerer', at),
      proofOf(SECRET, 'caller', { ...at, callerId: 12 }),
      proofOf(SECRET, 'caller', { ...at, answererId: 3 }),
      proofOf(SECRET, 'caller', { ...at, callerNonce: newNonce() }),
      proofOf(SECRET, 'caller', { ...at, answererNonce: newNonce() }),
      proofOf(SECRET, 'caller', { ...at, callerId: 2, answererId: 1 }),
      proof.subarray(1),
      new Uint8Array(0),
    ]
    for (const other of others) assert.ok(!isProof(other, proof))
  })
})

describe('Link', () => {
  test('shakes hands, then gets answers', async (t) => {
    const { link, peer, hellos, ...fixture } = await Fixture.open(t)
    assert.equal(link.isUp, false)
    const answer = await link.request(ClusterApi.BROKER_BEAT, BEAT, TIMEOUT_MS)
    assert.deepEqual({ ...answer }, BEAT_ANSWER)
    assert.equal(link.isUp, true)
    assert.deepEqual(peer.keys(), [ClusterApi.HELLO, ClusterApi.PROVE, ClusterApi.BROKER_BEAT])
    assert.equal(hellos[0]?.directoryId, keyOf(2).directoryId)
    assert.deepEqual([fixture.lost, fixture.refused], [0, []])
  })

  test('tells a peer with another secret nothing, and nobody its own', async (t) => {
    const fixture = await Fixture.open(t)
    fixture.peer.secret = 'another'
    fixture.link.start()
    await fixture.until(() => fixture.refused.length >= 2)
    assert.equal(fixture.refused[0], ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    assert.equal(fixture.link.isUp, false)
    assert.ok(fixture.peer.keys().every((key) => key === ClusterApi.HELLO))
    assert.match(fixture.logger.text, /cluster secret/)
    assert.ok(!fixture.logger.text.includes(SECRET))
    assert.equal(fixture.logger.lines.length, 1, 'it does not repeat itself')
    fixture.peer.secret = SECRET
    await fixture.beat()
  })

  test('talks to nobody but its peer', async (t) => {
    const fixture = await Fixture.open(t)
    fixture.peer.nodeId = 3
    const refused = fixture.link.request(ClusterApi.BROKER_BEAT, BEAT, 200)
    await assert.rejects(refused, unreached)
    assert.deepEqual(fixture.hellos, [])
    assert.ok(fixture.peer.keys().every((key) => key === ClusterApi.HELLO))
  })

  test('tells why a peer refuses it', async (t) => {
    const fixture = await Fixture.open(t)
    const errorCode = ErrorCode.INCONSISTENT_CLUSTER_ID
    fixture.peer.helloChanges = { errorCode, errorMessage: 'it is of another cluster' }
    fixture.link.start()
    await fixture.until(() => fixture.refused.length >= 1)
    assert.equal(fixture.refused[0], errorCode)
    assert.match(fixture.logger.text, /another cluster/)
  })

  test('ends a connection on which an answer does not come, and makes another', async (t) => {
    const fixture = await Fixture.open(t, { silenceMsMax: 1 })
    fixture.peer.onRequest = () => undefined
    await assert.rejects(fixture.beat(), unreached)
    assert.equal(fixture.lost, 1)
    fixture.peer.onRequest = (received) => received.peer.answer(received, BEAT_ANSWER)
    await fixture.beat()
    assert.equal(fixture.peer.connections.length, 2)
  })

  test('notices silence as well after a time in which it owed nothing', async (t) => {
    const fixture = await Fixture.open(t, { silenceMsMax: 50 })
    await fixture.beat()
    // Longer than it takes to look again: nobody looks any more.
    await new Promise((resolve) => setTimeout(resolve, 600))
    fixture.peer.onRequest = () => undefined
    await assert.rejects(fixture.beat(), unreached)
    assert.equal(fixture.lost, 1)
  })

  test('tells all who wait when the connection breaks, and makes another', async (t) => {
    const fixture = await Fixture.open(t)
    const asked: Received[] = []
    fixture.peer.onRequest = (received) => {
      asked.push(received)
      if (asked.length === 3) received.peer.socket.destroy()
    }
    const waiting = [fixture.beat(), fixture.beat(), fixture.beat()]
    for (const one of waiting) await assert.rejects(one, unreached)
    assert.equal(fixture.lost, 1)
    fixture.peer.onRequest = (received) => received.peer.answer(received, BEAT_ANSWER)
    await fixture.beat()
    assert.equal(fixture.hellos.length, 2)
  })

  test('takes answers in pieces', async (t) => {
    const fixture = await Fixture.open(t)
    fixture.peer.write = (socket, bytes) => {
      for (const byte of bytes) socket.write(Buffer.from([byte]))
    }
    await fixture.beat()
    await fixture.beat()
    assert.equal(fixture.hellos.length, 1)
  })

  test('takes several answers at once, each for its request', async (t) => {
    const fixture = await Fixture.open(t)
    const asked: Received[] = []
    fixture.peer.onRequest = (received) => {
      asked.push(received)
      if (asked.length < 3) return
      const bytes = asked.map(({ apiKey, correlationId, peer }, i) =>
        peer.bytesOf(apiKey, correlationId, { ...BEAT_ANSWER, errorCode: i }),
      )
      received.peer.socket.write(Buffer.concat(bytes))
    }
    const answers = await Promise.all([fixture.beat(), fixture.beat(), fixture.beat()])
    const codes = answers.map((answer) => (answer as { errorCode: number }).errorCode)
    assert.deepEqual(codes, [0, 1, 2])
  })

  const garbage: readonly (readonly [string, (received: Received) => Buffer])[] = [
    [
      'the answer to something else',
      ({ apiKey, correlationId, peer }) => peer.bytesOf(apiKey, correlationId + 1, BEAT_ANSWER),
    ],
    [
      'an answer that is cut off',
      ({ apiKey, correlationId, peer }) => {
        const bytes = peer.bytesOf(apiKey, correlationId, BEAT_ANSWER).subarray(0, -2)
        bytes.writeInt32BE(bytes.length - 4)
        return bytes
      },
    ],
    ['a negative size', () => Buffer.from([0xff, 0xff, 0xff, 0xff, 0])],
    ['a size of nothing', () => Buffer.from([0, 0, 0, 0])],
    ['a size that nothing has', () => Buffer.from([0x7f, 0xff, 0xff, 0xff])],
  ]
  for (const [what, bytesOf] of garbage) {
    test(`ends a connection that brings ${what}`, async (t) => {
      const fixture = await Fixture.open(t)
      fixture.peer.onRequest = (received) => received.peer.socket.write(bytesOf(received))
      await assert.rejects(fixture.beat(), unreached)
      fixture.peer.onRequest = (received) => received.peer.answer(received, BEAT_ANSWER)
      await fixture.beat()
    })
  }

  test('ends a connection that brings an answer nobody asked for', async (t) => {
    const fixture = await Fixture.open(t)
    await fixture.beat()
    const [connection] = fixture.peer.connections
    connection?.socket.write(connection.bytesOf(ClusterApi.BROKER_BEAT, 77, BEAT_ANSWER))
    await fixture.until(() => fixture.lost === 1)
    await fixture.beat()
  })

  test('is not lost when it is closed here', async (t) => {
    const fixture = await Fixture.open(t)
    await fixture.beat()
    fixture.link.close()
    assert.equal(fixture.lost, 0)
  })

  test('takes little from a peer that has not proved itself', async (t) => {
    const fixture = await Fixture.open(t)
    fixture.peer.write = (socket) => {
      const head = Buffer.alloc(8)
      head.writeInt32BE(1024 * 1024)
      socket.write(head)
    }
    await assert.rejects(fixture.link.request(ClusterApi.BROKER_BEAT, BEAT, 200), unreached)
    assert.match(fixture.logger.text, /an answer of 1048576 bytes/)
  })

  test('posts what may get lost only over a connection that stands', async (t) => {
    const fixture = await Fixture.open(t)
    assert.equal(fixture.link.post(ClusterApi.BROKER_BEAT, BEAT), false)
    await fixture.beat()
    assert.equal(fixture.link.post(ClusterApi.BROKER_BEAT, BEAT), true)
    await fixture.beat()
    const beats = fixture.peer.keys().filter((key) => key === ClusterApi.BROKER_BEAT)
    assert.equal(beats.length, 3)
  })

  test('waits until somebody knows where its peer is', async (t) => {
    const fixture = await Fixture.open(t)
    fixture.address = null
    await assert.rejects(fixture.link.request(ClusterApi.BROKER_BEAT, BEAT, 1), unreached)
    const waiting = fixture.beat()
    fixture.address = fixture.peer.address
    await waiting
  })

  test('tells who waits when it is closed, and connects no more', async (t) => {
    const fixture = await Fixture.open(t)
    let isAsked = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve
    })
    fixture.peer.onRequest = () => isAsked()
    const waiting = fixture.beat()
    await asked
    fixture.link.close()
    await assert.rejects(waiting, unreached)
    fixture.link.start()
    assert.equal(fixture.link.post(ClusterApi.BROKER_BEAT, BEAT), false)
    await assert.rejects(fixture.link.request(ClusterApi.BROKER_BEAT, BEAT, 1), unreached)
    assert.equal(fixture.peer.connections.length, 1)
  })
})
