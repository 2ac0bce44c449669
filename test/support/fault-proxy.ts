/**
 * A TCP proxy on the loopback interface that treats connections badly: cuts and resets them at
 * random byte positions, closes one direction, holds bytes back, passes them on crumb by crumb. A
 * seed decides what is done to the nth connection and at which byte, not when bytes come. It does
 * so a bounded number of times: then every connection is carried faithfully, and whoever retries
 * gets through.
 *
 * It holds at most one chunk for each direction of a connection: who sends to a stalled one meets
 * the kernel's limits.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Random } from '../../src/base/random.ts'

export const FAULT_KINDS = ['cut', 'reset', 'halfClose', 'stallCut', 'stall', 'crumbs'] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export interface FaultProxyOptions {
  /** Where it connects to, on this machine. */
  readonly port: number
  readonly random: Random
  /** So many times something is done; or a few more, to connections that are open then. */
  readonly faultsMax: number
}

interface Fault {
  readonly kind: FaultKind
  readonly isUpstream: boolean
  /** Bytes in that direction that pass before. */
  readonly afterBytes: number
  /** How long a stall lasts. */
  readonly stallMs: number
  /** How large crumbs are. */
  readonly crumbBytes: number
}

/** Positions up to 2^15 − 1, as often below 181 as above: greetings are short. */
const POSITION_BITS = 15
const STALL_MS_MAX = 700
const CRUMBED_BYTES = 600
const FAITHFUL_CHANCE = 0.15

export class FaultProxy {
  /** How often each was done. What is planned far into a short connection is not. */
  readonly done: Record<FaultKind, number>
  readonly #options: FaultProxyOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #left: number
  #connections = 0

  private constructor(options: FaultProxyOptions) {
    this.#options = options
    this.#left = options.faultsMax
    this.done = { cut: 0, reset: 0, halfClose: 0, stallCut: 0, stall: 0, crumbs: 0 }
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#accept(socket)
    })
  }

  static async open(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    assert.ok(typeof address === 'object' && address !== null)
    return address.port
  }

  /** Accepted so far. */
  get connections(): number {
    return this.#connections
  }

  /** Nothing is done to connections that are made from now on. */
  heal(): void {
    this.#left = 0
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(client: Socket): void {
    this.#connections++
    const fault = this.#plan()
    const { port } = this.#options
    const server = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
    for (const [socket, peer] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => peer.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        if (!socket.readableEnded) peer.destroy()
      })
    }
    this.#carry(client, server, fault?.isUpstream === true ? fault : null)
    this.#carry(server, client, fault?.isUpstream === false ? fault : null)
  }

  #plan(): Fault | null {
    const own = this.#options.random.split() // No connection's draws shift another's.
    if (this.#left <= 0 || own.chance(FAITHFUL_CHANCE)) return null
    return {
      kind: own.pick(FAULT_KINDS),
      isUpstream: own.chance(0.5),
      afterBytes: Math.floor(2 ** (own.fraction() * POSITION_BITS)) - 1,
      stallMs: own.between(1, STALL_MS_MAX),
      crumbBytes: own.between(1, 40),
    }
  }

  /** Passes on what `from` sends until the fault's position; then the fault happens. */
  #carry(from: Socket, to: Socket, fault: Fault | null): void {
    let left = fault?.afterBytes ?? Number.POSITIVE_INFINITY
    const pass = async (chunk: Buffer): Promise<void> => {
      if (chunk.length <= left) {
        left -= chunk.length
        await write(to, chunk)
        return
      }
      const [before, after] = [chunk.subarray(0, left), chunk.subarray(left)]
      left = Number.POSITIVE_INFINITY
      await write(to, before)
      await this.#hurt({ from, to }, fault as Fault, after)
    }
    from.on('data', (chunk: Buffer) => {
      from.pause()
      void pass(chunk).then(() => from.resume())
    })
    from.on('end', () => to.end())
  }

  async #hurt(lane: { from: Socket; to: Socket }, fault: Fault, rest: Buffer): Promise<void> {
    const { from, to } = lane
    this.done[fault.kind]++
    this.#left--
    switch (fault.kind) {
      case 'cut':
        from.destroy()
        to.destroy()
        return
      case 'reset':
        from.resetAndDestroy()
        to.resetAndDestroy()
        return
      case 'halfClose':
        to.end() // What still comes is swallowed: `write` finds it ended.
        return
      case 'stallCut':
        await this.#wait(fault.stallMs)
        from.destroy()
        to.destroy()
        return
      case 'stall':
        await this.#wait(fault.stallMs)
        await write(to, rest)
        return
      case 'crumbs':
        for (let at = 0; at < rest.length && at < CRUMBED_BYTES; at += fault.crumbBytes) {
          const end = at + fault.crumbBytes
          await write(to, rest.subarray(at, end < CRUMBED_BYTES ? end : rest.length))
          await this.#wait(1)
        }
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
  }
}

/** Resolves when the chunk is on its way, or the socket takes none any more. */
function write(to: Socket, chunk: Uint8Array): Promise<void> {
  if (to.destroyed || to.writableEnded || chunk.length === 0) return Promise.resolve()
  return new Promise((resolve) => to.write(chunk, () => resolve()))
}
