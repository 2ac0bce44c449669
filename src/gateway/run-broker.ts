import { pino } from 'pino'
import { loadNative } from '../base/native.ts'
import type { Broker } from '../broker/broker.ts'
import {
  type HubWaker,
  type StartedBroker,
  startBroker,
  type WakerParts,
} from '../broker/start-broker.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { formatEndpoint } from '../config/listeners.ts'
import { BrokerError } from '../errors/broker-error.ts'
import type { Logger } from '../metrics/logger.ts'
import { MetricsRegistry } from '../metrics/registry.ts'
import { Complaints } from './complaints.ts'
import { httpRoutes } from './http-routes.ts'
import { KafkaListener, type Listen } from './kafka-listener.ts'
import { NativeSockets } from './native-sockets.ts'
import { listenNet } from './net-transport.ts'
import { ENGINE_NAMES, type WebServer } from './web/web-server.ts'
import { IDLE_TIMEOUT_MS, openWebDoor, PING_INTERVAL_MS } from './web-door.ts'
import { WebSocketDoor } from './websocket/websocket-door.ts'

/**
 * A whole broker process: starts the broker, opens its doors, says so, and closes everything in
 * order when asked to stop. Runs on main.
 */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Runs until a signal asks to stop. Throws when the broker cannot start. */
export async function runBroker(config: BrokerConfig): Promise<void> {
  // `npm start` builds in this process first and marks where the broker begins.
  const startedMs = performance.getEntriesByName('millrace-start')[0]?.startTime ?? 0
  const level = config.get('millrace.log.level')
  const options = { base: null, level, timestamp: pino.stdTimeFunctions.isoTime }
  const terminal = await terminalStream()
  const logger: Logger = terminal === null ? pino(options) : pino(options, terminal)
  const process_ = new BrokerProcess(config, logger)
  const stopped = process_.stopOnSignal()
  await process_.start(startedMs)
  await stopped
}

/** Between two complaints that connections cannot be accepted. */
const ACCEPT_COMPLAINT_MS = 1000

/** What the message of the line 'ready' says in words. */
const READY_FIELDS = 'node,cluster,tier,shards,directories,kafka,http,httpEngine,topics,partitions'

/** Log lines for people, on a terminal; null where machines read them as JSON. */
async function terminalStream(): Promise<NodeJS.WritableStream | null> {
  if (!process.stdout.isTTY) return null
  const { PinoPretty } = await import('pino-pretty')
  const ignore = `${READY_FIELDS},startMs`
  return PinoPretty({ sync: true, singleLine: true, translateTime: 'SYS:HH:MM:ss.l', ignore })
}

class BrokerProcess {
  readonly #config: BrokerConfig
  readonly #logger: Logger
  readonly #metrics = new MetricsRegistry()
  readonly #complaints: Complaints
  #web: WebServer | null = null
  #kafka: KafkaListener | null = null
  #webSockets: WebSocketDoor | null = null
  #started: StartedBroker | null = null
  #broker: Broker | null = null
  #sockets: NativeSockets | null = null
  #complainedMs = -Infinity

  constructor(config: BrokerConfig, logger: Logger) {
    this.#config = config
    this.#logger = logger
    this.#complaints = new Complaints(logger, () => performance.now())
  }

