/** The links to other brokers, by what they are for. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { Links } from '../../src/cluster/links.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ClusterApi } from '../../src/wire/kafka/api.ts'
import { CLUSTER_ID, keyOf, SaidLogger, SECRET } from './fixture.ts'
import { TestPeer } from './test-peer.ts'

const PEER = 2
const TIMEOUT_MS = 20_000
/** Well before a request gives up by itself. */
const QUICKLY = { timeout: TIMEOUT_MS / 2 }
const { NETWORK_EXCEPTION } = ErrorCode

interface Fixture {
  readonly peer: TestPeer
  readonly links: Links
  readonly hellos: number[]
  readonly lost: number[]
}

async function fixtureOf(t: TestContext): Promise<Fixture> {
  const peer = await TestPeer.open()
  const hellos: number[] = []
  const lost: number[] = []
  const { directoryId } = keyOf(1)
  const links = new Links({
    identity: () => ({ nodeId: 1, directoryId, clusterId: CLUSTER_ID, secret: SECRET }),
    addressOf: (id) => (id === PEER ? peer.address : null),
    onHello: (id) => hellos.push(id),
    onLost: (id) => lost.push(id),
    logger: new SaidLogger(),
  })
  t.after(() => {
    links.close()
    peer.close()
  })
  return { peer, links, hellos, lost }
}

function ask(links: Links, purpose: 'quorum' | 'beat' | 'change'): Promise<unknown> {
  return links.to(PEER, purpose).request(ClusterApi.RAFT_MESSAGES, { messages: [] }, TIMEOUT_MS)
}

describe('Links', () => {
  test('have one connection to a broker for each purpose', async (t) => {
    const { peer, links, hellos } = await fixtureOf(t)
    await Promise.all([ask(links, 'quorum'), ask(links, 'change'), ask(links, 'quorum')])
    assert.equal(links.to(PEER, 'quorum'), links.to(PEER, 'quorum'))
    assert.deepEqual([peer.connections.length, hellos], [2, [PEER, PEER]])
  })

  test('tell who waits that a link was dropped, and make it again for the next', async (t) => {
    const { peer, links } = await fixtureOf(t)
    await ask(links, 'change')
    let isAsked = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve
    })
    peer.onRequest = () => isAsked()
    const waiting = assert.rejects(ask(links, 'change'), { code: NETWORK_EXCEPTION })
    await asked
    links.drop(PEER, 'change')
    await waiting
    peer.onRequest = (received) => received.peer.answer(received)
    await ask(links, 'change')
    assert.equal(peer.connections.length, 2)
    links.drop(9, 'change')
  })

  test('tell who waits for a connection that there will be none', QUICKLY, async (t) => {
    const { peer, links } = await fixtureOf(t)
    await ask(links, 'change')
    peer.close() // Nobody listens there any more.
    await assert.rejects(ask(links, 'change'), { code: NETWORK_EXCEPTION })
    const unsent = assert.rejects(ask(links, 'change'), { code: NETWORK_EXCEPTION })
    links.failUnsent(PEER, 'change')
    await unsent
    const dropped = assert.rejects(ask(links, 'change'), { code: NETWORK_EXCEPTION })
    const link = links.to(PEER, 'change')
    links.drop(PEER, 'change')
    await dropped
    const request = link.request(ClusterApi.RAFT_MESSAGES, { messages: [] }, TIMEOUT_MS)
    await assert.rejects(request, { code: NETWORK_EXCEPTION })
    links.failUnsent(9, 'change')
  })

  test('greet anew when a link is renewed', async (t) => {
    const { links, hellos } = await fixtureOf(t)
    await ask(links, 'quorum')
    links.renew(PEER, 'quorum')
    await ask(links, 'quorum')
    assert.deepEqual(hellos, [PEER, PEER])
  })

  test('tell that the connection of the quorum was lost, and of no other', async (t) => {
    const { peer, links, lost } = await fixtureOf(t)
    await ask(links, 'beat')
    peer.onRequest = (received) => received.peer.socket.destroy()
    await assert.rejects(ask(links, 'beat'), { code: NETWORK_EXCEPTION })
    assert.deepEqual(lost, [])
    await assert.rejects(ask(links, 'quorum'), { code: NETWORK_EXCEPTION })
    assert.deepEqual(lost, [PEER])
  })
})
