import {
  type Alteration,
  type AlterOutcome,
  type AlterRefusal,
  type ConfigChanges,
  isRefusal,
  planOperations,
  planReplacement,
} from '../config/alter.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { type ConfigEntry, describeGroupConfigs } from '../config/describe.ts'
import {
  type ConsumerTimes,
  consumerTimes,
  type GroupOverrides,
  groupOption,
  groupSynonym,
  isGroupOption,
  validateGroupConfigs,
} from '../config/group-options.ts'
import { GROUP_ID_CHARS_MAX } from '../coordinator/group/group-limits.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { GroupConfigRecord } from '../metadata/records.ts'
import type { MetadataStore } from './metadata-store.ts'

/**
 * The configuration of single consumer groups, whether they exist or not: described, changed, and
 * what holds for a group. A change is durable in the metadata before it holds. Runs on main.
 */
const OK: AlterOutcome = { errorCode: ErrorCode.NONE, errorMessage: null }
const NOTHING_SET: GroupOverrides = new Map()
/** With options of their own: anybody may name new ones. */
const GROUPS_MAX = 50_000

export class GroupConfigs {
  readonly #config: BrokerConfig
  readonly #store: MetadataStore

  constructor(parts: { readonly config: BrokerConfig; readonly store: MetadataStore }) {
    this.#config = parts.config
    this.#store = parts.store
  }

  timesOf(groupId: string): ConsumerTimes {
    return consumerTimes(this.#setBy(groupId), this.#config)
  }

  describe(groupId: string): readonly ConfigEntry[] | AlterRefusal {
    return refusalOf(groupId) ?? describeGroupConfigs(this.#setBy(groupId), this.#config)
  }

  async alter(
    groupId: string,
    alteration: Alteration,
    validateOnly: boolean,
  ): Promise<AlterOutcome> {
    const refusal = refusalOf(groupId)
    if (refusal !== null) return refusal
    try {
      return await this.#store.change(() => {
        const before = this.#setBy(groupId)
        const plan = this.#plan(before, alteration)
        if (isRefusal(plan)) return { records: [], result: plan }
        const problem = this.#problemOf(before, plan)
        if (problem !== null || validateOnly) return { records: [], result: problem ?? OK }
        const records = [...plan]
          .filter(([name, value]) => (before.get(name) ?? null) !== value)
          .map(([name, value]): GroupConfigRecord => {
            return { type: 'group-config', group: groupId, name, value }
          })
        return { records, result: OK }
      })
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return { errorCode: error.code, errorMessage: error.message }
    }
  }

  #setBy(groupId: string): GroupOverrides {
    return this.#store.image.groupConfigs.get(groupId) ?? NOTHING_SET
  }

  #plan(before: GroupOverrides, alteration: Alteration): ConfigChanges | AlterRefusal {
    if (alteration.kind === 'replace') return planReplacement(alteration.entries, before.keys())
    return planOperations(alteration.operations, {
      optionOf: (name) => (isGroupOption(name) ? groupOption(name) : null),
      textOf: (name) =>
        isGroupOption(name) ? (before.get(name) ?? this.#config.text(groupSynonym(name))) : null,
    })
  }

  #problemOf(before: GroupOverrides, plan: ConfigChanges): AlterRefusal | null {
    const after = new Map(before)
    for (const [name, value] of plan) {
      if (value === null) after.delete(name)
      else after.set(name, value)
    }
    // What an older version has set can be taken back, whatever it is.
    const judged = [...plan.keys()].filter((name) => after.has(name) || !before.has(name))
    const problem = validateGroupConfigs(after, this.#config, judged)
    if (problem !== null) return { errorCode: ErrorCode.INVALID_CONFIG, errorMessage: problem }
    if (before.size > 0 || this.#store.image.groupConfigs.size < GROUPS_MAX) return null
    const errorMessage = `${GROUPS_MAX} groups have a configuration already: take some back`
    return { errorCode: ErrorCode.POLICY_VIOLATION, errorMessage }
  }
}

function refusalOf(groupId: string): AlterRefusal | null {
  const errorCode = ErrorCode.INVALID_REQUEST
  if (groupId === '') {
    // Nothing is set for all groups: the broker's options are.
    const errorMessage = 'Name a group: for all, set the options group.consumer.… of brokers'
    return { errorCode, errorMessage }
  }
  if (groupId.length <= GROUP_ID_CHARS_MAX) return null
  return { errorCode, errorMessage: `A group's name has at most ${GROUP_ID_CHARS_MAX} characters` }
}
