import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { loadUws, uwsLoadError } from './uws-library.ts'
import type { WebEngine, WebServer, WebServerParts } from './web-server.ts'

/**
 * `auto` takes uWebSockets.js where it loads. Rejects when a forced engine does not. Only the
 * engine that is taken is loaded: a start waits for every module.
 */
export async function openWebServer(
  engine: WebEngine | 'auto',
  parts: WebServerParts,
): Promise<WebServer> {
  const library = engine === 'node' ? null : loadUws()
  if (library !== null) {
    const { UwsServer } = await import('./uws-server.ts')
    return new UwsServer(library, parts)
  }
  if (engine !== 'uws') {
    const { NodeServer } = await import('./node-server.ts')
    return new NodeServer(parts)
  }
  const action = 'serve HTTP with millrace.http.engine=uws (auto takes node:http where it must)'
  const cause = new Error(uwsLoadError() ?? 'it does not load')
  throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, action, cause)
}
