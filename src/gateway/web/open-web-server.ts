import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { NodeServer } from './node-server.ts'
import { loadUws, uwsLoadError } from './uws-library.ts'
import { UwsServer } from './uws-server.ts'
import type { WebEngine, WebServer, WebServerParts } from './web-server.ts'

/** `auto` takes uWebSockets.js where it loads. Throws when a forced engine does not. */
export function openWebServer(engine: WebEngine | 'auto', parts: WebServerParts): WebServer {
  if (engine === 'node') return new NodeServer(parts)
  const library = loadUws()
  if (library !== null) return new UwsServer(library, parts)
  if (engine === 'auto') return new NodeServer(parts)
  const action = 'serve HTTP with millrace.http.engine=uws (auto takes node:http where it must)'
  const cause = new Error(uwsLoadError() ?? 'it does not load')
  throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, action, cause)
}