  async start(startedMs: number): Promise<void> {
    const http = await this.#openWeb()
    const httpEngine = this.#web?.engine ?? null
    const started = await startBroker({
      config: this.#config,
      logger: this.#logger,
      makeWaker: (parts) => this.#makeWaker(parts),
      onCrash: (shard, error) => crash(`shard ${shard} failed`, error),
    })
    this.#started = started
    const listeners = await this.#openKafka(started.broker)
    this.#webSockets = new WebSocketDoor({
      broker: started.broker,
      complaints: this.#complaints,
      software: 'millrace',
      pingIntervalMs: PING_INTERVAL_MS,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
    })
    this.#broker = started.broker
    const { image } = started.broker
    this.#logger.info(
      {
        node: this.#config.get('node.id'),
        cluster: started.broker.clusterId,
        tier: started.tier,
        shards: started.shards,
        directories: this.#config.logDirs,
        kafka: listeners,
        http,
        httpEngine,
        topics: image.topicsByName.size,
        partitions: image.partitions.count,
        startMs: Math.round(performance.now() - startedMs),
      },
      [
        `ready in ${Math.round(performance.now() - startedMs)} ms`,
        `tier ${started.tier} (${started.tierReason})`,
        `${started.shards} shard${started.shards === 1 ? '' : 's'}`,
        `data in ${this.#config.logDirs.join(', ')}`,
        `kafka ${listeners.join(', ')}`,
        http === null || httpEngine === null
          ? 'http off'
          : `http ${http} (${ENGINE_NAMES[httpEngine]})`,
        `${image.topicsByName.size} topics, ${image.partitions.count} partitions`,
      ].join(' · '),
    )
  }

  /** Resolves when a signal has come and everything is closed. A second signal ends at once. */
  stopOnSignal(): Promise<void> {
    return new Promise((resolve) => {
      let isStopping = false
      for (const signal of STOP_SIGNALS) {
        process.on(signal, () => {
          // While starting there is nothing yet that an orderly end would save.
          if (isStopping || this.#broker === null) process.exit(130)
          isStopping = true
          this.#logger.info({ signal }, 'stopping')
          void this.#stop().then(resolve, (error: unknown) => crash('stopping failed', error))
        })
      }
    })
  }

  async #stop(): Promise<void> {
    this.#broker = null
    const webSockets = this.#webSockets
    this.#webSockets = null
    await this.#kafka?.close()
    await this.#web?.close()
    webSockets?.close()
    await this.#started?.stop()
    this.#sockets?.close()
    this.#logger.info({}, 'stopped: every log is closed in order')
  }

  async #openWeb(): Promise<string | null> {
    const at = this.#config.httpListener
    if (at === null) return null
    this.#web = openWebDoor({
      at,
      config: this.#config,
      onRequest: httpRoutes({ metrics: this.#metrics, broker: () => this.#broker }),
      onError: (error) => this.#onWebError(error),
      // Null before the broker serves, and when it stops.
      accept: (peer) => this.#webSockets?.accept(peer) ?? null,
    })
    return formatEndpoint({ host: at.host, port: await this.#web.listen() })
  }

  #onWebError(error: unknown): void {
    if (this.#broker === null) return // It was under way when the broker stopped.
    if (!(error instanceof BrokerError)) crash('an HTTP request failed', error)
    this.#logger.warn({ err: error }, 'an HTTP request failed')
  }

  async #openKafka(broker: Broker): Promise<string[]> {
    const kafka = new KafkaListener(broker, this.#complaints)
    this.#kafka = kafka
    const bound: string[] = []
    const sockets = this.#sockets
    sockets?.useArena(broker.arena)
    const listen: Listen =
      sockets === null ? listenNet : (host, port, onAccept) => sockets.listen(host, port, onAccept)
    for (const { name, host, port } of this.#config.listeners) {
      const listener = await kafka.listen(listen, { name, host, port })
      const advertised = this.#config.advertisedListeners.find((entry) => entry.name === name)
      broker.endpoints.set(name, {
        host: advertised?.host ?? host,
        port: advertised === undefined || advertised.port === 0 ? listener.port : advertised.port,
      })
      bound.push(`${name}://${formatEndpoint({ host, port: listener.port })}`)
    }
    return bound
  }

  #makeWaker(parts: WakerParts): HubWaker | null {
    const addon = parts.tier === 'portable' ? null : loadNative()
    if (addon === null) return null
    this.#sockets = new NativeSockets(addon, (errno) => this.#complainOfAccept(errno))
    return this.#sockets.waker(parts.mainCell, parts)
  }

  /** Clients wait in the listener's backlog meanwhile. */
  #complainOfAccept(errno: number): void {
    const now = performance.now()
    if (now - this.#complainedMs < ACCEPT_COMPLAINT_MS) return
    this.#complainedMs = now
    this.#logger.warn({ errno }, 'the system refuses connections: out of descriptors or memory')
  }
}

/** Our own bug, or a thread that died: says so and ends. Half a broker must not go on serving. */
function crash(what: string, error: unknown): never {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`millrace: ${what}; the broker stops now\n${text}\n`)
  process.exit(70)
}
