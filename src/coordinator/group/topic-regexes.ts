import { RE2JS, RE2JSException } from 're2js'
import type { TopicView } from './topic-view.ts'

/**
 * Topics by regular expression (RE2's syntax, whole names, linear time): what Kafka's clients
 * write. A name is tested once by an expression, for as long as both are around. Pure; coordinators
 * share one.
 */
const REGEX_LENGTH_MAX = 4096
const KEPT_MAX = 256

interface Kept {
  /** Null for what is no regular expression: it matches nothing. */
  readonly regex: RE2JS | null
  readonly error: string | null
  /** Of the topics that `tested` holds; −1: none yet. */
  version: number
  tested: Map<string, boolean>
  matched: ReadonlySet<string>
}

export class TopicRegexes {
  /** The longest unused first. */
  readonly #kept = new Map<string, Kept>()

  /** Why `pattern` is no regular expression, or null. */
  error(pattern: string): string | null {
    return this.#find(pattern).error
  }

  /** Names of topics, sorted. */
  match(pattern: string, topics: TopicView): ReadonlySet<string> {
    const kept = this.#find(pattern)
    const { regex } = kept
    if (regex === null || kept.version === topics.version) return kept.matched
    const tested = new Map<string, boolean>()
    const matched: string[] = []
    for (const name of topics.names()) {
      const isMatch = kept.tested.get(name) ?? regex.testExact(name)
      tested.set(name, isMatch)
      if (isMatch) matched.push(name)
    }
    kept.tested = tested
    kept.matched = new Set(matched.sort())
    kept.version = topics.version
    return kept.matched
  }

  #find(pattern: string): Kept {
    const kept = this.#kept.get(pattern) ?? keep(pattern)
    this.#kept.delete(pattern)
    this.#kept.set(pattern, kept)
    if (this.#kept.size > KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value as string)
    return kept
  }
}

function keep(pattern: string): Kept {
  const { regex, error } = compile(pattern)
  return { regex, error, version: -1, tested: new Map(), matched: new Set() }
}

function compile(pattern: string): { regex: RE2JS | null; error: string | null } {
  if (pattern.length > REGEX_LENGTH_MAX) {
    const error = `it has ${pattern.length} characters, more than ${REGEX_LENGTH_MAX}`
    return { regex: null, error }
  }
  try {
    return { regex: RE2JS.compile(pattern), error: null }
  } catch (error) {
    if (error instanceof RE2JSException) return { regex: null, error: error.message }
    throw error
  }
}
