/**
 * A server of `millrace.v1` in memory, written from its page: what a client of ours is tested
 * against. It holds clients to the rules (credits, limits; `violations`) and plays seeded faults on
 * them. Time and chance are arguments, so that a seed gives the same run every time.
 */
import type { ClientSocket, Platform, SocketEvents } from '../../src/client/platform.ts'
import { compressSync, decompressSync } from '../../src/record/compression.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { FakeConnection } from './fake-connection.ts'
import { FakeWorld } from './fake-world.ts'

export class FakeServer extends FakeWorld {
  /** What a client takes for its world. */
  get platform(): Platform {
    return {
      openSocket: (_url, _protocol, events) => this.#open(events),
      timers: this.timers,
      random: () => this.random.fraction(),
      crc32c,
      compress: (code, bytes) => compressSync(code, bytes),
      decompress: (code, bytes, bytesMax) => decompressSync(code, bytes, bytesMax),
      events: null,
    }
  }

  #open(events: SocketEvents): ClientSocket {
    if (this.isDown || this.chance(this.faults.refuseConnection)) {
      this.timers.after(1, () => events.closed(1006, 'refused'))
      return { send: () => {}, close: () => {} }
    }
    this.opened++
    const connection = new FakeConnection(this, events)
    this.connections.add(connection)
    return connection.clientSide
  }
}
