import { setFlagsFromString } from 'node:v8'
import { systemClock } from '../base/clock.ts'
import { loadNative } from '../base/native.ts'
import type { Broker } from '../broker/broker.ts'
import {
  type BrokerGround,
  type HubWaker,
  prepareBroker,
  type StartedBroker,
  type StopReport,
  startBroker,
  type WakerParts,
} from '../broker/start-broker.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { type Endpoint, formatEndpoint, isLoopback } from '../config/listeners.ts'
import { type LogLevels, parseLogLevels } from '../config/log-levels.ts'
import { BrokerError } from '../errors/broker-error.ts'
import type { Exposition } from '../metrics/exposition.ts'
import type { Loggers } from '../metrics/logger.ts'
import { MetricsRegistry } from '../metrics/registry.ts'
import { ClusterSockets } from './cluster-gate.ts'
import { Complaints } from './complaints.ts'
import { writeDoorMetrics } from './door-metrics.ts'
import type { Peers } from './elsewhere/peers.ts'
import { timedRequests } from './http-metrics.ts'
import { httpRoutes } from './http-routes.ts'
import { KafkaListener, type Listen } from './kafka-listener.ts'
import { NativeSockets } from './native-sockets.ts'
import { connectNet, listenNet } from './net-transport.ts'
import { ReceiveMemory } from './receive-memory.ts'
import { ENGINE_NAMES, type WebServer } from './web/web-server.ts'
import { IDLE_TIMEOUT_MS, openWebDoor, PING_INTERVAL_MS } from './web-door.ts'
import { HTTP_LISTENER } from './websocket/leaders.ts'
import { WebSocketDoor } from './websocket/websocket-door.ts'

/**
 * One broker with all its doors: starts it, opens them, says so, and closes everything in order.
 * Runs on main, in a process of its own or inside a program that embeds it.
 */
export interface BrokerAddresses {
  /** NAME://HOST:PORT of every Kafka listener. */
  readonly kafka: readonly string[]
  /** HOST:PORT of HTTP and WebSockets; null when that door is off. */
  readonly http: string | null
}

export interface BrokerServerParts {
  readonly loggers: Loggers
  /** Learns of our own bugs and of threads that died: nothing may go on after them. */
  readonly onFailure: (what: string, error: unknown) => void
  /** What became of the lines, for the metrics; left out where another program keeps them. */
  readonly logLines?: LogLoss
  /** Follows `millrace.log.level`; left out where somebody else chose the level. */
  readonly setLevels?: (levels: LogLevels) => void
}

interface LogLoss {
  /** Lines that could not be written. */
  readonly dropped: number
}

/** Waits for both, also when one fails: what the other has started can then be stopped. */
async function bothSettled<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second])
  return [await first, await second]
}

/** Between two complaints that connections cannot be accepted. */
const ACCEPT_COMPLAINT_MS = 1000

export class BrokerServer {
  readonly #config: BrokerConfig
  readonly #loggers: Loggers
  readonly #logLines: LogLoss | null
  readonly #setLevels: ((levels: LogLevels) => void) | null
  readonly #metrics = new MetricsRegistry()
  readonly #complaints: Readonly<Record<'kafka' | 'webSocket' | 'http', Complaints>>
  #web: WebServer | null = null
  #kafka: KafkaListener | null = null
  #webSockets: WebSocketDoor | null = null
  #started: StartedBroker | null = null
  /** Null for a broker that is alone. */
  #peers: Peers | null = null
  #broker: Broker | null = null
  #sockets: NativeSockets | null = null
  #complainedMs = -Infinity
  #readyMs = Number.NaN
  /** Why HTTP is not served by a better engine, for the line 'ready'. */
  #webReason = ''

  readonly #onFailure: (what: string, error: unknown) => void

