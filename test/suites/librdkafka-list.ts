/**
 * `librdkafka.json`: every test of librdkafka's own suite, by its registered name, with the
 * scenario that it runs in here or the key of the reason why it does not run. Of a test that runs
 * in parts, each part has its own.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../support/package-root.ts'

export type GroupProtocol = 'classic' | 'consumer'

export interface SuiteList {
  readonly repository: string
  readonly commit: string
  /** What the client calls itself at that commit. */
  readonly version: string
  /** By the suite's names for them: broker options of a scenario. */
  readonly scenarios: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Why something does not run, by key. */
  readonly reasons: Readonly<Record<string, string>>
  /**
   * By registered name, in the suite's order: a scenario or the key of a reason; or such by part,
   * a text that the names of the part's subtests contain.
   */
  readonly tests: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  /** What runs with the classic group protocol only, by `NAME` or `NAME: PART`: a reason's key. */
  readonly notWithConsumerProtocol: Readonly<Record<string, string>>
  /** Tests that create or alter their topics with Kafka's own `kafka-topics.sh`. */
  readonly needKafkaTools: readonly string[]
}

/** What is run or not: a test, or a part of one. */
export interface SuiteCase {
  /** `NAME` or `NAME: PART`. */
  readonly id: string
  readonly name: string
  readonly part: string | null
  /** A scenario, or the key of a reason. */
  readonly entry: string
}

/** What one process of the suite runs: it selects by number, and within a test by subtest. */
export interface SuiteStep {
  readonly scenario: string
  readonly number: string
  readonly part: string | null
  readonly names: readonly string[]
}

/** What is another way with three brokers. */
interface ThreeBrokers {
  /** Broker options, in each scenario. */
  readonly settings: Readonly<Record<string, string>>
  readonly reasons: Readonly<Record<string, string>>
  readonly tests: SuiteList['tests']
}

/** The list as it is for so many brokers. */
export function readSuiteList(brokers: 1 | 3): SuiteList {
  const path = join(packageRoot(), 'test', 'suites', 'librdkafka.json')
  const { three, ...one } = JSON.parse(readFileSync(path, 'utf8')) as SuiteList & {
    readonly three: ThreeBrokers
  }
  if (brokers === 1) return one
  const tests = { ...one.tests, ...three.tests }
  const scenarios = Object.fromEntries(
    Object.entries(one.scenarios).map(([name, set]) => [name, { ...set, ...three.settings }]),
  )
  const used = new Set([
    ...casesOf({ ...one, tests }).map(({ entry }) => entry),
    ...Object.values(one.notWithConsumerProtocol),
  ])
  const reasons = Object.fromEntries(Object.entries(one.reasons).filter(([key]) => used.has(key)))
  return { ...one, scenarios, tests, reasons: { ...reasons, ...three.reasons } }
}

export function casesOf(list: SuiteList): SuiteCase[] {
  return Object.entries(list.tests).flatMap(([name, entry]): SuiteCase[] => {
    if (typeof entry === 'string') return [{ id: name, name, part: null, entry }]
    return Object.entries(entry).map(([part, of]) => ({
      id: `${name}: ${part}`,
      name,
      part,
      entry: of,
    }))
  })
}

/** The reason why a case does not run, or null. */
export function reasonAgainst(
  list: SuiteList,
  { id, entry }: SuiteCase,
  protocol: GroupProtocol,
): string | null {
  if (!Object.hasOwn(list.scenarios, entry)) return list.reasons[entry] ?? entry
  const key = protocol === 'consumer' ? list.notWithConsumerProtocol[id] : undefined
  return key === undefined ? null : (list.reasons[key] ?? key)
}

/** What runs, in the suite's order, one scenario after the other. */
export function stepsOf(list: SuiteList, protocol: GroupProtocol): SuiteStep[] {
  const steps = new Map<string, SuiteStep & { readonly names: string[] }>()
  const cases = casesOf(list).filter((each) => reasonAgainst(list, each, protocol) === null)
  for (const scenario of Object.keys(list.scenarios)) {
    for (const { id, name, part, entry } of cases) {
      if (entry !== scenario) continue
      const number = numberOf(name)
      // Tests of a number run together, unless they run in parts.
      const key = part === null ? `${scenario} ${number}` : id
      const step = steps.get(key) ?? { scenario, number, part, names: [] }
      step.names.push(name)
      steps.set(key, step)
    }
  }
  return [...steps.values()]
}

/** What is wrong with the list itself; nothing: an empty array. */
export function problemsOf(list: SuiteList): string[] {
  const problems: string[] = []
  const cases = new Map(casesOf(list).map((each) => [each.id, each]))
  const used = new Set<string>()
  const runs = (id: string): boolean => Object.hasOwn(list.scenarios, cases.get(id)?.entry ?? '')
  for (const { id, name, entry } of cases.values()) {
    if (!/^\d{4}_\w+$/.test(name)) problems.push(`${name} is no name of a test`)
    if (!Object.hasOwn(list.scenarios, entry) && !Object.hasOwn(list.reasons, entry)) {
      problems.push(`${id}: what is ${entry}?`)
    }
    used.add(entry)
  }
  for (const [id, key] of Object.entries(list.notWithConsumerProtocol)) {
    if (!runs(id)) problems.push(`${id} does not run at all`)
    if (!Object.hasOwn(list.reasons, key)) problems.push(`${id}: what is ${key}?`)
    used.add(key)
  }
  for (const name of list.needKafkaTools) {
    if (!Object.hasOwn(list.tests, name)) problems.push(`${name} is no test`)
  }
  for (const key of [...Object.keys(list.scenarios), ...Object.keys(list.reasons)]) {
    if (!used.has(key)) problems.push(`${key} is not used`)
  }
  return [...problems, ...strangersIn(list, 'classic'), ...strangersIn(list, 'consumer')]
}

/**
 * Of a number that runs as a whole, the suite leaves out by itself what is local or of another
 * scenario; everything else runs, and so must be meant to.
 */
function strangersIn(list: SuiteList, protocol: GroupProtocol): string[] {
  const strangers: string[] = []
  for (const { scenario, number, part, names } of stepsOf(list, protocol)) {
    if (part !== null) continue
    for (const { id, name, entry } of casesOf(list)) {
      if (numberOf(name) !== number || names.includes(name) || entry === 'local') continue
      const isOfAnother = Object.hasOwn(list.scenarios, entry) && entry !== scenario
      if (!isOfAnother) strangers.push(`${id} would run with ${names.join(', ')} (${protocol})`)
    }
  }
  return strangers
}

function numberOf(name: string): string {
  return name.slice(0, name.indexOf('_'))
}
