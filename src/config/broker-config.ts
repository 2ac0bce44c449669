/**
 * The options of one broker, checked and typed. Made once at start (by `loadConfig`), never
 * changed. It stays on the main thread: other threads are told the few numbers that they need.
 */
import type { AdvertisedListener, Endpoint, Listener } from './listeners.ts'
import type { MemoryPlan } from './memory-plan.ts'
import type { OptionValue } from './option.ts'
import {
  BROKER_OPTIONS,
  type BrokerOptionName,
  type BrokerOptionValue,
  isBrokerOption,
} from './options.ts'

/** Who set an option; the first of these wins. */
export type OptionSource = 'flag' | 'environment' | 'file' | 'default'

/** What was set: texts that their options accept. */
export interface SetOption {
  readonly text: string
  readonly source: Exclude<OptionSource, 'default'>
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
}

export class BrokerConfig implements DerivedConfig {
  readonly listeners: readonly Listener[]
  readonly advertisedListeners: readonly AdvertisedListener[]
  readonly httpListener: Endpoint | null
  readonly logDirs: readonly string[]
  readonly memory: MemoryPlan | null
  /** One line each, to be logged at start. */
  readonly warnings: readonly string[]
  readonly #set: ReadonlyMap<BrokerOptionName, SetOption>
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
    this.warnings = warnings
    for (const name of Object.keys(BROKER_OPTIONS)) {
      if (!isBrokerOption(name)) continue
      const text = this.text(name)
      const parsed = text === null ? null : BROKER_OPTIONS[name].parse(text)
      this.#values.set(name, parsed?.ok === true ? parsed.value : null)
    }
  }

  /** The typed value: what was set, else the default. */
  get<N extends BrokerOptionName>(name: N): BrokerOptionValue<N> {
    return this.#values.get(name) as BrokerOptionValue<N>
  }

  /** The value as text, null when it is neither set nor has a default. */
  text(name: BrokerOptionName): string | null {
    const planned = this.memory === null ? undefined : plannedTexts(this.memory)[name]
    return this.#set.get(name)?.text ?? planned ?? BROKER_OPTIONS[name].defaultText
  }

  source(name: BrokerOptionName): OptionSource {
    return this.#set.get(name)?.source ?? 'default'
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
