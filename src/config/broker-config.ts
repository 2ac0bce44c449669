/**
 * The options of one broker, checked and typed. Made once at start (by `loadConfig`); what the
 * metadata says of them lies above that, and changes while the broker runs. It stays on the main
 * thread: other threads are told the few numbers that they need.
 */
import { assert } from '../base/assert.ts'
import type { ClusterConfig } from './cluster-config.ts'
import { DYNAMIC_OPTIONS } from './dynamic-options.ts'
import type { AdvertisedListener, Endpoint, Listener } from './listeners.ts'
import type { MemoryPlan } from './memory-plan.ts'
import type { OptionValue } from './option.ts'
import {
  BROKER_OPTIONS,
  type BrokerOptionName,
  type BrokerOptionValue,
  isBrokerOption,
} from './options.ts'

/** Who set an option before the start; the first of these wins. */
export type StaticSource = 'flag' | 'environment' | 'file'

/** What was set while brokers ran: for this one, or for all of the cluster. */
export type DynamicSource = 'broker' | 'cluster'

/** Who set an option; the first of these wins. */
export type OptionSource = DynamicSource | StaticSource | 'default'

/** What was set: texts that their options accept. */
export interface SetOption {
  readonly text: string
  readonly source: StaticSource
}

/** What follows from several options together. */
export interface DerivedConfig {
  readonly listeners: readonly Listener[]
  /** One for each listener, in their order. Port 0 stands for the port that the listener got. */
  readonly advertisedListeners: readonly AdvertisedListener[]
  /** Null when there is no HTTP. */
  readonly httpListener: Endpoint | null
  /** Absolute paths. */
  readonly logDirs: readonly string[]
  /** Null where nobody has said how much memory there is. */
  readonly memory: MemoryPlan | null
  /** Null for a broker that is alone. */
  readonly cluster: ClusterConfig | null
}

export class BrokerConfig implements DerivedConfig {
  readonly listeners: readonly Listener[]
  readonly advertisedListeners: readonly AdvertisedListener[]
  readonly httpListener: Endpoint | null
  readonly logDirs: readonly string[]
  readonly memory: MemoryPlan | null
  readonly cluster: ClusterConfig | null
  /** One line each, to be logged at start. */
  readonly warnings: readonly string[]
  readonly #set: ReadonlyMap<BrokerOptionName, SetOption>
  readonly #dynamic: Readonly<Record<DynamicSource, Map<BrokerOptionName, string>>> = {
    broker: new Map(),
    cluster: new Map(),
  }
  readonly #values = new Map<BrokerOptionName, OptionValue>()

  /** Every text of `set` must be one that its option accepts. */
  constructor(
    set: ReadonlyMap<BrokerOptionName, SetOption>,
    derived: DerivedConfig,
    warnings: readonly string[],
  ) {
    this.#set = set
    this.listeners = derived.listeners
    this.advertisedListeners = derived.advertisedListeners
    this.httpListener = derived.httpListener
    this.logDirs = derived.logDirs
    this.memory = derived.memory
    this.cluster = derived.cluster
    this.warnings = warnings
    for (const name of Object.keys(BROKER_OPTIONS)) {
      if (isBrokerOption(name)) this.#resolve(name)
    }
  }

  /** Sets an option while the broker runs; null takes it back. The text must be a good one. */
  setDynamic(source: DynamicSource, name: BrokerOptionName, text: string | null): void {
    assert(DYNAMIC_OPTIONS.has(name), `${name} cannot change while the broker runs`)
    if (text === null) this.#dynamic[source].delete(name)
    else this.#dynamic[source].set(name, text)
    this.#resolve(name)
  }

  #resolve(name: BrokerOptionName): void {
    const text = this.text(name)
    const parsed = text === null ? null : BROKER_OPTIONS[name].parse(text)
    this.#values.set(name, parsed?.ok === true ? parsed.value : null)
  }

  /** The typed value: what was set, else the default. */
  get<N extends BrokerOptionName>(name: N): BrokerOptionValue<N> {
    return this.#values.get(name) as BrokerOptionValue<N>
  }

  /** The value as text, null when it is neither set nor has a default. */
  text(name: BrokerOptionName): string | null {
    const { broker, cluster } = this.#dynamic
    return broker.get(name) ?? cluster.get(name) ?? this.startText(name)
  }

  /** As `text`, of what held at the start. */
  startText(name: BrokerOptionName): string | null {
    const planned = this.memory === null ? undefined : plannedTexts(this.memory)[name]
    return this.#set.get(name)?.text ?? planned ?? BROKER_OPTIONS[name].defaultText
  }

  source(name: BrokerOptionName): OptionSource {
    if (this.#dynamic.broker.has(name)) return 'broker'
    if (this.#dynamic.cluster.has(name)) return 'cluster'
    return this.#set.get(name)?.source ?? 'default'
  }

  /** Everybody who set it, and what to; the one that holds first. */
  settings(name: BrokerOptionName): { source: Exclude<OptionSource, 'default'>; text: string }[] {
    const found: { source: Exclude<OptionSource, 'default'>; text: string }[] = []
    for (const source of ['broker', 'cluster'] as const) {
      const text = this.#dynamic[source].get(name)
      if (text !== undefined) found.push({ source, text })
    }
    const set = this.#set.get(name)
    if (set !== undefined) found.push({ source: set.source, text: set.text })
    return found
  }
}

/** Defaults that depend on the memory that there is. */
function plannedTexts(plan: MemoryPlan): Partial<Record<BrokerOptionName, string>> {
  return {
    'millrace.shards': String(plan.shards),
    'millrace.arena.ingress.bytes': String(plan.ingressBytes),
    'millrace.arena.egress.bytes': String(plan.egressBytes),
  }
}