  constructor(config: BrokerConfig, parts: BrokerServerParts) {
    const { loggers } = parts
    this.#config = config
    this.#loggers = loggers
    this.#logLines = parts.logLines ?? null
    this.#setLevels = parts.setLevels ?? null
    this.#onFailure = parts.onFailure
    const nowMs = (): number => performance.now()
    this.#complaints = {
      kafka: new Complaints('kafka', loggers('kafka'), nowMs),
      webSocket: new Complaints('websocket', loggers('websocket'), nowMs),
      http: new Complaints('rest', loggers('http'), nowMs),
    }
  }

  /** True from the line 'ready' until it is asked to stop. */
  get isServing(): boolean {
    return this.#broker !== null
  }

  /** Opens the doors and says so; `startedMs` is when that began. Throws when it cannot. */
  async start(startedMs: number): Promise<BrokerAddresses> {
    const ground = prepareBroker(this.#config)
    const memory = new ReceiveMemory(ground.arena, () => systemClock.monotonicMs())
    this.#sockets = this.#openSockets(ground)
    const gate = new ClusterSockets({
      memory,
      complaints: this.#complaints.kafka,
      listen: this.#listenNow(),
      connect: this.#sockets?.connect ?? connectNet,
    })
    // The shards' threads start while main loads its web server.
    const starting = startBroker({
      config: this.#config,
      loggers: this.#loggers,
      ground,
      makeWaker: (parts) => this.#makeWaker(parts),
      gate,
      ownDelayMs: () => this.#metrics.loopDelayMs,
      onFailure: (error) => this.#onFailure('this node cannot stay in its cluster', error),
      onCrash: (shard, error) => this.#onFailure(`shard ${shard} failed`, error),
    }).then((started) => {
      this.#started = started
      this.#followLogLevel(started.broker)
      return started
    })
    const [started, http] = await bothSettled(starting, this.#openWeb(memory))
    const httpEngine = this.#web?.engine ?? null
    started.broker.hub.onPumped(() => memory.freed())
    const listeners = this.#isBroker ? await this.#openToClients(started, memory, http) : []
    this.#broker = started.broker
    this.#keepHeapsSmall()
    const { image } = started.broker
    this.#readyMs = performance.now()
    this.#metrics.forgetStart()
    this.#loggers('broker').info(
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
        this.#isBroker
          ? `kafka ${listeners.join(', ')}`
          : 'a controller: no clients, no partitions',
        http === null || httpEngine === null
          ? 'http off'
          : `http ${http} (${ENGINE_NAMES[httpEngine]}${this.#webReason})`,
        `${image.topicsByName.size} topics, ${image.partitions.count} partitions`,
      ].join(' · '),
    )
    return { kafka: listeners, http }
  }

  /** False: a controller and nothing else. Clients have no door there. */
  get #isBroker(): boolean {
    return this.#config.cluster?.isBroker !== false
  }

  /** Joins the cluster, if there is one, and lets clients in. Returns where. */
  async #openToClients(
    { broker, member }: StartedBroker,
    memory: ReceiveMemory,
    http: string | null,
  ): Promise<string[]> {
    const listeners = await this.#openKafka(broker, memory)
    if (member !== null) {
      // Only now: who is alone needs no client of his own.
      const { Peers } = await import('./elsewhere/peers.ts')
      this.#peers = new Peers(broker)
      broker.elsewhere = this.#peers
    }
    const peers = this.#peers
    await member?.join(endpointsOf(broker, this.#config.httpListener, http))
    this.#kafka?.open()
    this.#webSockets = new WebSocketDoor({
      broker,
      complaints: this.#complaints.webSocket,
      software: 'millrace',
      pingIntervalMs: PING_INTERVAL_MS,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
      ...(peers === null ? {} : { openLink: (node: number) => peers.openLink(node) }),
    })
    return listeners
  }

  /** Where memory is short V8 must not take 64 MB twice for each thread's young objects. */
  #keepHeapsSmall(): void {
    const { memory } = this.#config
    if (memory === null || !memory.isTight) return
    setFlagsFromString('--semi-space-growth-factor=1') // Of all threads: they keep what they have.
    const mib = (bytes: number): number => Math.round(bytes / 2 ** 20)
    const { limitBytes, ingressBytes, egressBytes, shards } = memory
    this.#loggers('broker').info(
      { limitBytes, ingressBytes, egressBytes, shards },
      `${mib(limitBytes)} MiB of memory may be used: ${mib(ingressBytes)} MiB for requests, ` +
        `${mib(egressBytes)} MiB for fetched data of each of ${shards} shards`,
    )
  }

  /** Closes the doors, then the logs, in order. */
  async stop(): Promise<void> {
    const stopStartedMs = performance.now()
    // Whatever it leads is led by others before its clients have to look for them.
    await this.#started?.member?.leave()
    this.#broker = null
    const webSockets = this.#webSockets
    this.#webSockets = null
    await this.#kafka?.close()
    this.#peers?.close()
    await this.#web?.close()
    webSockets?.close()
    const report = await this.#started?.stop()
    this.#sockets?.close()
    this.#metrics.close()
    this.#complaints.kafka.close()
    this.#complaints.webSocket.close()
    this.#complaints.http.close()
    this.#sayStopped(performance.now() - stopStartedMs, report ?? { logs: 0, flushedRecords: 0 })
  }

  /** What a person must know at the end: that nothing is lost, and how long it took. */
  #sayStopped(tookMs: number, { logs, flushedRecords }: StopReport): void {
    const ms = Math.round(tookMs)
    const upMs = Number.isNaN(this.#readyMs) ? 0 : Math.round(performance.now() - this.#readyMs)
    this.#loggers('broker').info(
      { ms, upMs, logs, flushedRecords },
      [
        'stopped: every log is closed in order',
        `${logs} open, ${flushedRecords} records flushed`,
        `in ${ms} ms, after ${durationText(upMs)}`,
      ].join(' · '),
    )
  }

  async #openWeb(memory: ReceiveMemory): Promise<string | null> {
    const at = this.#config.httpListener
    if (at === null) return null
    const sockets = this.#sockets
    this.#web = await openWebDoor({
      at,
      config: this.#config,
      onRequest: timedRequests(
        () => this.#broker?.requests ?? null,
        httpRoutes({
          metrics: this.#metrics,
          broker: () => this.#broker,
          isForClients: this.#isBroker,
          writeDoors: (exposition) => this.#writeDoors(exposition),
          rules: {
            allowedOrigins: this.#config.get('millrace.http.allowed.origins'),
            isLocal: isLoopback(at.host),
          },
        }),
      ),
      onError: (error) => this.#onWebError(error),
      onComplaint: (address, reason, kind) => {
        this.#complaints.http.closed(address, reason, kind)
      },
      // Null before the broker serves, and when it stops.
      accept: (peer) => this.#webSockets?.accept(peer) ?? null,
      native: sockets === null ? null : { sockets, memory },
      onFallback: (reason) => {
        this.#webReason = `; ${reason}`
      },
    })
    return formatEndpoint({ host: at.host, port: await this.#web.listen() })
  }

  #writeDoors(exposition: Exposition): void {
    const doors = { kafka: this.#kafka, web: this.#web, webSockets: this.#webSockets }
    const complaints = Object.values(this.#complaints)
    writeDoorMetrics({ ...doors, complaints, logLines: this.#logLines }, exposition)
  }

  #onWebError(error: unknown): void {
    if (this.#broker === null) return // It was under way when the broker stopped.
    if (!(error instanceof BrokerError)) {
      this.#onFailure('an HTTP request failed', error)
      return
    }
    this.#loggers('http').warn({ err: error }, 'an HTTP request failed')
  }

  async #openKafka(broker: Broker, memory: ReceiveMemory): Promise<string[]> {
    const kafka = new KafkaListener(broker, memory, this.#complaints.kafka)
    this.#kafka = kafka
    // A broker of a cluster has to say where it listens before it may serve.
    if (this.#started?.member != null) kafka.holdBack()
    const bound: string[] = []
    const listen = this.#listenNow()
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

  #listenNow(): Listen {
    const sockets = this.#sockets
    if (sockets === null) return listenNet
    return (host, port, onAccept) => sockets.listen(host, port, onAccept)
  }

  /** Null in the portable tier. */
  #openSockets({ tier, arena }: BrokerGround): NativeSockets | null {
    const addon = tier === 'portable' ? null : loadNative()
    if (addon === null) return null
    const sockets = new NativeSockets(addon, (errno) => this.#complainOfAccept(errno))
    sockets.useArena(arena)
    return sockets
  }

  #followLogLevel({ configs }: Broker): void {
    const follow = (): void => {
      const levels = parseLogLevels(this.#config.get('millrace.log.level'))
      if (levels.ok) this.#setLevels?.(levels.value)
    }
    follow()
    configs.onChanged((name) => {
      if (name === 'millrace.log.level') follow()
    })
  }

  #makeWaker(parts: WakerParts): HubWaker | null {
    return this.#sockets?.waker(parts) ?? null
  }

  /** Clients wait in the listener's backlog meanwhile. */
  #complainOfAccept(errno: number): void {
    const now = performance.now()
    if (now - this.#complainedMs < ACCEPT_COMPLAINT_MS) return
    this.#complainedMs = now
    this.#loggers('broker').warn(
      { errno },
      'the system refuses connections: out of descriptors or memory',
    )
  }
}

/** Where clients reach this broker, as the cluster is told. */
function endpointsOf(broker: Broker, httpAt: Endpoint | null, http: string | null) {
  const endpoints = [...broker.endpoints].map(([listener, { host, port }]) => {
    return { listener, host, port }
  })
  const port = http === null ? -1 : Number(http.slice(http.lastIndexOf(':') + 1))
  if (httpAt === null) return endpoints
  // Nobody connects to "every interface": a host that Kafka's clients are told will do.
  const isEvery = ['', '0.0.0.0', '::'].includes(httpAt.host)
  const host = isEvery ? (endpoints[0]?.host ?? httpAt.host) : httpAt.host
  return [...endpoints, { listener: HTTP_LISTENER, host, port }]
}

/** For people: 42 s, 3 min, 5.1 h. */
function durationText(ms: number): string {
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`
}
