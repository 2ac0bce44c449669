/**
 * What a request to change options amounts to: new texts by name, or what is wrong with it. Pure:
 * the rules of AlterConfigs and IncrementalAlterConfigs (KIP-339), whatever the options are of.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { ConfigType, type Option } from './option.ts'

export interface ConfigOperation {
  readonly name: string
  /** Append and subtract are for lists, and start from what holds at present. */
  readonly kind: 'set' | 'delete' | 'append' | 'subtract'
  /** Null with 'delete' only. */
  readonly value: string | null
}

/** Single options, or everything that is to be set afterwards. */
export type Alteration =
  | { readonly kind: 'operations'; readonly operations: readonly ConfigOperation[] }
  | {
      readonly kind: 'replace'
      readonly entries: readonly { readonly name: string; readonly value: string | null }[]
    }

/** The message is null when there is no error. */
export interface AlterOutcome {
  readonly errorCode: ErrorCode
  readonly errorMessage: string | null
}

/** Name → text; null takes an option back to what holds without it. */
export type ConfigChanges = ReadonlyMap<string, string | null>

export interface AlterRefusal {
  readonly errorCode: ErrorCode
  readonly errorMessage: string
}

/** Of the options that are to be changed. */
export interface AlterTarget {
  /** Null: no such option; the caller's own check says so. */
  readonly optionOf: (name: string) => Option | null
  /** What holds at present, set or not. */
  readonly textOf: (name: string) => string | null
}

export function planOperations(
  operations: readonly ConfigOperation[],
  target: AlterTarget,
): ConfigChanges | AlterRefusal {
  const changes = new Map<string, string | null>()
  for (const { name, kind, value } of operations) {
    if (changes.has(name)) return invalid(`${name} stands in the request twice`)
    if (kind === 'delete') {
      changes.set(name, null)
      continue
    }
    if (value === null) return invalid(`${name}: there is no value to ${kind}`)
    if (kind === 'set') {
      changes.set(name, value)
      continue
    }
    const option = target.optionOf(name)
    if (option !== null && option.type !== ConfigType.LIST) {
      return { errorCode: ErrorCode.INVALID_CONFIG, errorMessage: `${name} is no list: set it` }
    }
    const present = itemsOf(target.textOf(name) ?? '')
    const given = itemsOf(value)
    const items =
      kind === 'append'
        ? [...present, ...given.filter((item) => !present.includes(item))]
        : present.filter((item) => !given.includes(item))
    changes.set(name, items.join(','))
  }
  return changes
}

/** All that is to hold afterwards: what was set and is not named goes. */
export function planReplacement(
  entries: readonly { readonly name: string; readonly value: string | null }[],
  present: Iterable<string>,
): ConfigChanges | AlterRefusal {
  const changes = new Map<string, string | null>()
  for (const { name, value } of entries) {
    if (changes.has(name)) return invalid(`${name} stands in the request twice`)
    if (value === null) return invalid(`${name}: there is no value to set`)
    changes.set(name, value)
  }
  for (const name of present) if (!changes.has(name)) changes.set(name, null)
  return changes
}

export function isRefusal(plan: ConfigChanges | AlterRefusal): plan is AlterRefusal {
  return !(plan instanceof Map)
}

function itemsOf(text: string): string[] {
  return text.trim() === '' ? [] : text.split(',').map((item) => item.trim())
}

function invalid(errorMessage: string): AlterRefusal {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage }
}
