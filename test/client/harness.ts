/** A client on the fake server, with time and chance from a seed. */
import type { Random } from '../../src/base/random.ts'
import { Link, type LinkOptions } from '../../src/client/link.ts'
import { FakeServer } from '../support/fake-server.ts'
import type { FakeServerOptions } from '../support/fake-world.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'

export interface Harness {
  readonly timers: VirtualTimers
  readonly server: FakeServer
  readonly link: Link
}

/** `options` of the server; the link's are short, so that faults are over soon. */
export function harness(
  random: Random,
  options: Partial<FakeServerOptions> = {},
  linkOptions: Partial<LinkOptions> = {},
): Harness {
  const timers = new VirtualTimers()
  const server = new FakeServer({ timers, random: random.split(), ...options })
  const link = new Link(
    {
      url: 'ws://fake',
      requestTimeoutMs: 5000,
      creditWindowBytes: 512 * 1024,
      reconnect: { minMs: 10, maxMs: 200 },
      ...linkOptions,
    },
    server.platform,
  )
  return { timers, server, link }
}

/** The text of a value, or of a key. */
export function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : new TextDecoder().decode(bytes)
}
