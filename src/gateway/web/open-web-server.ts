import { nativeLoadError } from '../../base/native.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { NativeReceiving } from './native-upgrades.ts'
import type { Upgrades } from './upgrades.ts'
import { loadUws, uwsLoadError } from './uws-library.ts'
import { ENGINE_NAMES, type WebEngine, type WebServer, type WebServerParts } from './web-server.ts'

/**
 * `auto` takes the addon's sockets where there are some (`native` is not null), else uWebSockets.js
 * where it loads; `onFallback` learns why it took no better one. Rejects when a forced engine is
 * not there. Only the engine that is taken is loaded: a start waits for every module.
 */
export async function openWebServer(
  engine: WebEngine | 'auto',
  parts: WebServerParts,
  native: NativeReceiving | null = null,
  onFallback: (reason: string) => void = () => {},
): Promise<WebServer> {
  if (native !== null && (engine === 'native' || engine === 'auto')) {
    const { NativeUpgrades } = await import('./native-upgrades.ts')
    return openNode('native', parts, new NativeUpgrades(parts.webSocket, native))
  }
  const reason = nativeLoadError() ?? 'the tier is portable'
  if (engine === 'native') {
    throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, serve('native'), new Error(reason))
  }
  const notNative = `native: ${reason}`
  const library = engine === 'node' ? null : loadUws()
  if (library !== null) {
    if (engine === 'auto') onFallback(notNative)
    const { UwsServer } = await import('./uws-server.ts')
    return new UwsServer(library, parts)
  }
  if (engine !== 'uws') {
    const notUws = `${ENGINE_NAMES.uws}: ${uwsLoadError() ?? 'it does not load'}`
    if (engine === 'auto') onFallback(`${notNative}; ${notUws}`)
    const { WsUpgrades } = await import('./ws-upgrades.ts')
    return openNode('node', parts, new WsUpgrades(parts.webSocket))
  }
  const cause = new Error(uwsLoadError() ?? 'it does not load')
  throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, serve('uws'), cause)
}

async function openNode(
  engine: WebEngine,
  parts: WebServerParts,
  upgrades: Upgrades,
): Promise<WebServer> {
  const { NodeServer } = await import('./node-server.ts')
  return new NodeServer(engine, parts, upgrades)
}

function serve(engine: WebEngine): string {
  return `serve HTTP with millrace.http.engine=${engine} (auto takes what is there)`
}
