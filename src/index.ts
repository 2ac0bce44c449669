/**
 * The public interface of the package: the client of `millrace.v1` for Node, and a broker inside
 * the program. Everything that is not exported here may change without notice.
 */
import { Client, type ClientOptions } from './client/client.ts'
import { nodePlatform } from './client/platform-node.ts'
import type { EmbeddedBroker, EmbeddedBrokerOptions } from './gateway/embedded-broker.ts'

// —— the client ——

export * from './client/public.ts'
export type { EmbeddedBroker, EmbeddedBrokerOptions } from './gateway/embedded-broker.ts'

/** A client of the server at `options.url`. Throws TypeError or RangeError for wrong options. */
export function createClient(options: ClientOptions): Client {
  return new Client(options, nodePlatform)
}

/**
 * Starts a broker in this program, on free ports and a temporary directory unless told otherwise;
 * resolves when it serves. `await using` stops it. Rejects with a ConfigError for an option that it
 * does not understand, with a BrokerError where the world refuses.
 */
export async function startBroker(options: EmbeddedBrokerOptions = {}): Promise<EmbeddedBroker> {
  // Loaded only here: a client has no use for a broker's code.
  const embedded = await import('./gateway/embedded-broker.ts')
  return embedded.startBroker(options)
}
