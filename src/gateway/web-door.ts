import { requestBytesMax } from '../broker/broker.ts'
import { connectionsMax, descriptorLimit } from '../broker/descriptor-limit.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { type Endpoint, isLoopback } from '../config/listeners.ts'
import { SUBPROTOCOL } from '../wire/websocket/messages.ts'
import type { NativeReceiving } from './web/native-upgrades.ts'
import { openWebServer } from './web/open-web-server.ts'
import type { WebServer, WebServerParts, WebSocketParts } from './web/web-server.ts'
import { messageBytesMax } from './websocket/websocket-door.ts'

/**
 * The door for HTTP and WebSockets: the web server with the broker's options and this program's
 * limits. What is served behind it comes in as callbacks.
 */
export interface WebDoorParts
  extends Pick<WebServerParts, 'onRequest' | 'onError' | 'onComplaint'> {
  readonly at: Endpoint
  readonly config: BrokerConfig
  readonly accept: WebSocketParts['accept']
  /** Null where there is no addon, or no use of it. */
  readonly native: NativeReceiving | null
  /** Why `auto` took no better engine. */
  readonly onFallback: (reason: string) => void
}

const MIB = 1024 * 1024
const INT_MAX = 2 ** 31 - 1

const WEB_SOCKET_PATH = '/ws'

/** A client that is sent more than this at once does not read. */
const BACKPRESSURE_BYTES_MAX = 8 * MIB
export const IDLE_TIMEOUT_MS = 120_000
export const PING_INTERVAL_MS = 30_000

/** All bodies under way may take this part of the ingress arena's size. */
const BODIES_SHARE = 4
const REQUEST_TIMEOUT_MS = 30_000

/** Rejects when the configured engine does not load. */
export function openWebDoor(parts: WebDoorParts): Promise<WebServer> {
  const { at, config, accept, native, onFallback, ...handlers } = parts
  const perAddress = config.get('millrace.http.max.connections.per.ip')
  const server: WebServerParts = {
    host: at.host,
    port: at.port,
    ...handlers,
    webSocket: {
      path: WEB_SOCKET_PATH,
      protocol: SUBPROTOCOL,
      messageBytesMax: messageBytesMax(config),
      backpressureBytesMax: BACKPRESSURE_BYTES_MAX,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
      pingIntervalMs: PING_INTERVAL_MS,
      allowedOrigins: config.get('millrace.http.allowed.origins'),
      isLocal: isLoopback(at.host),
      accept,
    },
    limits: {
      // Beyond what the descriptors allow files could not be opened any more.
      connectionsMax: Math.min(
        config.get('millrace.http.max.connections'),
        connectionsMax(descriptorLimit()).http,
      ),
      connectionsPerAddressMax: perAddress === INT_MAX ? Number.POSITIVE_INFINITY : perAddress,
      bodyBytesMax: requestBytesMax(config),
      bodiesBytesMax: config.get('millrace.arena.ingress.bytes') / BODIES_SHARE,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
    },
  }
  return openWebServer(config.get('millrace.http.engine'), server, native, onFallback)
}
