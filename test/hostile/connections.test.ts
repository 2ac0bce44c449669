/**
 * Connections as a weapon: silent ones, endless requests, floods beyond the limits of every door,
 * from one address and from many. A client that was there before is served all along.
 */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { type TestBroker, withBroker } from '../support/broker.ts'
import { RawClient } from '../support/raw-client.ts'
import { upgradeRequest } from '../support/web-socket-client.ts'
import { WebSocketTestClient } from '../support/websocket-client.ts'
import { bytesOf, frameOf, sampleRequests } from './kafka-message.ts'
import { underWatch } from './watch.ts'

const TIERS = ['auto', 'portable']

async function isServed(client: RawClient): Promise<void> {
  assert.equal((await client.request(ApiKey.API_VERSIONS, 0, {})).errorCode, 0)
}

/** Reads and forgets; the error that a reset brings is no failure. */
function open(port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress })
    socket.on('error', () => {})
    socket.once('connect', () => resolve(socket.resume()))
    socket.once('close', () => resolve(socket))
  })
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}

describe('a Kafka connection without a first request', () => {
  for (const tier of TIERS) {
    test(`is closed in time, whatever it sends, tier ${tier}`, () => {
      const set = {
        'millrace.native.tier': tier,
        'millrace.first.request.timeout.ms': '1500',
      }
      return withBroker({ set }, async (broker) => {
        const known = await RawClient.open(broker.port)
        await isServed(known)
        await underWatch(broker, async () => {
          const silent = await open(broker.port)
          const half = await open(broker.port)
          half.write(frameOf(bytesOf(sampleRequests()[0]!.pieces)).subarray(0, 20))
          const slow = await open(broker.port)
          slow.write(Buffer.of(0, 0, 4, 0))
          const timer = setInterval(() => slow.write(Buffer.of(0)), 100)
          await Promise.all([silent, half, slow].map((socket) => closed(socket)))
          clearInterval(timer)
        })
        assert.match(broker.output(), /closed a connection: no request in the first 1500 ms/)
        await isServed(known) // It was silent for as long, but is no stranger.
        known.close()
      })
    })
  }
})

describe('floods of the Kafka door', () => {
  for (const tier of TIERS) {
    test(`stop at max.connections, tier ${tier}`, () => {
      const set = { 'millrace.native.tier': tier, 'max.connections': '20' }
      return withBroker({ set }, (broker) => flood(broker, broker.port, 20, '127.0.0.1'))
    })

    test(`of one address stop at max.connections.per.ip, tier ${tier}`, () => {
      const set = { 'millrace.native.tier': tier, 'max.connections.per.ip': '20' }
      return withBroker({ set }, async (broker) => {
        await flood(broker, broker.port, 20, '127.0.0.2')
        const other = await RawClient.open(broker.port)
        await isServed(other)
        other.close()
      })
    })
  }
})

/** Four hundred at once: those beyond the limit are closed, and places are given again. */
async function flood(
  broker: TestBroker,
  port: number,
  connectionsMax: number,
  address: string,
): Promise<void> {
  await underWatch(broker, async () => {
    const sockets = await Promise.all(Array.from({ length: 400 }, () => open(port, address)))
    const closing = sockets.map((socket) => closed(socket))
    let left = sockets.length
    for (const one of closing) void one.then(() => left--)
    // The canary may hold one of the places.
    while (left > connectionsMax) await tick()
    assert.ok(left >= connectionsMax - 1, `${left} of ${connectionsMax} are left`)
    for (const socket of sockets) socket.destroy()
    await Promise.all(sockets.map((socket) => closed(socket)))
  })
  for (let tries = 0; ; tries++) {
    const client = await RawClient.open(port)
    const isWelcome = await isServed(client).then(
      () => true,
      () => false,
    )
    client.close()
    if (isWelcome) return
    assert.ok(tries < 500, 'places come back')
    await tick()
  }
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10))
}

describe('floods of the HTTP door', () => {
  for (const engine of ['native', 'uws', 'node']) {
    const set = {
      'millrace.http.engine': engine,
      'millrace.http.max.connections': '20',
    }
    const portOf = (broker: TestBroker): number => Number(new URL(broker.httpUrl).port)

    test(`stop at its limit, and a WebSocket that was there is served, ${engine}`, () =>
      withBroker({ set }, async (broker) => {
        const client = await WebSocketTestClient.open(broker.httpUrl)
        const sockets: Socket[] = []
        let answers = 0
        for (let i = 0; i < 400; i++) {
          const socket = await open(portOf(broker))
          socket.on('data', (chunk: Buffer) => {
            if (chunk.toString('latin1').startsWith('HTTP/1.1 503')) answers++
          })
          socket.write(upgradeRequest(portOf(broker)))
          sockets.push(socket)
          if (i % 50 === 0) await client.ask('pong', { type: 'ping', id: client.nextId() })
        }
        // Those that were refused are closed, most of them with an answer.
        while (sockets.filter((socket) => !socket.closed).length > 20) await tick()
        assert.ok(answers > 0, 'nobody was told why')
        await client.ask('pong', { type: 'ping', id: client.nextId() })
        for (const socket of sockets) socket.destroy()
        await client.close()
        let status = 0
        while (status !== 200) {
          status = await fetch(`${broker.httpUrl}/health/live`).then(
            (answer) => answer.status,
            () => 0,
          )
          await tick()
        }
      }))
  }
})
